package page

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/monge-ml/monge/diff"
	"github.com/monge-ml/monge/internal/screen"
	"github.com/monge-ml/monge/report"
)

// A Network is a model drawn from top to bottom: a row for each layer, and for each place in which
// several streams meet, with lines from where its inputs come.
type Network struct {
	Key  []string // what its signs mean, those that occur
	Rows []Row
	// Columns is the width of the lines' part in pixels.
	Columns int
	// Left counts rows that are not drawn, Lines streams that are not.
	Left, Lines int
}

// A Row is a stage of the network.
type Row struct {
	Name, Op, Shape string
	Kind            string // input, layer, join, output
	Before, After   int    // channels; 0: not known
	// Length is that of the bar for Before in percent of the longest, Filled what of it After is.
	Length, Filled float64
	State          string // narrowed, whole, dropped, wider or ""
	Mark           string // a sign for the state
	Why            string
	Lines          []Line
	Dot            int // its place from the left, in pixels
}

// A Line is drawn in a row, in pixels from the left and percents from the top.
type Line struct {
	X1, X2 int
	Y1, Y2 int
}

const (
	mostStages = 400 // rows that are drawn
	mostTracks = 10  // streams beside each other that pass by others
	track      = 9   // pixels between two of them
	margin     = 8
)

// drawn lays a network out. kept says why spaces kept their widths, by name.
func drawn(stages []diff.Stage, names [2]string, kept map[string]string) *Network {
	n := &Network{}
	if len(stages) > mostStages {
		n.Left = len(stages) - mostStages
		stages = stages[:mostStages]
	}
	widest := 1
	for _, s := range stages {
		widest = max(widest, s.Widths[0], s.Widths[1])
	}
	for _, s := range stages {
		n.Rows = append(n.Rows, rowOf(s, widest, kept))
	}
	n.Key = key(n.Rows, names)
	n.connect(stages)
	return n
}

// key says what the signs in rows mean.
func key(rows []Row, names [2]string) []string {
	bars := "Bars: as many channels in both"
	marks := map[string]bool{}
	for _, r := range rows {
		if marks[r.Mark] = true; r.Length > 0 && r.Before != r.After {
			bars = "Bars: dashed outline " + names[0] + ", filled " + names[1]
		}
		marks[r.Kind] = true
	}
	out := []string{bars + "; the length grows with the square root of the number of channels."}
	for _, m := range [][2]string{{"▼", "narrowed"}, {"■", "whole"}, {"✕", "dropped"}, {"▲", "wider"}, {"◆", "two operators of a lower rank"}} {
		if marks[m[0]] {
			out = append(out, m[0]+" "+m[1])
		}
	}
	lines := "Lines on the left: what a layer reads"
	if marks["join"] {
		lines += "; ○ is where streams meet"
	}
	return append(out, lines+".")
}

// called is the name of a space as the drawing has it: where a layer has no name its spaces are
// named by its weight, and it is drawn with the name of what it makes.
func called(space string, stages []diff.Stage) string {
	for _, s := range stages {
		if rest, ok := strings.CutPrefix(space, screen.Name(s.Weight)); ok && s.Weight != "" && (rest == "" || strings.ContainsAny(rest[:1], " [#")) {
			return screen.Name(s.Name) + rest
		}
	}
	return space
}

// spaces takes the table of spaces, whose names become those of the drawing.
func (b *builder) spaces(stages []diff.Stage) *report.Part {
	p := b.take("space")
	if p != nil {
		for _, r := range p.Rows {
			r[0] = called(r[0], stages)
		}
	}
	return p
}

// rowOf describes a stage.
func rowOf(s diff.Stage, widest int, kept map[string]string) Row {
	r := Row{Name: screen.Name(s.Name), Op: screen.Name(s.Op), Kind: [...]string{"input", "layer", "join", "output"}[s.Kind], Before: s.Widths[0], After: s.Widths[1]}
	if s.Gone {
		r.State, r.Mark, r.After = "dropped", "✕", 0
	}
	if s.Kind != diff.LayerStage {
		return r
	}
	switch r.Shape = dims(s.Dims[0]); {
	case s.Dims[1] == nil || s.Gone:
	case s.First != nil:
		r.Shape += " → " + dims(s.First) + " + " + dims(s.Dims[1])
	case !slices.Equal(s.Dims[0], s.Dims[1]):
		r.Shape += " → " + dims(s.Dims[1])
	}
	if r.Before == 0 {
		return r
	}
	length := func(channels int) float64 { return 100 * math.Sqrt(float64(channels)/float64(widest)) }
	r.Length = length(r.Before)
	r.Filled = r.Length * float64(r.After) / float64(r.Before) // what of the bar is left
	switch {
	case s.Gone || r.After == 0:
	case r.After < r.Before:
		r.State, r.Mark = fmt.Sprintf("narrowed to %s", share(r.After, r.Before)), "▼"
	case r.After > r.Before:
		r.State, r.Mark, r.Filled = "wider", "▲", length(r.After)
	default:
		r.State, r.Mark, r.Why = "whole", "■", screen.Name(cmp.Or(kept[s.Space], s.Whole))
		if r.Why == "" && kept != nil {
			r.Why = "not needed"
		}
	}
	if s.Rank > 0 && !s.Gone {
		two := fmt.Sprintf("split in two, rank %d", s.Rank)
		if r.Mark == "■" {
			r.State, r.Mark, r.Why = two, "◆", ""
		} else {
			r.State += ", " + two
		}
	}
	return r
}

func dims(list []int) string {
	var parts []string
	for _, d := range list {
		parts = append(parts, grouped(d))
	}
	return strings.Join(parts, "×")
}

func grouped(n int) string { return screen.Grouped(int64(n)) }

// share is a part in percent of the whole, with a decimal where there is one.
func share(part, whole int) string {
	return strconv.FormatFloat(math.Round(1000*float64(part)/float64(whole))/10, 'f', -1, 64) + "%"
}

// connect draws lines from where each stage's inputs come: straight on from the row above, and on a
// track of its own for what passes by other rows. Tracks are taken again once they are free.
func (n *Network) connect(stages []diff.Stage) {
	last := make([]int, len(stages)) // the last row that reads from further than the next
	for i, s := range stages {
		for _, from := range s.From {
			if i > from+1 {
				last[from] = max(last[from], i)
			}
		}
	}
	tracks, of := []int{}, make([]int, len(stages)) // where a track ends; by stage its track, from 1
	for i := range stages {
		if last[i] == 0 {
			continue
		}
		free := slices.IndexFunc(tracks, func(end int) bool { return end <= i })
		if free < 0 {
			if len(tracks) == mostTracks {
				n.Lines++
				continue
			}
			free = len(tracks)
			tracks = append(tracks, 0)
		}
		tracks[free], of[i] = last[i], free+1
	}
	main := margin + track*len(tracks)
	n.Columns = main + margin
	x := func(t int) int { return main - track*t }
	for i := range n.Rows {
		n.Rows[i].Dot = main
	}
	line := func(row, x1, y1, x2, y2 int) {
		n.Rows[row].Lines = append(n.Rows[row].Lines, Line{x1, x2, y1, y2})
	}
	for i, s := range stages {
		if t := of[i]; t > 0 { // out to the track, down, and back in
			line(i, main, 50, x(t), 50)
			line(i, x(t), 50, x(t), 100)
			for row := i + 1; row < last[i]; row++ {
				line(row, x(t), 0, x(t), 100)
			}
			line(last[i], x(t), 0, x(t), 50)
		}
		for _, from := range s.From {
			switch {
			case from == i-1:
				line(from, main, 50, main, 100)
				line(i, main, 0, main, 50)
			case of[from] > 0:
				line(i, x(of[from]), 50, main, 50)
			}
		}
	}
}

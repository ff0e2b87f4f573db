package page

import (
	"bytes"
	"fmt"
	"html/template"
	"image/color"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A Plot is a drawing with what it shows.
type Plot struct {
	Title string
	SVG   template.HTML
}

// Colors of plots are stand-ins for those of the page's style, which differ in light and dark.
var (
	ink    = color.RGBA{1, 2, 3, 255}
	soft   = color.RGBA{1, 2, 4, 255}
	before = color.RGBA{1, 2, 5, 255}
	after  = color.RGBA{1, 2, 6, 255}
)

var styles = strings.NewReplacer("#010203", "var(--ink)", "#010204", "var(--soft)", "#010205", "var(--before)", "#010206", "var(--after)")

// A plot is drawn in a size that its letters can be read in on a phone.
const (
	plotWidth, plotHeight = 360, 235
	letters               = 11
	variant               = "Sans" // of the fonts, whose widths are those of Arial, which the page asks for
)

// newPlot begins a plot.
func newPlot(x, y string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	p.X.Label.Text, p.Y.Label.Text = x, y
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color, a.Label.TextStyle.Color, a.Tick.Label.Color, a.Tick.Color = soft, ink, soft, soft
		a.Label.TextStyle.Font.Size, a.Tick.Label.Font.Size = letters, letters-1
		a.Tick.Marker = numbers{a.Tick.Marker}
	}
	for _, f := range []*font.Font{&p.X.Label.TextStyle.Font, &p.Y.Label.TextStyle.Font, &p.X.Tick.Label.Font, &p.Y.Tick.Label.Font, &p.Legend.TextStyle.Font} {
		f.Variant = variant
	}
	p.Legend.TextStyle.Color, p.Legend.TextStyle.Font.Size = ink, letters
	p.Legend.Top, p.Legend.ThumbnailWidth = true, 22
	return p
}

// numbers writes the marks of an axis short.
type numbers struct{ plot.Ticker }

func (n numbers) Ticks(lo, hi float64) []plot.Tick {
	list := n.Ticker.Ticks(lo, hi)
	for i, t := range list {
		if t.Label != "" {
			list[i].Label = short(t.Value)
		}
	}
	return list
}

// percents writes the marks of an axis of shares as percentages.
type percents struct{ plot.Ticker }

func (n percents) Ticks(lo, hi float64) []plot.Tick {
	list := n.Ticker.Ticks(lo, hi)
	for i, t := range list {
		if t.Label != "" {
			list[i].Label = strconv.FormatFloat(100*t.Value, 'g', 4, 64) + "%"
		}
	}
	return list
}

// short writes a number with a decimal prefix where it is large.
func short(x float64) string {
	for _, p := range []struct {
		size float64
		sign string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if math.Abs(x) >= p.size {
			return strconv.FormatFloat(x/p.size, 'g', 3, 64) + p.sign
		}
	}
	return strconv.FormatFloat(x, 'g', 3, 64)
}

// powers are the marks of a logarithmic axis: powers of ten, and multiples of each where there are
// few.
type powers struct{}

func (powers) Ticks(lo, hi float64) []plot.Tick {
	var out []plot.Tick
	multiples := []float64{1}
	switch decades := math.Log10(hi / lo); {
	case decades < 0.8:
		multiples = []float64{1, 1.5, 2, 3, 4, 5, 6, 8}
	case decades < 2.5:
		multiples = []float64{1, 2, 5}
	}
	for e := math.Floor(math.Log10(lo)); e <= math.Ceil(math.Log10(hi)); e++ {
		for _, m := range multiples {
			if v := m * math.Pow(10, e); v >= lo*0.999 && v <= hi*1.001 {
				out = append(out, plot.Tick{Value: v, Label: short(v)})
			}
		}
	}
	return out
}

// logarithmic makes the y axis one for positive numbers between two.
func logarithmic(p *plot.Plot, low, high float64) {
	if !(high > low) {
		low, high = low/2, low*2
	}
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, powers{}
	p.Y.Min, p.Y.Max = low/1.15, high*1.15
}

// sizeOf is the size that a plot's SVG says that it has, which the page decides.
var sizeOf = regexp.MustCompile(`(?s)^.*?<svg width="[^"]*" height="[^"]*" (viewBox="[^"]*").*?>`)

// svg draws a plot.
func svg(title string, p *plot.Plot) (Plot, error) {
	c := vgsvg.New(plotWidth, plotHeight)
	p.Draw(draw.Crop(draw.New(c), 2, -6, 2, -6))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return Plot{}, err
	}
	text := sizeOf.ReplaceAllString(b.String(), `<svg $1 aria-hidden="true">`)
	text = fontStyle.ReplaceAllString(text, "")
	return Plot{title, template.HTML(styles.Replace(text))}, nil
}

// fontStyle are the fonts that a plot asks for: it takes those of the page.
var fontStyle = regexp.MustCompile(`font-family:[^;"]*;font-variant:[^;"]*;font-weight:[^;"]*;font-style:[^;"]*;?`)

// dots are points with a sign: a ring, which stands for what was before, or a full disc.
func dots(points plotter.XYs, full bool) (*plotter.Scatter, error) {
	s, err := plotter.NewScatter(points)
	if err != nil {
		return nil, err
	}
	s.GlyphStyle = draw.GlyphStyle{Color: before, Radius: 3, Shape: draw.RingGlyph{}}
	if full {
		s.GlyphStyle.Color, s.GlyphStyle.Shape = after, draw.CircleGlyph{}
	}
	return s, nil
}

func line(points plotter.XYs, c color.Color, width vg.Length, dashes ...vg.Length) (*plotter.Line, error) {
	l, err := plotter.NewLine(points)
	if err != nil {
		return nil, err
	}
	l.Color, l.Width, l.Dashes = c, width, dashes
	return l, nil
}

// A pair of numbers of which the second came of the first.
type pair struct{ before, after float64 }

// errorPlot draws the error of each layer before and after a fit, from the first layer to the last.
func errorPlot(pairs []pair) (Plot, error) {
	p := newPlot("layer, from the input", "error (share of variance)")
	low, high := math.Inf(1), 0.0
	for _, e := range pairs {
		for _, x := range []float64{e.before, e.after} {
			if x > 0 && !math.IsInf(x, 0) {
				low, high = min(low, x), max(high, x)
			}
		}
	}
	if high == 0 {
		return Plot{}, nil
	}
	low = max(low, high/1e6)
	logarithmic(p, low, high)
	at := func(x float64) float64 { return min(max(x, low), high) }
	var was, now plotter.XYs
	for i, e := range pairs {
		x := float64(i + 1)
		a, b := plotter.XY{X: x, Y: at(e.before)}, plotter.XY{X: x, Y: at(e.after)}
		was, now = append(was, a), append(now, b)
		l, err := line(plotter.XYs{a, b}, soft, 1)
		if err != nil {
			return Plot{}, err
		}
		p.Add(l)
	}
	p.X.Min, p.X.Max = 0.5, float64(len(pairs))+0.5
	p.X.Tick.Marker = whole{}
	for _, d := range []struct {
		points plotter.XYs
		full   bool
		name   string
	}{{was, false, "before the refit"}, {now, true, "after"}} {
		s, err := dots(d.points, d.full)
		if err != nil {
			return Plot{}, err
		}
		p.Add(s)
		p.Legend.Add(d.name, s)
	}
	above(p)
	return svg("Error of each layer against its target on held-out samples, before (ring) and after (disc) the refit", p)
}

// above puts the legend where no points are.
func above(p *plot.Plot) {
	p.Legend.Left, p.Legend.YOffs, p.Legend.Padding = true, 0, 2
	if p.Y.Scale == (plot.LogScale{}) {
		p.Y.Max *= math.Pow(p.Y.Max/p.Y.Min, 0.3)
		return
	}
	p.Y.Max += 0.3 * (p.Y.Max - p.Y.Min)
}

// whole marks whole numbers, few of them.
type whole struct{}

func (whole) Ticks(lo, hi float64) []plot.Tick {
	step := max(1, int(math.Ceil((hi-lo)/8)))
	if step > 5 {
		step = (step + 4) / 5 * 5
	}
	var out []plot.Tick
	for v := 1; float64(v) <= hi; v++ {
		if v == 1 || v%step == 0 {
			out = append(out, plot.Tick{Value: float64(v), Label: strconv.Itoa(v)})
		}
	}
	return out
}

// lossPlot draws what a distillation lost over its steps, and what was lost on held-out samples
// before and after.
func lossPlot(losses []float64, steps int, held pair) (Plot, error) {
	p := newPlot("step", "loss at the outputs")
	var points plotter.XYs
	low, high := math.Inf(1), 0.0
	for i, l := range losses {
		if l > 0 && !math.IsInf(l, 0) {
			points = append(points, plotter.XY{X: (float64(i) + 0.5) * float64(steps) / float64(len(losses)), Y: l})
			low, high = min(low, l), max(high, l)
		}
	}
	if len(points) < 2 {
		return Plot{}, nil
	}
	ends := plotter.XYs{}
	for i, l := range []float64{held.before, held.after} {
		if l > 0 {
			ends = append(ends, plotter.XY{X: float64(i * steps), Y: l})
			low, high = min(low, l), max(high, l)
		}
	}
	logarithmic(p, low, high)
	l, err := line(points, after, 1.5)
	if err != nil {
		return Plot{}, err
	}
	p.Add(l)
	p.Legend.Add("training", l)
	if len(ends) == 2 {
		d, err := line(ends, before, 1.25, 4, 3)
		if err != nil {
			return Plot{}, err
		}
		s, err := dots(ends, false)
		if err != nil {
			return Plot{}, err
		}
		p.Add(d, s)
		p.Legend.Add("held out, before and after", d, s)
	}
	p.X.Min, p.X.Max = 0, float64(steps)
	above(p)
	return svg("Loss of the distillation over its steps", p)
}

// A spot is a named point.
type spot struct {
	name string
	x, y float64
	full bool // it is what was taken, or the result
}

// spotPlot draws named points, the names beside them, and a line through others, if there are any.
func spotPlot(title, x, y string, spots []spot, through plotter.XYs) (Plot, error) {
	if len(spots) < 2 {
		return Plot{}, nil
	}
	p := newPlot(x, y)
	if len(through) > 1 {
		l, err := line(through, soft, 1)
		if err != nil {
			return Plot{}, err
		}
		p.Add(l)
	}
	slices.SortFunc(spots, func(a, b spot) int { return int(math.Copysign(1, a.y-b.y)) })
	for _, s := range spots {
		d, err := dots(plotter.XYs{{X: s.x, Y: s.y}}, s.full)
		if err != nil {
			return Plot{}, err
		}
		p.Add(d)
	}
	room := func(a *plot.Axis, more float64) {
		by := 0.12 * (a.Max - a.Min)
		if by == 0 {
			by = max(math.Abs(a.Max)*0.05, 1e-9)
		}
		a.Min, a.Max = a.Min-by, a.Max+by*more
	}
	room(&p.X, 1)
	room(&p.Y, 1.5)
	if strings.HasPrefix(y, "top-1") || strings.HasPrefix(y, "agreement") {
		p.Y.Tick.Marker = percents{p.Y.Tick.Marker}
	}
	for i, at := range placed(p, spots, through) {
		s := spots[i]
		if s.name == "" {
			continue
		}
		l, err := plotter.NewLabels(plotter.XYLabels{XYs: plotter.XYs{{X: s.x, Y: s.y}}, Labels: []string{s.name}})
		if err != nil {
			return Plot{}, err
		}
		l.TextStyle[0].Font.Variant = variant
		l.TextStyle[0].Color, l.TextStyle[0].Font.Size, l.TextStyle[0].YAlign = ink, letters-1, draw.YCenter
		l.Offset, l.TextStyle[0].XAlign = at.offset, at.align
		p.Add(l)
	}
	return svg(title, p)
}

// A place is where the name of a spot stands: so far from it, its left end, middle or right end.
type place struct {
	offset vg.Point
	align  draw.XAlignment
}

// places are those that are tried in turn.
var places = []place{
	{vg.Point{X: 6}, draw.XLeft}, {vg.Point{X: -6}, draw.XRight},
	{vg.Point{X: 5, Y: 9}, draw.XLeft}, {vg.Point{X: -5, Y: 9}, draw.XRight}, {vg.Point{X: 5, Y: -9}, draw.XLeft}, {vg.Point{X: -5, Y: -9}, draw.XRight},
	{vg.Point{Y: 11}, draw.XCenter}, {vg.Point{Y: -11}, draw.XCenter},
	{vg.Point{X: 5, Y: 18}, draw.XLeft}, {vg.Point{X: -5, Y: 18}, draw.XRight}, {vg.Point{X: 5, Y: -18}, draw.XLeft}, {vg.Point{X: -5, Y: -18}, draw.XRight},
}

// placed finds places for the names of spots where they cover neither each other nor another spot nor
// a line, as far as there are any.
func placed(p *plot.Plot, spots []spot, through plotter.XYs) []place {
	const width, height, letter, line = plotWidth - 62, plotHeight - 46, 5.2, 10 // of the plot within its axes, and of letters, about
	at := func(s spot) (x, y float64) {
		return (s.x - p.X.Min) / (p.X.Max - p.X.Min) * width, (s.y - p.Y.Min) / (p.Y.Max - p.Y.Min) * height
	}
	type box struct{ x1, y1, x2, y2 float64 }
	meet := func(a, b box) bool { return a.x1 < b.x2 && b.x1 < a.x2 && a.y1 < b.y2 && b.y1 < a.y2 }
	var taken []box
	for _, s := range spots {
		x, y := at(s)
		taken = append(taken, box{x - 3, y - 3, x + 3, y + 3})
	}
	var lines []box // pieces of the line
	for i := 1; i < len(through); i++ {
		const pieces = 40
		for k := range pieces + 1 {
			t := float64(k) / pieces
			x, y := at(spot{x: (1-t)*through[i-1].X + t*through[i].X, y: (1-t)*through[i-1].Y + t*through[i].Y})
			lines = append(lines, box{x - 1, y - 1, x + 1, y + 1})
		}
	}
	out := make([]place, len(spots))
	for i, s := range spots {
		x, y := at(s)
		long := letter * float64(len([]rune(s.name)))
		boxOf := func(at place) box {
			left := x + float64(at.offset.X) + long*float64(at.align)
			return box{left, y + float64(at.offset.Y) - line/2, left + long, y + float64(at.offset.Y) + line/2}
		}
		best, least := 0, math.Inf(1)
		for k, at := range places {
			b := boxOf(at)
			bad := 0.0
			for j, o := range taken {
				if j != i && meet(b, o) {
					bad++
				}
			}
			if slices.ContainsFunc(lines, func(o box) bool { return meet(b, o) }) {
				bad += 0.5
			}
			if b.x1 < 0 || b.x2 > width+8 {
				bad += 2
			}
			if b.y1 < -2 || b.y2 > height {
				bad++
			}
			if bad < least {
				best, least = k, bad
			}
		}
		out[i] = places[best]
		if s.name != "" {
			taken = append(taken, boxOf(out[i]))
		}
	}
	return out
}

// barPlot draws numbers between 0 and 1 and above, one for each name's place.
func barPlot(title, x, y string, values []float64) (Plot, error) {
	if len(values) == 0 {
		return Plot{}, nil
	}
	p := newPlot(x, y)
	w := vg.Length(math.Max(1.5, math.Min(14, 230/float64(len(values)))))
	b, err := plotter.NewBarChart(plotter.Values(values), w)
	if err != nil {
		return Plot{}, err
	}
	b.Color, b.LineStyle.Width, b.XMin = after, 0, 1
	p.Add(b)
	p.X.Min, p.X.Max = 0.3, float64(len(values))+0.7
	p.Y.Min = 0
	p.X.Tick.Marker = whole{}
	return svg(title, p)
}

func percentOf(x float64) string { return fmt.Sprintf("%.2f%%", 100*x) }

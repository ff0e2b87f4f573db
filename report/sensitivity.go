package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/internal/screen"
)

// A Sensitivity says which spaces of a model can be narrowed at what cost.
type Sensitivity struct {
	Model string `json:"model"` // path
	*compress.SensitivityReport
	Warnings []string `json:"warnings"` // what a person has to know about the run; never nil
	Cost
}

// barLength is the number of characters of the longest bar.
const barLength = 24

// Print writes the spaces as a table with bars.
func (r *Sensitivity) Print(w io.Writer) {
	t := newTable("<space", "width", "at 75%", "divergence", "at 50%", "divergence", "MACs saved", "params saved", "time", "=")
	largest := 0.0
	for _, s := range r.Spaces {
		for _, n := range s.Narrowed {
			largest = max(largest, n.Divergence)
		}
	}
	unknown := 0
	for _, s := range r.Spaces {
		row := []string{s.Name, grouped(int64(s.Width)), "", "", "", "", "", "", optional(s.Latency, percent1), ""}
		for _, n := range s.Narrowed {
			at := 2
			if n.Share < 0.6 {
				at = 4
				row[6], row[7] = ofWhole(n.MACs, r.Size.MACs), ofWhole(n.Params, r.Size.Params)
				row[9] = bar(n.Divergence, largest)
			}
			row[at], row[at+1] = grouped(int64(n.Width)), fmt.Sprintf("%.4f", n.Divergence)
		}
		if s.Narrowed == nil {
			unknown++
		}
		t.add(row...)
	}
	t.print(w)
	on := "held-out samples"
	if p := r.Split.Price; p != nil && p.Held == p.Fit {
		on = "the samples that channels were chosen by, since they are few,"
	}
	fmt.Fprintf(w, "divergence: how far the model's predictions move on %s when the space alone is narrowed, %s;\nbars and savings: at 50%%\n", on, divergence(r.Outputs))
	if slices.ContainsFunc(r.Spaces, func(s compress.Sensitive) bool { return s.Latency != nil }) {
		fmt.Fprintf(w, "time: share of a run that goes to the operators which make or read the space\n")
	}
	if unknown > 0 {
		fmt.Fprintf(w, "without a number: too narrow, or the data do not show the channels (%s)\n", plural(unknown, "space"))
	}
	fmt.Fprintln(w)
	fmt.Fprint(w, tasks(r.Outputs))
	if r.Size.Open {
		fmt.Fprintln(w, openNote)
	}
	fmt.Fprintf(w, "%s: nothing was written; done %s\n", screen.Name(r.Model), r.Cost.text())
}

// bar draws a number as a line of blocks, in eighths of a character.
func bar(x, largest float64) string {
	if !(largest > 0) || !(x > 0) {
		return ""
	}
	eighths := max(1, int(math.Round(8*barLength*x/largest)))
	text := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		text += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return text
}

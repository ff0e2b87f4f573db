package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/screen"
	"github.com/monge-ml/monge/lossless"
)

// A Fusion is the result of fusing models.
type Fusion struct {
	Models []Parent `json:"models"`
	Output string   `json:"output,omitempty"` // path of the result; "" for a dry run
	DryRun bool     `json:"dry_run"`
	Result Size     `json:"result"`
	*fuse.Report
	Warnings []string `json:"warnings"` // what a person has to know about the run; never nil
	Cost
}

// A Parent is one of the models that were fused.
type Parent struct {
	Model  string  `json:"model"`  // path
	Weight float64 `json:"weight"` // its share
	Size
	// Lossless tells what was removed first; nil where that was off.
	Lossless *lossless.Report `json:"lossless,omitempty"`
}

// Print writes the result for a person.
func (r *Fusion) Print(w io.Writer) {
	for _, m := range r.Models {
		if m.Lossless != nil && m.Lossless.Changed() {
			fmt.Fprintln(w, screen.Name(m.Model))
		}
		printLossless(w, m.Lossless, false)
	}
	last := "<moved"
	if r.Method == fuse.Union {
		last = "<channels from each model"
	}
	t := newTable("<space", "<widths", "width", last)
	for _, s := range r.Spaces {
		var moved []string
		for i := range s.Widths {
			if i+1 != r.Onto && !r.DryRun && r.Method != fuse.Union {
				moved = append(moved, fmt.Sprintf("%.0f%%", 100*s.Moved[i]))
			}
		}
		t.add(s.Name, sum(s.Widths), grouped(int64(s.Width)), sum(s.From)+strings.Join(moved, ", "))
	}
	t.print(w)
	fmt.Fprintln(w)

	r.printKept(w)
	r.printMethod(w)
	if line := tasks(r.Outputs); line != "" {
		fmt.Fprintln(w, line)
	}
	printTune(w, r.Tune)
	t = newTable("<model", "weight", "params", "MACs", "size", "<")
	for i, m := range r.Models {
		t.add(m.Model, fmt.Sprintf("%.4g", m.Weight), screen.Count(m.Params), m.macs(), screen.Bytes(m.Bytes), note(i+1 == r.Onto, "gives widths and order"))
	}
	t.add(cmp.Or(r.Output, "(result)"), "", screen.Count(r.Result.Params), r.Result.macs(), note(r.Result.Bytes > 0, screen.Bytes(r.Result.Bytes)), "")
	t.print(w)
	if r.Result.OpenDims {
		fmt.Fprintln(w, openNote)
	}
	fmt.Fprintln(w)
	printEnd(w, r.Output, &r.Report.Report, r.Cost)
}

// mostKept bounds the weights that are named; --json lists all.
const mostKept = 12

// printKept lists the weights that were not averaged.
func (r *Fusion) printKept(w io.Writer) {
	if len(r.Kept) == 0 {
		return
	}
	t := newTable("<not averaged", "<why: which channels correspond is not known")
	for _, k := range r.Kept[:min(mostKept, len(r.Kept))] {
		t.add(k.Tensor, k.Reason)
	}
	t.print(w)
	if more := len(r.Kept) - mostKept; more > 0 {
		fmt.Fprintf(w, "and %d more (--json lists them)\n", more)
	}
	fmt.Fprintf(w, "these weights are those of model %d; --align none averages them as they stand\n\n", r.Onto)
}

// printMethod says what was tried and how much came from each model.
func (r *Fusion) printMethod(w io.Writer) {
	if len(r.Candidates) > 0 {
		t := newTable("<method", "<weights", "samples", "divergence", "<")
		for _, c := range r.Candidates {
			taken := c.Method == r.Method && c.Blind == r.Blind && c.Whole == r.Whole && slices.Equal(c.Weights, r.Weights) && c.Divergence == r.Divergence
			weights := shares(c.Weights)
			if c.Whole > 0 {
				weights = fmt.Sprintf("all of model %d", c.Whole)
			}
			method := string(c.Method)
			if c.Blind {
				method += ", by weights"
			}
			t.add(method, weights, grouped(int64(c.Samples)), fmt.Sprintf("%.4f", c.Divergence), note(taken, "taken"))
		}
		t.print(w)
		fmt.Fprintf(w, "divergence: from the models' mean prediction on held-out samples and variants, %s, after a fit to that many others\n", divergence(r.Outputs))
		fmt.Fprintln(w)
	}
	if r.Method == fuse.Union && !r.DryRun {
		fmt.Fprintf(w, "share of channels from each model: %s\n\n", shares(r.Contribution))
	}
}

// sum writes counts as a sum.
func sum(counts []int) string {
	var parts []string
	for _, n := range counts {
		parts = append(parts, grouped(int64(n)))
	}
	return strings.Join(parts, " + ")
}

func shares(v []float64) string {
	var parts []string
	for _, x := range v {
		parts = append(parts, fmt.Sprintf("%.2f", x))
	}
	return strings.Join(parts, " : ")
}

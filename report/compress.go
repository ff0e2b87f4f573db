package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/refit"
)

// Alignment says how channels were compared.
type Alignment struct {
	By      string `json:"align"`   // weights, activations or none
	Samples int    `json:"samples"` // on which activations were compared; 0 without data
	// RefitSamples counts the samples that layers were refitted on; 0 without a
	// refit.
	RefitSamples int `json:"refit_samples"`
}

func (a Alignment) text() string {
	switch {
	case a.Samples > 0:
		return fmt.Sprintf("aligned by %s on %s", a.By, plural(a.Samples, "sample"))
	case a.By == "none":
		return "not aligned"
	}
	return fmt.Sprintf("aligned by %s, without data", a.By)
}

// A Compression is the result of narrowing one model.
type Compression struct {
	Model  string `json:"model"`            // path of the input
	Into   string `json:"into,omitempty"`   // path of the narrow model that gave the widths
	Output string `json:"output,omitempty"` // path of the result; "" for a dry run
	DryRun bool   `json:"dry_run"`
	Alignment
	Before Size `json:"before"`
	After  Size `json:"after"`
	*compress.Report
	Cost
}

// Print writes the result for a person.
func (r *Compression) Print(w io.Writer) {
	t := newTable("<space", "before", "after", "<why kept")
	for _, s := range r.Spaces {
		t.add(s.Name, grouped(int64(s.Before)), grouped(int64(s.After)), s.Kept)
	}
	t.print(w)
	fmt.Fprintln(w)
	printRefit(w, r.Refit)
	printChange(w, r.Before, r.After)
	if r.Before.OpenDims {
		fmt.Fprintln(w, openNote)
	}
	fmt.Fprintln(w)
	printEnd(w, r.Output, r.Alignment, r.Folded, r.Cost)
}

// printEnd says how a result was made and where it is.
func printEnd(w io.Writer, output string, a Alignment, folded int, c Cost) {
	if output == "" {
		fmt.Fprintln(w, "dry run: nothing was written")
		return
	}
	parts := []string{a.text()}
	if a.RefitSamples > 0 {
		parts[0] = "refitted on " + plural(a.RefitSamples, "sample")
	}
	if folded > 0 {
		parts = append(parts, plural(folded, "BatchNormalization")+" folded into the layers before")
	}
	fmt.Fprintln(w, strings.Join(parts, "; "))
	fmt.Fprintf(w, "%s written %s\n", output, c.text())
}

// printRefit says how near the refitted layers come to what they should compute.
func printRefit(w io.Writer, r *refit.Report) {
	if r == nil || len(r.Layers) == 0 {
		return
	}
	t := newTable("<layer", "inputs", "error", "refitted", "<")
	for _, l := range r.Layers {
		t.add(l.Name, grouped(int64(l.Inputs)), fmt.Sprintf("%.4f", l.Before), fmt.Sprintf("%.4f", l.After), l.Note)
	}
	t.print(w)
	fmt.Fprintln(w, "error: squared, against the target on held-out samples, relative to its variance")
	fmt.Fprintln(w)
}

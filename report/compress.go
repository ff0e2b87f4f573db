package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/refit"
	"github.com/monge-ml/monge/internal/screen"
	"github.com/monge-ml/monge/internal/tune"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/lossless"
	"github.com/monge-ml/monge/precision"
)

// aligned says how channels were compared.
func aligned(r *job.Report) string {
	samples := func(n int) string {
		if r.Synthetic {
			return plural(n, "made-up sample") + " (noise: there were no data)"
		}
		return plural(n, "sample")
	}
	switch {
	case r.RefitSamples > 0:
		return "refitted on " + samples(r.RefitSamples)
	case r.Samples > 0:
		return fmt.Sprintf("aligned by %s on %s", r.By, samples(r.Samples))
	case r.By == "none":
		return "not aligned"
	}
	return fmt.Sprintf("aligned by %s, without data", r.By)
}

// A Compression is the result of narrowing one model.
type Compression struct {
	Model  string `json:"model"`            // path of the input
	Into   string `json:"into,omitempty"`   // path of the narrow model that gave the widths
	Output string `json:"output,omitempty"` // path of the result; "" for a dry run
	DryRun bool   `json:"dry_run"`
	Alone  bool   `json:"-"` // the lossless pass and nothing else
	Before Size   `json:"before"`
	After  Size   `json:"after"`
	*compress.Report
	// Evaluation compares the two models; nil where nothing was measured.
	Evaluation *Comparison `json:"evaluation,omitempty"`
	Metric     *Metric     `json:"metric,omitempty"`
	Warnings   []string    `json:"warnings"` // what a person has to know about the run; never nil
	Cost
}

// A Comparison judges a result beside its original.
type Comparison struct {
	Data    string  `json:"data,omitempty"` // path; "" without data
	Samples int     `json:"samples"`
	HeldOut bool    `json:"held_out"` // the samples are of --data and were used for nothing else
	Threads int     `json:"threads"`  // that worked on one operator while latency was measured; 0 if it was not
	Before  Quality `json:"before"`
	After   Quality `json:"after"`
	// Outputs compare the result with the original output by output; Quality has the worst of them.
	Outputs []eval.OutputResult `json:"outputs,omitempty"`
	// Changes are the samples that the result decides otherwise about than the original does.
	Changes []eval.Change `json:"-"`
}

// Print writes the result for a person.
func (r *Compression) Print(w io.Writer) {
	printLossless(w, r.Lossless, r.Alone)
	if !r.Alone {
		t := newTable("<space", "before", "after", "<note")
		for _, s := range r.Spaces {
			t.add(s.Name, grouped(int64(s.Before)), grouped(int64(s.After)), cmp.Or(s.Kept, s.Stream, note(s.After == 0, "gone with its blocks")))
		}
		t.print(w)
		fmt.Fprintln(w)
	}
	printMoves(w, r.Report)
	printCandidates(w, r.Candidates)
	printSearch(w, r.Search)
	printTiming(w, r.Latency)
	printRefit(w, r.Refit)
	printTune(w, r.Tune)
	printPrecision(w, r.Precision)
	r.printVerdict(w)
	fmt.Fprintln(w)
	if r.Alone && r.Output != "" {
		fmt.Fprintf(w, "%s written %s\n", screen.Name(r.Output), r.Cost.text())
		return
	}
	printEnd(w, r.Output, &r.Report.Report, r.Cost)
}

// slower is how many times as long as the original a model takes for the report to point it out: two
// timings of one model differ by less.
const slower = 1.05

// behind is by how much the share of the time may lie above that of the multiply-accumulates before the
// report says why.
const behind = 0.2

// LowAgreement is the share below which a report points out that a model agrees with the original on
// little.
const LowAgreement = 0.8

// printVerdict prints both models side by side.
func (r *Compression) printVerdict(w io.Writer) {
	t := newTable("<", "before", "after", "left")
	t.add("params", screen.Count(r.Before.Params), screen.Count(r.After.Params), ofWhole(r.After.Params, r.Before.Params))
	t.add("MACs", r.Before.macs(), r.After.macs(), ofWhole(r.After.MACs, r.Before.MACs))
	if r.Before.Bytes > 0 && r.After.Bytes > 0 {
		t.add("size", screen.Bytes(r.Before.Bytes), screen.Bytes(r.After.Bytes), ofWhole(r.After.Bytes, r.Before.Bytes))
	}
	e := r.Evaluation
	if e == nil {
		e = &Comparison{}
	}
	if a, b := e.Before.LatencyMS, e.After.LatencyMS; a != nil && b != nil {
		t.add("latency", ms(*a), ms(*b), percent1(*b / *a))
	}
	if a, b := e.Before.Metric, e.After.Metric; a != nil && b != nil {
		left := ""
		if *a != 0 {
			left = percent1(*b / *a)
		}
		t.add("metric", metricNumber(*a), metricNumber(*b), left)
	}
	if a, b := e.Before.Top1, e.After.Top1; a != nil && b != nil {
		t.add("top-1", percent(*a), percent(*b), fmt.Sprintf("%+.2f", 100*(*b-*a)))
	}
	for _, o := range e.Outputs {
		name := "agreement"
		if len(e.Outputs) > 1 {
			name += " of " + o.Name
		}
		t.add(name, "", percent(o.Agreement), "")
	}
	if a, b := e.Before.NonFinite, e.After.NonFinite; a+b > 0 {
		t.add("NaN, ±Inf", grouped(int64(a)), grouped(int64(b)), "")
	}
	t.print(w)
	if a, b := e.Before.LatencyMS, e.After.LatencyMS; a != nil && b != nil && r.Latency == nil && r.After.MACs < r.Before.MACs {
		spatial := slices.ContainsFunc(r.Ranks, func(x compress.Ranked) bool { return x.Spatial })
		switch share := float64(r.After.MACs) / float64(r.Before.MACs); {
		case spatial && *b > (share+behind)**a:
			fmt.Fprintln(w, "rows and columns take longer than their MACs tell: --latency asks for time, --moves width,depth makes none")
		case *b > slower**a:
			fmt.Fprintln(w, "it is slower than the original here, since kernels work on blocks of channels: --latency asks for time")
		}
	}
	if a := e.After.Agreement; a != nil && *a < LowAgreement && r.Metric == nil {
		fmt.Fprintln(w, "that is little: a milder budget keeps more, and so do more samples and --time; --max-drop looks for what loses no more than it says")
		if len(e.Outputs) > 1 {
			fmt.Fprintln(w, "several outputs, as of a detector, are best judged by what they are for: --metric runs a measure of your own")
		}
	}
	switch {
	case e.HeldOut:
		fmt.Fprintf(w, "judged on %s of %s\n", plural(e.Samples, "held-out sample"), screen.Name(e.Data))
	case e.Data != "":
		fmt.Fprintf(w, "judged on %s of %s\n", plural(e.Samples, "sample"), screen.Name(e.Data))
	case r.Output != "" && !r.Alone && r.Metric == nil:
		fmt.Fprintln(w, "what it costs in accuracy was not measured: --eval-data takes samples for that")
	}
	fmt.Fprint(w, r.Metric.text())
	fmt.Fprint(w, tasks(r.Outputs))
	if r.Before.OpenDims {
		fmt.Fprintln(w, openNote)
	}
}

func ms(x float64) string       { return fmt.Sprintf("%.3g ms", x) }
func percent1(x float64) string { return fmt.Sprintf("%.1f%%", 100*x) }

// printLossless says what was removed without a loss.
func printLossless(w io.Writer, r *lossless.Report, alone bool) {
	if r == nil {
		return
	}
	for _, n := range r.Notes {
		fmt.Fprintln(w, "lossless: "+n)
	}
	if !r.Changed() {
		if alone && !r.Reverted {
			fmt.Fprintln(w, "lossless: there is nothing to remove")
		}
		if alone || r.Reverted {
			fmt.Fprintln(w)
		}
		return
	}
	if alone && len(r.Spaces) > 0 {
		t := newTable("<space", "before", "after", "unread", "constant", "duplicate")
		for _, s := range r.Spaces {
			t.add(s.Name, grouped(int64(s.Before)), grouped(int64(s.After)), some(s.Unread), some(s.Constant), some(s.Duplicate))
		}
		t.print(w)
		fmt.Fprintln(w)
	}
	var parts []string
	for _, p := range []struct {
		n    int
		noun string
	}{
		{r.Unread, "unread channel"}, {r.Constant, "constant channel"}, {r.Duplicate, "duplicate channel"},
		{len(r.UnusedNodes), "unused node"}, {len(r.UnusedInitializers), "unused initializer"},
	} {
		if p.n > 0 {
			parts = append(parts, plural(p.n, p.noun))
		}
	}
	if len(parts) > 0 {
		fmt.Fprintf(w, "removed without loss: %s\n", strings.Join(parts, ", "))
	}
	if n := r.FlushedValues(); n > 0 {
		fmt.Fprintf(w, "set to zero: %s in %s\n", plural(n, "subnormal number"), plural(len(r.Flushed), "weight"))
	}
	if c := r.Check; c != nil {
		fmt.Fprintf(w, "checked on %s: outputs differ by %.2g of their largest value (tolerance %.2g)\n", plural(c.Runs, "random input"), c.Diff, c.Tolerance)
	}
	if alone {
		for _, l := range r.Left {
			fmt.Fprintf(w, "left in %s: %s, %s\n", screen.Name(l.Space), plural(l.Channels, "channel"), l.Reason)
		}
	}
	fmt.Fprintln(w)
}

// some prints a number unless it is 0.
func some(n int) string { return note(n != 0, grouped(int64(n))) }

// note is what is said of a row of which something holds.
func note(holds bool, text string) string {
	if holds {
		return text
	}
	return ""
}

// printCandidates says which ways to meet the budget were compared.
func printCandidates(w io.Writer, all []compress.Candidate) {
	if len(all) == 0 {
		return
	}
	head, moves := []string{"<widths", "MACs", "params", "divergence", "<"}, slices.ContainsFunc(all, func(c compress.Candidate) bool { return beside(c) != "" })
	if moves {
		head = slices.Insert(head, 1, "<moves")
	}
	t := newTable(head...)
	for _, c := range all {
		row := []string{string(c.Name), screen.Count(c.Size.MACs), screen.Count(c.Size.Params), fmt.Sprintf("%.4f", c.Divergence), fate(c)}
		if moves {
			row = slices.Insert(row, 1, beside(c))
		}
		t.add(row...)
	}
	t.print(w)
	fmt.Fprintf(w, "divergence: from the original's predictions on held-out samples and variants, after a quick fit\n\n")
}

// beside says what else than widths a candidate changes.
func beside(c compress.Candidate) string {
	var parts []string
	if c.Blocks > 0 {
		parts = append(parts, plural(c.Blocks, "block"))
	}
	if c.Ranks > 0 {
		parts = append(parts, plural(c.Ranks, "rank"))
	}
	return strings.Join(parts, ", ")
}

// printMoves says what was done beside narrowing.
func printMoves(w io.Writer, r *compress.Report) {
	if len(r.Blocks)+len(r.Ranks) == 0 {
		return
	}
	t := newTable("<block or operator", "<what was done", "rank", "divergence")
	for _, b := range r.Blocks {
		t.add(b.Name, "dropped", "", optional(b.Divergence, four))
	}
	for _, x := range r.Ranks {
		what := "split in two"
		if x.Spatial {
			what = "split in rows and columns"
		}
		t.add(x.Name, what, grouped(int64(x.Rank))+" of "+grouped(int64(x.Of)), optional(x.Divergence, four))
	}
	t.print(w)
	fmt.Fprintf(w, "divergence: from the original's predictions if nothing else is changed\n\n")
}

// fate says what became of a candidate.
func fate(c compress.Candidate) string {
	switch {
	case c.Taken:
		return "taken"
	case !c.Refitted && c.Name != compress.Blind:
		return "not fitted: too far off"
	}
	return ""
}

// printPrecision says what is stored with fewer bits, and what is not.
func printPrecision(w io.Writer, p *precision.Report) {
	if p == nil {
		return
	}
	if len(p.Candidates) > 0 {
		t := newTable("<scales by", "divergence", "<")
		for _, c := range p.Candidates {
			t.add(c.Name, fmt.Sprintf("%.4f", c.Divergence), note(c.Taken, "taken"))
		}
		t.print(w)
		fmt.Fprintf(w, "divergence: from the original's predictions on held-out samples, with numbers rounded\n\n")
	}
	if len(p.Stay) > 0 {
		t := newTable("<weight", "<not stored as "+string(p.Type))
		for _, s := range p.Stay {
			t.add(s.Weight, s.Reason)
		}
		t.print(w)
		fmt.Fprintln(w)
	}
	printKept(w, p)
	fmt.Fprintf(w, "%s: %s", p.Type, plural(p.Weights, "weight"))
	switch {
	case p.Operators > 0 && p.Type != precision.INT8:
		fmt.Fprintf(w, "; %s with 16 bits", works(p.Operators))
		if len(p.Kept) > 0 {
			fmt.Fprintf(w, ", %s with 32", grouped(int64(len(p.Kept))))
		}
		if p.Samples > 0 {
			fmt.Fprintf(w, "; sizes of numbers seen on %s", plural(p.Samples, "sample"))
		}
	case p.Operators > 0:
		fmt.Fprintf(w, " and %s rounded, %s on integers, scales chosen on %s", plural(p.Activations, "activation"), plural(p.Operators, "operator"), plural(p.Samples, "sample"))
	}
	if p.Opset > 0 {
		fmt.Fprintf(w, "; operator set raised to %d", p.Opset)
	}
	fmt.Fprint(w, "\n\n")
}

// works says how many operators compute.
func works(n int) string {
	if n == 1 {
		return "1 operator computes"
	}
	return plural(n, "operator") + " compute"
}

// mostReasons is the number of reasons that are told why operators keep 32 bits.
const mostReasons = 12

// printKept says which operators compute with 32 bits beside others of 16, those of one type and
// reason in one row.
func printKept(w io.Writer, p *precision.Report) {
	if len(p.Kept) == 0 {
		return
	}
	type kind struct{ operator, reason string }
	nodes := map[kind][]string{}
	var order []kind
	for _, k := range p.Kept {
		id := kind{k.Operator, k.Reason}
		if nodes[id] == nil {
			order = append(order, id)
		}
		nodes[id] = append(nodes[id], k.Node)
	}
	t := newTable("<operator", "<with 32 bits", "<since")
	for i, k := range order {
		if i == mostReasons {
			t.add("…", fmt.Sprintf("and %s more", plural(len(order)-i, "kind")), "--json lists all")
			break
		}
		some := nodes[k][0]
		if n := len(nodes[k]) - 1; n > 0 {
			some += fmt.Sprintf(" and %d more", n)
		}
		t.add(k.operator, some, k.reason)
	}
	t.print(w)
	fmt.Fprintln(w)
}

// printSearch says what was tried to find the cheapest model.
func printSearch(w io.Writer, s *compress.Search) {
	if s == nil {
		return
	}
	t := newTable("MACs asked", "MACs", "params", "metric", "drop", "<")
	for _, x := range s.Trials {
		note := "too much"
		if x.Within {
			note = "within the limit"
		}
		t.add("×"+screen.Digits(x.MACs), screen.Count(x.Size.MACs), screen.Count(x.Size.Params), optional(x.Metric, metricNumber), percent(x.Drop), note)
	}
	t.print(w)
	what := "agreement with the original"
	switch s.Measure {
	case "top1":
		what = "top-1"
	case "metric":
		fmt.Fprintf(w, "drop: of the metric, as a share of the original's %s; at most %s\n\n", metricNumber(*s.Original), percent(s.Limit))
		return
	}
	fmt.Fprintf(w, "drop: in %s, on %s of %s; at most %s\n\n", what, plural(s.Samples, "sample"), s.Data, percent(s.Limit))
}

// printTiming says how a budget of latency was met.
func printTiming(w io.Writer, t *compress.Timing) {
	if t == nil {
		return
	}
	measured := "not measured"
	if t.Measured != nil {
		measured = percent1(*t.Measured) + " measured"
	}
	fmt.Fprintf(w, "latency: %s of the original's asked, %s predicted, %s", percent1(t.Asked), percent1(t.Predicted), measured)
	if t.Threads > 0 {
		fmt.Fprintf(w, ", on %s", plural(t.Threads, "thread"))
	}
	fmt.Fprint(w, "\n\n")
}

// printEnd says how a result was made and where it is.
func printEnd(w io.Writer, output string, r *job.Report, c Cost) {
	if output == "" {
		fmt.Fprintln(w, "dry run: nothing was written")
		return
	}
	text := aligned(r)
	if r.Folded > 0 {
		text += "; " + plural(r.Folded, "BatchNormalization") + " folded into the layers before"
	}
	fmt.Fprintf(w, "%s\n%s written %s\n", text, screen.Name(output), c.text())
}

// endings say why a distillation ended before its last step.
var endings = map[tune.Ending]string{
	tune.Clock:       ", all that the time allowed",
	tune.Interrupted: ", then interrupted",
}

// printTune says what a distillation brought.
func printTune(w io.Writer, r *tune.Report) {
	if r == nil {
		return
	}
	if r.Note != "" {
		fmt.Fprintf(w, "not distilled: %s\n\n", r.Note)
		return
	}
	text := fmt.Sprintf("distilled for %s, %s, on %s in %s%s", plural(r.Steps, "step"), plural(r.Epochs, "epoch"), plural(r.Samples, "sample"), seconds(r.Seconds), endings[r.Ended])
	on := "variants of them"
	if r.HeldOut > 0 {
		on = fmt.Sprintf("%d others and variants", r.HeldOut)
	}
	text += fmt.Sprintf(": loss on %s %.4f, before %.4f", on, r.After, r.Before)
	if r.Kept {
		text += "; no better, so the refitted weights stay"
	}
	if r.Confidence != 0 {
		text += fmt.Sprintf("\nlogits times %.3f, to be as sure as what it was made of", r.Confidence)
	}
	fmt.Fprintf(w, "%s\n\n", text)
}

// Of more layers than allLayers, mostLayers are told.
const allLayers, mostLayers = 16, 10

// printRefit says how near the refitted layers come to what they should compute: all that the
// original has too, but of many, unless it is for a page, those that stay farthest off.
func printRefit(w io.Writer, r *refit.Report) {
	if r == nil {
		return
	}
	layers := slices.DeleteFunc(slices.Clone(r.Layers), func(l refit.Layer) bool { return l.Note == refit.NoteNew })
	if len(layers) == 0 {
		return
	}
	left := 0
	if _, page := w.(*parts); len(layers) > allLayers && !page {
		slices.SortStableFunc(layers, func(a, b refit.Layer) int { return cmp.Compare(b.After, a.After) })
		layers, left = layers[:mostLayers], len(layers)-mostLayers
	}
	t := newTable("<layer", "inputs", "error", "refitted", "<")
	for _, l := range layers {
		if l.Inputs == 0 { // there was nothing to fit it to
			t.add(l.Name, "", "", "", l.Note)
			continue
		}
		t.add(l.Name, grouped(int64(l.Inputs)), four(l.Before), four(l.After), l.Note)
	}
	t.print(w)
	if left > 0 {
		fmt.Fprintf(w, "and %s that came nearer: --json and --report list all\n", plural(left, "layer"))
	}
	fmt.Fprintln(w, "error: squared, against the target on held-out samples, relative to its variance")
	fmt.Fprint(w, thinned(r))
	fmt.Fprintln(w)
}

// thinned says which layers were fitted on fewer samples than there are.
func thinned(r *refit.Report) string {
	var few []refit.Layer
	for _, l := range r.Layers {
		if l.Samples > 0 && l.Samples < r.Samples {
			few = append(few, l)
		}
	}
	if len(few) == 0 {
		return ""
	}
	least, most := few[0].Samples, few[0].Samples
	for _, l := range few {
		least, most = min(least, l.Samples), max(most, l.Samples)
	}
	on := fmt.Sprint(least)
	if most > least {
		on += " to " + fmt.Sprint(most)
	}
	return fmt.Sprintf("memory: %s of %d, from %s on, fitted on %s of %s (--memory)\n",
		plural(len(few), "layer"), len(r.Layers), few[0].Name, on, plural(r.Samples, "sample"))
}

func four(x float64) string { return fmt.Sprintf("%.4f", x) }

package page

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/diff"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/screen"
	"github.com/monge-ml/monge/internal/tune"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/report"
)

// A builder makes a page of the parts of a printed result.
type builder struct {
	page  *Page
	parts []report.Part
}

func begin(title string, about About, r printed) *builder {
	b := &builder{page: &Page{Title: screen.Name(title)}, parts: report.Parts(r)}
	b.fact("command", about.Command, true)
	b.fact("version", about.Version, false)
	return b
}

func (b *builder) fact(name, text string, code bool) {
	if text != "" {
		b.page.Facts = append(b.page.Facts, Fact{name, screen.Name(text), code})
	}
}

func (b *builder) warn(list []string) {
	for _, w := range list {
		b.page.Warnings = append(b.page.Warnings, screen.Name(w))
	}
}

// take removes the part whose table begins with a heading, or without a table whose text begins
// with one of some words, and returns it; nil if there is none.
func (b *builder) take(heading string, words ...string) *report.Part {
	for i, p := range b.parts {
		found := len(words) == 0 && p.Head != nil && p.Head[0] == heading
		for _, w := range words {
			found = found || p.Head == nil && strings.HasPrefix(p.Text[0], w)
		}
		if found {
			b.parts = slices.Delete(b.parts, i, i+1)
			return &p
		}
	}
	return nil
}

// section adds a section, unless there is nothing in it.
func (b *builder) section(s Section) {
	s.Plots = slices.DeleteFunc(s.Plots, func(p Plot) bool { return p.SVG == "" })
	if s.Network != nil || s.Table != nil || len(s.Text)+len(s.Plots)+len(s.Maps)+len(s.Pictures) > 0 {
		b.page.Sections = append(b.page.Sections, s)
	}
}

// rest adds what is left of the printed result: of text that which says how the result was made.
func (b *builder) rest() *Page {
	for _, p := range b.parts {
		if p.Head != nil {
			b.section(Section{Title: titleOf(p.Head[0]), Table: &p})
			continue
		}
		for _, line := range p.Text {
			b.page.Facts = append(b.page.Facts, Fact{Text: line})
		}
	}
	return b.page
}

// made moves the lines below a table to those that say how the result was made.
func (b *builder) made(p *report.Part) {
	for _, line := range p.Text {
		b.page.Facts = append(b.page.Facts, Fact{Text: line})
	}
	p.Text = nil
}

// costs moves what the command took there, too.
func (b *builder) costs() {
	b.page.Judged = slices.DeleteFunc(b.page.Judged, func(line string) bool {
		costs := strings.HasPrefix(line, "done in ") || strings.Contains(line, " written to ")
		if costs {
			b.page.Facts = append(b.page.Facts, Fact{Text: line})
		}
		return costs
	})
}

// titles are those of tables by their first heading.
var titles = map[string]string{
	"operator": "Operators", "node": "Nodes", "space": "Widths", "layer": "Layers", "model": "The models", "not averaged": "What was not averaged",
}

func titleOf(heading string) string {
	if t := titles[heading]; t != "" {
		return t
	}
	return strings.ToUpper(heading[:min(1, len(heading))]) + heading[min(1, len(heading)):]
}

// printed is a result as a command prints it.
type printed interface{ Print(w io.Writer) }

// tiles makes figures of a table whose rows are before, after and what is left.
func tiles(p *report.Part) []Tile {
	var out []Tile
	column := func(name string) int { return slices.Index(p.Head, name) }
	was, now, left := column("before"), column("after"), column("left")
	for _, r := range p.Rows {
		t := Tile{Name: r[0], After: r[now]}
		if was >= 0 && r[was] != "" {
			t.Before = "before: " + r[was]
		}
		if left >= 0 && r[left] != "" {
			t.change(r[left])
		}
		out = append(out, t)
	}
	return out
}

// change says what is left: a percentage of a cost, or points by which an accuracy rose or fell.
func (t *Tile) change(left string) {
	var x float64
	fmt.Sscanf(left, "%f", &x)
	if t.Share = left + " of before"; strings.HasSuffix(left, "%") {
		t.Better, t.Worse = x < 100, x > 100
	} else {
		t.Share = strings.Replace(left, "-", "−", 1) + " points"
		t.Better, t.Worse = x > 0, x < 0
	}
	switch {
	case t.Better:
		t.Mark = "✓"
	case t.Worse && x < 0:
		t.Mark = "▼"
	case t.Worse:
		t.Mark = "▲"
	}
}

// counted says beside accuracies of how many samples they are: of few, a difference may be chance.
func counted(tiles []Tile, samples int) {
	for i, t := range tiles {
		if samples > 0 && slices.Contains([]string{"top-1", "top-5", "agreement"}, t.Name) {
			tiles[i].On = "on " + samplesOf(samples)
		}
	}
}

func samplesOf(n int) string {
	if n == 1 {
		return "1 sample"
	}
	return grouped(n) + " samples"
}

// agreement warns of a low one. outputs are those that it is the worst of, if they are known.
func (b *builder) agreement(of, with string, share *float64, outputs []eval.OutputResult) {
	if share == nil || *share >= report.LowAgreement {
		return
	}
	text := fmt.Sprintf("low agreement: %s agrees with %s to %s only", of, with, percentOf(*share))
	if len(outputs) > 0 {
		worst := slices.MinFunc(outputs, func(a, b eval.OutputResult) int { return cmp.Compare(a.Agreement, b.Agreement) })
		text += fmt.Sprintf(", by the output %q", worst.Name)
		if len(outputs) > 1 {
			text += fmt.Sprintf(", the worst of %d", len(outputs))
		}
	}
	b.warn([]string{text + "."})
}

// marksFirst moves a last column without a heading, which marks rows, to where a phone shows it.
func marksFirst(p *report.Part) {
	last := len(p.Head) - 1
	if last < 2 || p.Head[last] != "" {
		return
	}
	p.Head = slices.Insert(p.Head[:last], 1, "")
	p.Numbers = slices.Insert(p.Numbers[:last], 1, false)
	for i, r := range p.Rows {
		p.Rows[i] = slices.Insert(r[:last:last], 1, r[last])
	}
}

// numbered gives the rows of a table the numbers that a plot has for them.
func numbered(p *report.Part) {
	p.Head, p.Numbers = slices.Insert(p.Head, 0, "#"), slices.Insert(p.Numbers, 0, true)
	for i, r := range p.Rows {
		p.Rows[i] = slices.Insert(r, 0, grouped(i+1))
	}
}

// Stages are what a drawing of a model shows, with what became of it in a second one.
func Stages(ctx context.Context, before, after *onnxio.Model, shapes map[string][]int) ([]diff.Stage, error) {
	d, err := diff.Models(ctx, before, after, diff.Options{InputShapes: shapes})
	if err != nil {
		return nil, err
	}
	return d.Flow, nil
}

// Compression presents a model and what was made of it. samples are those that changed their class,
// nil where that is not known.
func Compression(r *report.Compression, stages []diff.Stage, samples *Samples, about About) (_ *Page, err error) {
	defer guard.Recover(&err)
	b := begin(r.Model+" → "+r.Output, about, r)
	if e := r.Evaluation; e != nil {
		b.agreement("the result", "the original", e.After.Agreement, e.Outputs)
	}
	b.warn(r.Warnings)
	kept := map[string]string{}
	for _, s := range r.Spaces {
		kept[s.Name] = s.Kept
	}
	if !slices.ContainsFunc(r.Spaces, func(s compress.Space) bool { return s.Before != s.After }) {
		kept = nil // no budget was met, and that is why
	}
	if p := b.take(""); p != nil {
		b.page.Tiles = tiles(p)
		b.page.Judged = append(b.page.Judged, p.Text...)
		if r.Evaluation != nil {
			counted(b.page.Tiles, r.Evaluation.Samples)
		}
	}
	b.page.Headline = compressed(r)
	b.section(Section{Title: "The network", Network: drawn(stages, [2]string{"before", "after"}, kept), Table: b.spaces(stages)})
	if p := b.take("block or operator"); p != nil {
		b.section(Section{Title: "Blocks dropped and operators split", Table: p})
	}
	b.changes(samples, "the original", "the result")
	if p := b.take("", "removed without loss", "set to zero", "lossless"); p != nil {
		b.section(Section{Title: "Removed without loss", Text: p.Text})
	}
	if err := b.candidates(r.Candidates, r.Search); err != nil {
		return nil, err
	}
	if err := b.fit(&r.Report.Report); err != nil {
		return nil, err
	}
	return b.rest(), nil
}

// compressed says what a compression brought in a line.
func compressed(r *report.Compression) string {
	var parts []string
	add := func(before, after int64, what, than string) {
		if before > 0 && after > 0 && after != before {
			change, how := 100*(1-float64(after)/float64(before)), "fewer"
			if than != "" {
				how = than
			}
			if change < 0 {
				change, how = -change, "more"
			}
			parts = append(parts, strings.TrimSpace(fmt.Sprintf("%.1f%% %s %s", change, how, what)))
		}
	}
	add(r.Before.MACs, r.After.MACs, "multiply-accumulates", "")
	add(r.Before.Params, r.After.Params, "parameters", "")
	text := strings.Join(parts, ", ")
	if text == "" {
		text = "No width changed"
	}
	if e := r.Evaluation; e != nil {
		if a, c := e.Before.LatencyMS, e.After.LatencyMS; a != nil && c != nil && *c > 0 {
			text += fmt.Sprintf(", %.2f times as fast", *a / *c)
		}
		switch a, c := e.Before.Top1, e.After.Top1; {
		case e.Before.Metric != nil && e.After.Metric != nil:
			text += fmt.Sprintf("; metric %s → %s", short(*e.Before.Metric), short(*e.After.Metric))
		case a != nil && c != nil:
			text += fmt.Sprintf("; top-1 %s → %s", percentOf(*a), percentOf(*c))
		case e.After.Agreement != nil:
			text += fmt.Sprintf("; agrees with the original to %s", percentOf(*e.After.Agreement))
		}
	}
	return text + "."
}

// candidates shows the ways to meet a budget.
func (b *builder) candidates(list []compress.Candidate, search *compress.Search) error {
	if p := b.take("widths"); p != nil {
		var spots []spot
		for _, c := range list {
			name := string(c.Name)
			if c.Blocks+c.Ranks > 0 {
				name = "with other moves"
			}
			if c.Taken {
				name += " (taken)"
			}
			spots = append(spots, spot{name, float64(c.Size.MACs), c.Divergence, c.Taken})
		}
		plot, err := spotPlot("Divergence from the original against multiply-accumulates: lower is better", "multiply-accumulates", "divergence", spots, nil)
		if err != nil {
			return err
		}
		marksFirst(p)
		b.section(Section{Title: "Ways to meet the budget", Plots: []Plot{plot}, Table: p})
	}
	if p := b.take("MACs asked"); p != nil && search != nil {
		var spots []spot
		for _, t := range search.Trials {
			spots = append(spots, spot{fmt.Sprintf("×%.2f", t.MACs), float64(t.Size.MACs), t.Drop, t.Within})
		}
		drop := "drop (share of samples)"
		if search.Measure == "metric" {
			drop = "drop (share of the metric)"
		}
		plot, err := spotPlot("Drop against multiply-accumulates: a disc is within the limit", "multiply-accumulates", drop, spots, nil)
		if err != nil {
			return err
		}
		marksFirst(p)
		b.section(Section{Title: "The search", Plots: []Plot{plot}, Table: p})
	}
	return nil
}

// fit shows what refit and distillation brought.
func (b *builder) fit(r *job.Report) error {
	if p := b.take("layer"); p != nil && r.Refit != nil {
		var pairs []pair
		for _, l := range r.Refit.Layers {
			pairs = append(pairs, pair{l.Before, l.After})
		}
		plot, err := errorPlot(pairs)
		if err != nil {
			return err
		}
		numbered(p)
		for _, line := range p.Text { // the table may be folded
			if text, ok := strings.CutPrefix(line, "memory: "); ok {
				b.fact("memory", text, false)
			}
		}
		b.section(Section{Title: "Error by layer", Plots: []Plot{plot}, Table: p})
	}
	if p := b.take("", "distilled for", "not distilled"); p != nil {
		plot, err := lossOf(r.Tune)
		if err != nil {
			return err
		}
		b.section(Section{Title: "Distillation", Text: p.Text, Plots: []Plot{plot}})
	}
	return nil
}

func lossOf(r *tune.Report) (Plot, error) {
	if r == nil {
		return Plot{}, nil
	}
	return lossPlot(r.Losses, r.Steps, pair{r.Before, r.After})
}

// changes shows samples that a model gives to another class than a first one.
func (b *builder) changes(s *Samples, first, second string) {
	if s == nil || s.Changed == 0 {
		return
	}
	text := fmt.Sprintf("%s of %s are given to another class by %s than by %s.", grouped(s.Changed), samplesOf(s.Of), second, first)
	if s.Labelled {
		text += fmt.Sprintf(" Of these %s is right about %s, %s about %s, and neither about %s.",
			first, grouped(s.Worse), second, grouped(s.Better), grouped(s.Changed-s.Worse-s.Better))
	}
	if s.Changed > len(s.Shown) {
		text += fmt.Sprintf(" %d are shown.", len(s.Shown))
	}
	for i, p := range s.Shown {
		s.Shown[i].Note = map[eval.Fate]string{eval.Worse: first + " is right", eval.Better: second + " is right", eval.StillWrong: "label: " + p.Label}[p.Fate]
	}
	b.section(Section{Title: "Samples that changed their class", Text: []string{text}, Pictures: s.Shown})
}

// Fusion presents models and what was made of them. stages are those of the model whose structure
// the result has.
func Fusion(r *report.Fusion, stages []diff.Stage, about About) (_ *Page, err error) {
	defer guard.Recover(&err)
	var names []string
	for _, m := range r.Models {
		names = append(names, m.Model)
	}
	b := begin(strings.Join(names, " + ")+" → "+r.Output, about, r)
	b.warn(r.Warnings)
	b.page.Headline = fused(r)
	models := b.take("model")
	if models != nil {
		b.page.Tiles = parentTiles(models, r)
		b.made(models)
	}
	b.page.Judged = []string{"What the models and the result get right is not measured here: monge eval compares them on data of their own."}
	b.section(Section{Title: "The models", Table: models})
	b.section(Section{Title: "The network", Network: drawn(stages, [2]string{fmt.Sprintf("model %d", r.Onto), "result"}, nil), Table: b.spaces(stages)})
	maps, left, err := heatMaps(r.Spaces, stages)
	if err != nil {
		return nil, err
	}
	if len(maps) > 0 {
		text := []string{"Each map is the plan of a space: rows are the channels of a model, columns those of the result; the darker a cell (in the dark: the lighter), the more of the one is in the other."}
		if left > 0 {
			text = append(text, fmt.Sprintf("%d maps that move less are left out.", left))
		}
		b.section(Section{Title: "What each model gave", Text: text, Maps: maps})
	}
	if p := b.take("method"); p != nil {
		plot, err := fusionCandidates(r.Candidates, r)
		if err != nil {
			return nil, err
		}
		marksFirst(p)
		numbered(p)
		b.section(Section{Title: "Ways to fuse", Plots: []Plot{plot}, Table: p})
	}
	if err := b.fit(&r.Report.Report); err != nil {
		return nil, err
	}
	return b.rest(), nil
}

func fused(r *report.Fusion) string {
	how := "moved onto model " + fmt.Sprint(r.Onto) + " and averaged"
	if r.Method == fuse.Union {
		how = "whose channels compete for places"
	}
	text := fmt.Sprintf("%d models, %s", len(r.Models), how)
	if r.Divergence > 0 {
		text += fmt.Sprintf("; divergence from their mean prediction %.4f on held-out samples", r.Divergence)
	}
	return text + "."
}

// parentTiles compares the result with the model whose structure it has.
func parentTiles(p *report.Part, r *report.Fusion) []Tile {
	var out []Tile
	for i, h := range p.Head {
		if h != "params" && h != "MACs" && h != "size" {
			continue
		}
		out = append(out, Tile{Name: h, Before: fmt.Sprintf("model %d: ", r.Onto) + p.Rows[r.Onto-1][i], After: p.Rows[len(p.Rows)-1][i]})
	}
	for i, x := range r.Contribution {
		out = append(out, Tile{Name: fmt.Sprintf("from model %d", i+1), After: percentOf(x)})
	}
	return out
}

// fusionCandidates draws what was compared against the weight of the first model, with the numbers
// of the table's rows. Where all channels of a model are kept it has all the weight, another none.
func fusionCandidates(list []fuse.Candidate, r *report.Fusion) (Plot, error) {
	var spots []spot
	for i, c := range list {
		full := c.Divergence == r.Divergence && c.Method == r.Method
		name, weight := "", c.Weights[0]
		switch first := !slices.ContainsFunc(list[:i], func(o fuse.Candidate) bool { return o.Method == c.Method }); {
		case full:
			name = "taken"
		case c.Whole > 0:
			name = fmt.Sprintf("all of model %d", c.Whole)
		case first:
			name = string(c.Method)
		}
		switch c.Whole {
		case 0:
		case 1:
			weight = 1
		default:
			weight = 0
		}
		spots = append(spots, spot{strings.TrimSpace(fmt.Sprintf("%d %s", i+1, name)), weight, c.Divergence, full})
	}
	return spotPlot("Divergence from the models' mean prediction against the weight of model 1: lower is better; the disc was taken, numbers are those of the table's rows. What keeps all channels of a model is drawn at 0 or 1",
		"weight of model 1", "divergence", spots, nil)
}

// Evaluation presents models side by side. stages are those of the first of two models, and what
// became of them in the second; nil draws nothing. samples are, for each model but the first, those
// that it decides otherwise about.
func Evaluation(r *report.Evaluation, stages []diff.Stage, samples []*Samples, about About) (_ *Page, err error) {
	defer guard.Recover(&err)
	var names []string
	for _, m := range r.Models {
		names = append(names, m.Model)
	}
	b := begin(strings.Join(names, ", "), about, r)
	names = shortened(names)
	for i := 1; i < len(r.Models); i++ {
		b.agreement(names[i], names[0], r.Models[i].Agreement, r.Models[i].Outputs)
	}
	b.warn(r.Warnings)
	table := b.take("model")
	if table != nil {
		b.page.Judged, table.Text = append(b.page.Judged, table.Text...), nil
		if len(r.Models) == 2 {
			b.page.Tiles = modelTiles(table, names)
			counted(b.page.Tiles, r.Samples)
			for i := range b.page.Tiles {
				b.page.Tiles[i].Name += " of " + names[1]
			}
		}
	}
	for {
		p := b.take("", "")
		if p == nil {
			break
		}
		b.page.Judged = append(b.page.Judged, p.Text...)
	}
	b.costs()
	b.page.Headline = evaluated(r, names)
	plots, err := qualityPlots(r, names)
	if err != nil {
		return nil, err
	}
	b.section(Section{Title: "The models", Plots: plots, Table: table})
	if stages != nil {
		b.section(Section{Title: "The network", Network: drawn(stages, [2]string(names), nil)})
	}
	for i, s := range samples {
		at := len(b.page.Sections)
		b.changes(s, names[0], names[i+1])
		if len(b.page.Sections) > at && len(r.Models) > 2 {
			b.page.Sections[at].Title += ": " + names[i+1]
		}
	}
	return b.rest(), nil
}

// modelTiles compares the second row of a table with the first.
func modelTiles(p *report.Part, names []string) []Tile {
	var out []Tile
	for i, h := range p.Head {
		if i == 0 || p.Rows[1][i] == "" {
			continue
		}
		t := Tile{Name: h, After: p.Rows[1][i]}
		if p.Rows[0][i] != "" {
			t.Before = names[0] + ": " + p.Rows[0][i]
		}
		out = append(out, t)
	}
	return out
}

// shortened are the names of files without their folders, unless two are alike then.
func shortened(paths []string) []string {
	var short, long []string
	for _, p := range paths {
		short, long = append(short, screen.Name(base(p))), append(long, screen.Name(p))
	}
	for i, s := range short {
		if slices.Contains(short[:i], s) {
			return long
		}
	}
	return short
}

func evaluated(r *report.Evaluation, names []string) string {
	text := fmt.Sprintf("%d models compared", len(r.Models))
	if len(r.Models) == 1 {
		text = "One model measured"
	}
	if len(r.Models) == 2 {
		a, b := r.Models[0], r.Models[1]
		switch {
		case a.Metric != nil && b.Metric != nil:
			text = fmt.Sprintf("Metric %s of %s, %s of %s", short(*b.Metric), names[1], short(*a.Metric), names[0])
		case a.Top1 != nil && b.Top1 != nil:
			text = fmt.Sprintf("Top-1 %s of %s, %s of %s", percentOf(*b.Top1), names[1], percentOf(*a.Top1), names[0])
		case b.Agreement != nil:
			text = fmt.Sprintf("%s agrees with %s to %s", names[1], names[0], percentOf(*b.Agreement))
		}
		if a.MACs != nil && b.MACs != nil && *a.MACs > 0 && *a.MACs != *b.MACs {
			text += fmt.Sprintf(", with %.1f%% of the multiply-accumulates", 100*float64(*b.MACs)/float64(*a.MACs))
		}
	}
	return text + "."
}

// qualityPlots draw accuracy, or agreement with the first model, against cost.
func qualityPlots(r *report.Evaluation, names []string) ([]Plot, error) {
	y := "top-1"
	quality := func(i int, j report.Judged) *float64 { return j.Top1 }
	if len(r.Models) > 0 && r.Models[0].Metric != nil {
		y = "metric"
		quality = func(i int, j report.Judged) *float64 { return j.Metric }
	} else if len(r.Models) > 0 && r.Models[0].Top1 == nil {
		y = "agreement with the first"
		quality = func(i int, j report.Judged) *float64 {
			if i == 0 {
				return new(1.0)
			}
			return j.Agreement
		}
	}
	var byMACs, byTime []spot
	for i, m := range r.Models {
		q := quality(i, m)
		if q == nil {
			continue
		}
		if m.MACs != nil {
			byMACs = append(byMACs, spot{names[i], float64(*m.MACs), *q, i > 0})
		}
		if m.LatencyMS != nil {
			byTime = append(byTime, spot{names[i], *m.LatencyMS, *q, i > 0})
		}
	}
	a, err := spotPlot(y+" against multiply-accumulates (ring: the first model)", "multiply-accumulates", y, byMACs, nil)
	if err != nil {
		return nil, err
	}
	b, err := spotPlot(y+" against latency (ring: the first model)", "latency in ms", y, byTime, nil)
	return []Plot{a, b}, err
}

// base is the last part of a path, by whatever sign its parts are set apart.
func base(path string) string { return path[strings.LastIndexAny(path, `/\`)+1:] }

// Difference presents what differs between two models.
func Difference(r *report.Difference, about About) (_ *Page, err error) {
	defer guard.Recover(&err)
	b := begin(r.Models[0]+" → "+r.Models[1], about, r)
	b.page.Headline = screen.Name(titleOf(r.Verdict)) + "."
	b.take("", r.Verdict)
	if p := b.take(""); p != nil {
		b.section(Section{Title: "The files", Table: p})
	}
	b.section(Section{Title: "The network", Network: drawn(r.Flow, [2]string{screen.Name(r.Models[0]), screen.Name(r.Models[1])}, nil), Table: b.spaces(r.Flow)})
	var changes []float64
	for _, w := range r.Weights {
		if w.Linear && w.Change != nil {
			changes = append(changes, *w.Change)
		}
	}
	plot, err := barPlot("Relative change ‖a − b‖/‖a‖ of the weights of layers whose shapes are the same", "layer, from the input", "relative change", changes)
	if err != nil {
		return nil, err
	}
	if p := b.take("layer"); p != nil {
		b.section(Section{Title: "Weights", Plots: []Plot{plot}, Table: p})
	}
	return b.rest(), nil
}

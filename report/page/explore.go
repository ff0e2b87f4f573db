package page

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot/plotter"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/report"
)

// Exploration presents the models of an exploration and what each costs.
func Exploration(r *report.Exploration, about About) (_ *Page, err error) {
	defer guard.Recover(&err)
	b := begin(r.Model, about, r)
	for _, p := range r.Points {
		b.agreement(fmt.Sprintf("×%g", p.Share), "the original", p.Agreement, nil)
	}
	b.warn(r.Warnings)
	measure := measureOf(r)
	b.page.Headline = explored(r, measure)
	for _, p := range r.Points {
		b.page.Tiles = append(b.page.Tiles, pointTile(r, p, measure))
	}
	table := b.take("model")
	if table != nil {
		b.page.Judged, table.Text = append(b.page.Judged, table.Text...), nil
		marksFirst(table)
	}
	b.costs()
	plots, err := curves(r, measure)
	if err != nil {
		return nil, err
	}
	b.section(Section{Title: "What is lost for what is saved", Plots: plots, Table: table})
	return b.rest(), nil
}

// A measure is what models are compared by.
type measure struct {
	name string
	of   func(report.Quality) *float64
	text func(float64) string
}

// measureOf is the metric, accuracy, or agreement.
func measureOf(r *report.Exploration) measure {
	switch {
	case r.Before.Metric != nil:
		return measure{"metric", func(q report.Quality) *float64 { return q.Metric }, short}
	case r.Before.Top1 != nil:
		return measure{"top-1", func(q report.Quality) *float64 { return q.Top1 }, percentOf}
	}
	return measure{"agreement", func(q report.Quality) *float64 { return cmp.Or(q.Agreement, new(1.0)) }, percentOf}
}

func explored(r *report.Exploration, m measure) string {
	text := fmt.Sprintf("%d models of ×%g to ×%g of the multiply-accumulates", len(r.Points), r.Points[len(r.Points)-1].Share, r.Points[0].Share)
	if len(r.Points) == 1 {
		text = fmt.Sprintf("One model of ×%g of the multiply-accumulates", r.Points[0].Share)
	}
	of := m.of(r.Before.Quality)
	say := func(what string, p report.Point) {
		text += fmt.Sprintf("; %s ×%g", what, p.Share)
		if x := m.of(p.Quality); x != nil && of != nil {
			text += fmt.Sprintf(": %s %s", m.name, m.text(*x))
			if m.name != "agreement" { // of the original with itself
				text += ", of " + m.text(*of)
			}
		}
	}
	if i := slices.IndexFunc(r.Points, func(p report.Point) bool { return p.Knee }); i >= 0 {
		say("the knee is at", r.Points[i])
		return text + "."
	}
	// Without a knee: the smallest that is as good as the original, or the best.
	worth := func(q report.Quality) float64 {
		x := m.of(q)
		if x == nil {
			return math.Inf(-1)
		}
		return eval.Metric{Lower: r.Metric != nil && r.Metric.Lower}.Worth(*x)
	}
	best := slices.MaxFunc(r.Points, func(a, b report.Point) int { return cmp.Compare(worth(a.Quality), worth(b.Quality)) })
	whole := slices.DeleteFunc(slices.Clone(r.Points), func(p report.Point) bool { return worth(p.Quality) < worth(r.Before.Quality) })
	switch {
	case of == nil:
	case len(whole) == 0:
		say("all lose something, least", best)
	default:
		say("the smallest that loses nothing measurable is", slices.MinFunc(whole, func(a, b report.Point) int { return cmp.Compare(a.MACs, b.MACs) }))
	}
	return text + "."
}

// pointTile sums a point up.
func pointTile(r *report.Exploration, p report.Point, m measure) Tile {
	t := Tile{Name: fmt.Sprintf("×%g", p.Share)}
	switch {
	case p.Knee:
		t.Name += ", the knee"
	case p.Front:
		t.Name += ", on the front"
	}
	if x := m.of(p.Quality); x != nil {
		t.After = m.name + " " + m.text(*x)
	}
	if m.name != "metric" && r.Judged > 0 {
		t.On = "on " + samplesOf(r.Judged)
	}
	t.Share = fmt.Sprintf("%.1f%% of the MACs", 100*float64(p.MACs)/float64(max(r.Before.MACs, 1)))
	if a, b := r.Before.LatencyMS, p.LatencyMS; a != nil && b != nil && *a > 0 {
		t.Share += fmt.Sprintf(", %.1f%% of the time", 100**b / *a)
	}
	return t
}

// curves draw what the models are worth against what they cost, with a line through the front.
func curves(r *report.Exploration, m measure) (out []Plot, err error) {
	for _, by := range []struct {
		name string
		of   func(report.Explored) *float64
	}{
		{"multiply-accumulates", func(e report.Explored) *float64 { return new(float64(e.MACs)) }},
		{"latency in ms", func(e report.Explored) *float64 { return e.LatencyMS }},
	} {
		var spots []spot
		var costs []int64
		var worths []float64
		add := func(name string, e report.Explored, full bool) {
			x, y := by.of(e), m.of(e.Quality)
			if x == nil || y == nil {
				return
			}
			spots = append(spots, spot{name, *x, *y, full})
			costs, worths = append(costs, int64(1e6**x)), append(worths, eval.Metric{Lower: r.Metric != nil && r.Metric.Lower}.Worth(*y))
		}
		add("original", r.Before, false)
		for _, p := range r.Points {
			name := fmt.Sprintf("×%g", p.Share)
			if p.Knee {
				name += " (knee)"
			}
			add(name, p.Explored, true)
		}
		var front plotter.XYs
		on, _ := compress.Front(costs, worths)
		for i, s := range spots {
			if on[i] {
				front = append(front, plotter.XY{X: s.x, Y: s.y})
			}
		}
		slices.SortFunc(front, func(a, b plotter.XY) int { return int(math.Copysign(1, a.X-b.X)) })
		title := fmt.Sprintf("%s against %s (ring: the original", m.name, by.name)
		if len(front) > 1 {
			title += "; line: the front"
		}
		plot, err := spotPlot(title+")", by.name, m.name, spots, front)
		if err != nil {
			return nil, err
		}
		out = append(out, plot)
	}
	return out, nil
}

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
	mark                  = 3      // the radius of one
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
		a.Tick.Marker = ticks{low: math.Inf(-1), high: math.Inf(1)}
	}
	for _, f := range []*font.Font{&p.X.Label.TextStyle.Font, &p.Y.Label.TextStyle.Font, &p.X.Tick.Label.Font, &p.Y.Tick.Label.Font, &p.Legend.TextStyle.Font} {
		f.Variant = variant
	}
	p.Legend.TextStyle.Color, p.Legend.TextStyle.Font.Size = ink, letters
	p.Legend.Top, p.Legend.ThumbnailWidth = true, 22
	return p
}

// ticks are marks of an axis at round numbers, with as many digits as tell two of them apart. There
// are none outside of what the axis' numbers can be.
type ticks struct {
	low, high float64
	share     bool // written as a percentage
}

func (t ticks) Ticks(lo, hi float64) []plot.Tick {
	const apart = 2.5 // the axis is so many steps long, or up to two and a half times as many
	step := math.Pow(10, math.Floor(math.Log10((hi-lo)/apart)))
	for _, m := range []float64{5, 2} {
		if m*step*apart <= hi-lo {
			step *= m
			break
		}
	}
	size, sign := prefix(max(math.Abs(lo), math.Abs(hi)))
	if t.share {
		size, sign = 0.01, "%"
	}
	decimals := max(0, int(-math.Floor(math.Log10(step/size)+1e-9)))
	var out []plot.Tick
	for i, n := math.Ceil(lo/step), 0; i*step <= hi && n < 8; i, n = i+1, n+1 {
		v := i*step + 0 // no negative zero
		if v < t.low || v > t.high {
			continue
		}
		label := "0"
		if v != 0 {
			label = strconv.FormatFloat(v/size, 'f', decimals, 64) + sign
		}
		out = append(out, plot.Tick{Value: v, Label: label})
	}
	return out
}

// prefix is the decimal prefix of a number, and what it stands for.
func prefix(x float64) (size float64, sign string) {
	for _, p := range []struct {
		size float64
		sign string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if math.Abs(x) >= p.size {
			return p.size, p.sign
		}
	}
	return 1, ""
}

// short writes a number with a decimal prefix where it is large.
func short(x float64) string {
	size, sign := prefix(x)
	return strconv.FormatFloat(x/size, 'g', 3, 64) + sign
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

// A ring is a circle whose line is thick enough to be seen on a disc.
type ring struct{}

func (ring) DrawGlyph(c *draw.Canvas, style draw.GlyphStyle, at vg.Point) {
	c.SetLineStyle(draw.LineStyle{Color: style.Color, Width: 1.5})
	var p vg.Path
	p.Move(vg.Point{X: at.X + style.Radius, Y: at.Y})
	p.Arc(at, style.Radius, 0, 2*math.Pi)
	p.Close()
	c.Stroke(p)
}

// dots are points with a sign: a ring, which stands for what was before, or a full disc.
func dots(points plotter.XYs, full bool) (*plotter.Scatter, error) {
	s, err := plotter.NewScatter(points)
	if err != nil {
		return nil, err
	}
	s.GlyphStyle = draw.GlyphStyle{Color: before, Radius: mark, Shape: ring{}}
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
// Where there was none before, there was nothing to fit the layer to, and its place stays empty.
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
		if e.before <= 0 {
			continue
		}
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
	for _, d := range []struct { // rings on top: discs would cover them
		points plotter.XYs
		full   bool
		name   string
	}{{now, true, "after the refit"}, {was, false, "before"}} {
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
	share := strings.HasPrefix(y, "top-1") || strings.HasPrefix(y, "agreement")
	room(&p.X, 1, false)
	room(&p.Y, 1.5, share)
	p.Add(names{spots, through})
	return svg(title, p)
}

// leastSpan is that of an axis as a share of its largest number: small differences look small.
const leastSpan = 0.1

// room widens an axis, so that no mark is at its end, by so much more at its upper one. Marks of an
// axis of shares end at the whole, and at zero where nothing is below it.
func room(a *plot.Axis, more float64, share bool) {
	t := ticks{low: math.Inf(-1), high: math.Inf(1), share: share}
	if a.Min >= 0 {
		t.low = 0
	}
	span := max(a.Max-a.Min, leastSpan*max(math.Abs(a.Min), math.Abs(a.Max)), 1e-9)
	middle := (a.Min + a.Max) / 2
	if share {
		t.high = 1
		middle = min(middle, 1-span/2)
	}
	a.Min, a.Max, a.Tick.Marker = middle-0.62*span, middle+(0.5+0.12*more)*span, t
}

// names stand beside the spots that they are of.
type names struct {
	spots   []spot
	through plotter.XYs
}

// Plot writes the names, with a line to its spot from each that stands away from it.
func (n names) Plot(c draw.Canvas, p *plot.Plot) {
	style := p.Legend.TextStyle
	style.Font.Size, style.XAlign, style.YAlign = letters-1, draw.XCenter, draw.YCenter
	x, y := p.Transforms(&c)
	drawn := crowd{area: c.Rectangle}
	var sizes []vg.Point
	for _, s := range n.spots {
		drawn.spots = append(drawn.spots, vg.Point{X: x(s.x), Y: y(s.y)})
		size := vg.Point{}
		if s.name != "" {
			size = vg.Point{X: style.Width(s.name), Y: letters}
		}
		sizes = append(sizes, size)
	}
	for i := 1; i < len(n.through); i++ {
		a, b := n.through[i-1], n.through[i]
		drawn.lines = append(drawn.lines, between(vg.Point{X: x(a.X), Y: y(a.Y)}, vg.Point{X: x(b.X), Y: y(b.Y)})...)
	}
	drawn.place(sizes)
	for i, box := range drawn.names {
		if n.spots[i].name == "" {
			continue
		}
		c.FillText(style, box.Min.Add(box.Max).Scale(0.5), n.spots[i].name)
		at := drawn.spots[i]
		if end := nearest(box, at); distance(at, end) > 2*beside {
			start := at.Add(end.Sub(at).Scale(mark / distance(at, end)))
			c.StrokeLine2(draw.LineStyle{Color: soft, Width: 0.75}, start.X, start.Y, end.X, end.Y)
		}
	}
}

// A crowd is what is on a plot: spots, points of lines, and the boxes of the first spots' names.
type crowd struct {
	area         vg.Rectangle
	spots, lines []vg.Point
	names        []vg.Rectangle
}

// beside is the distance of a name that stands at its spot.
const beside = 6

// place finds a box for each name: at its spot, or further off where it would be in the way there,
// or could be taken for the name of another spot. Names of no size have none.
func (c *crowd) place(sizes []vg.Point) {
	for i, size := range sizes {
		at, best, least := c.spots[i], vg.Rectangle{}, vg.Length(math.Inf(1))
		for _, far := range []vg.Length{beside, 3 * beside, 5 * beside, 7 * beside} {
			for _, to := range []vg.Point{{X: 1}, {X: -1}, {X: 1, Y: 1}, {X: -1, Y: 1}, {X: 1, Y: -1}, {X: -1, Y: -1}, {Y: 1}, {Y: -1}} {
				corner := to.Scale(far) // of the box, or the middle of a side
				if to.X != 0 && to.Y != 0 {
					corner = corner.Scale(0.75)
				}
				low := vg.Point{X: at.X + corner.X + (to.X-1)/2*size.X, Y: at.Y + corner.Y + (to.Y-1)/2*size.Y}
				box := vg.Rectangle{Min: low, Max: low.Add(size)}
				if bad := c.bad(i, box); size.X > 0 && bad < least {
					best, least = box, bad
				}
			}
		}
		c.names = append(c.names, best)
	}
}

// bad says how bad a box is for the name of a spot.
func (c *crowd) bad(i int, box vg.Rectangle) vg.Length {
	at := c.spots[i]
	end := nearest(box, at)
	off := distance(at, end)
	leader := between(at, end)
	sum := off / 4
	for j, o := range c.spots {
		switch d := distance(o, nearest(box, o)); {
		case j == i:
			continue
		case d < mark+1: // it covers a spot
			sum += 30
		case d < 2*beside: // whose name is it? A line to its own tells
			sum += 2 + 2*max(0, 2*beside-off)
		}
		if slices.ContainsFunc(leader, func(q vg.Point) bool { return distance(o, q) < mark+1 && distance(at, q) > mark }) {
			sum += 10
		}
	}
	for _, o := range c.names {
		if o.Min.X < box.Max.X+beside && box.Min.X < o.Max.X+beside && o.Min.Y < box.Max.Y && box.Min.Y < o.Max.Y {
			sum += 30
		}
		if slices.ContainsFunc(leader, func(q vg.Point) bool { return nearest(o, q) == q }) {
			sum += 10
		}
	}
	if slices.ContainsFunc(c.lines, func(q vg.Point) bool { return nearest(box, q) == q }) {
		sum += 6
	}
	if nearest(c.area, box.Min) != box.Min || nearest(c.area, box.Max) != box.Max {
		sum += 60
	}
	return sum
}

// between lists points of a line.
func between(a, b vg.Point) (out []vg.Point) {
	steps := vg.Length(math.Ceil(float64(distance(a, b)) / 2))
	for k := range int(steps) + 1 {
		out = append(out, a.Add(b.Sub(a).Scale(vg.Length(k)/max(steps, 1))))
	}
	return out
}

// nearest is the point of a box that is nearest to another point.
func nearest(box vg.Rectangle, p vg.Point) vg.Point {
	return vg.Point{X: min(max(p.X, box.Min.X), box.Max.X), Y: min(max(p.Y, box.Min.Y), box.Max.Y)}
}

func distance(a, b vg.Point) vg.Length {
	return vg.Length(math.Hypot(float64(a.X-b.X), float64(a.Y-b.Y)))
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

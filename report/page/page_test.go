package page_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"image/png"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/net/html"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/diff"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/internal/refit"
	"github.com/monge-ml/monge/internal/tune"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
	"github.com/monge-ml/monge/report"
	"github.com/monge-ml/monge/report/page"
)

var about = page.About{Command: `monge compress '<img src=x onerror=alert(1)>.onnx'`, Version: "v0-test"}

// elements of a page, by their names.
type elements map[string][]*html.Node

// rendered is a page as a browser would read it, and its text. It fails if anything would be
// fetched or run.
func rendered(t *testing.T, p *page.Page, err error) (elements, string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := page.Render(&b, p); err != nil {
		t.Fatal(err)
	}
	root, err := html.Parse(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	all, text := elements{}, strings.Builder{}
	for n := range root.Descendants() {
		if n.Type == html.TextNode && n.Parent.Data != "style" {
			text.WriteString(n.Data)
			next := n.NextSibling
			command := n.Parent.Data == "span" && n.Parent.Parent.Data == "code" || n.Parent.Data == "code"
			if !command && (next == nil || next.Data != "wbr") { // a name may be broken there
				text.WriteString("\n")
			}
		}
		if n.Type != html.ElementNode {
			continue
		}
		all[n.Data] = append(all[n.Data], n)
		for _, a := range n.Attr {
			if (a.Key == "src" || strings.HasSuffix(a.Key, "href")) && !strings.HasPrefix(a.Val, "data:") || strings.HasPrefix(a.Key, "on") {
				t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
			}
		}
	}
	for _, name := range []string{"script", "iframe", "object", "embed", "form"} {
		if len(all[name]) > 0 {
			t.Errorf("there is a %s", name)
		}
	}
	if m := regexp.MustCompile(`(?i)https?:|url\(|@import`).FindString(b.String()); m != "" {
		t.Errorf("%q is in the page", m)
	}
	for _, r := range b.String() {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			t.Errorf("%U is in the page", r)
			break
		}
	}
	if strings.Contains(b.String(), "ZgotmplZ") {
		t.Error("the template refused a value")
	}
	return all, text.String()
}

func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func (e elements) classes(element, class string) (out []*html.Node) {
	for _, n := range e[element] {
		if slices.Contains(strings.Fields(attribute(n, "class")), class) {
			out = append(out, n)
		}
	}
	return out
}

// narrowed compresses a model without data, as a command would report it.
func narrowed(t *testing.T, m *onnxio.Model, o compress.Options) (*report.Compression, *onnxio.Model) {
	t.Helper()
	o.NoData = true
	out, done, err := compress.Model(context.Background(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	size := func(s compress.Size, m *onnxio.Model) report.Size {
		_, bytes := m.Size()
		return report.Size{Params: s.Params, MACs: s.MACs, Bytes: bytes}
	}
	return &report.Compression{Model: "a.onnx", Output: "b.onnx", Before: size(done.Before, m), After: size(done.After, out), Report: done}, out
}

func stages(t *testing.T, a, b *onnxio.Model) []diff.Stage {
	t.Helper()
	s, err := page.Stages(context.Background(), a, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wants(t *testing.T, text string, list ...string) {
	t.Helper()
	for _, want := range list {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}

// What a page says of a compression: the verdict, every layer with its widths, errors, losses, and
// what was compared.
func TestCompression(t *testing.T) {
	m := modeltest.Load(t, "resnet_a")
	r, out := narrowed(t, m, compress.Options{Keep: 0.5, Exclude: []string{"*fc*", "*conv1*"}})
	share := 0.775
	r.Evaluation = &report.Comparison{Data: "images", Samples: 40, HeldOut: true, After: report.Quality{Agreement: &share}}
	r.Refit = &refit.Report{Samples: 9, Layers: []refit.Layer{{Name: "first", Inputs: 9, Samples: 4, Before: 0.5, After: 0.25}, {Name: "second", Note: "new"}}}
	r.Tune = &tune.Report{Samples: 9, Epochs: 3, Steps: 30, Before: 0.4, After: 0.3, Losses: []float64{0.5, 0.4, 0.35}}
	r.Candidates = []compress.Candidate{{Name: compress.Allocated, Size: r.Report.After, Divergence: 0.2, Taken: true}, {Name: compress.Even, Size: r.Report.Before, Divergence: 0.3}}
	r.Warnings = []string{"data are <b>few</b>"}
	r.Evaluation.Before.Top1, r.Evaluation.After.Top1 = new(0.95), new(0.93)
	r.Evaluation.Outputs = []eval.OutputResult{{Name: "boxes", Agreement: 0.99}, {Name: "logits", Agreement: share}}
	r.Ranks = []compress.Ranked{{Name: "second", Rank: 8, Of: 24}}
	s := &page.Samples{Changed: 1, Of: 40, Shown: []page.Picture{{Sample: 3, Before: "1", After: "2"}}}
	p, err := page.Compression(r, stages(t, m, out), s, about)
	all, text := rendered(t, p, err)
	wants(t, text, "fewer multiply-accumulates", "top-1 95.00% → 93.00%", "judged on 40 held-out samples of images", "data are <b>few</b>", "on 40 samples", "▼ −2.00 points",
		`low agreement: the result agrees with the original to 77.50% only, by the output "logits", the worst of 2.`, "1 layer of 2, from first on, fitted on 4 of 9 samples",
		"narrowed to 50%", "allocated", "distilled for 30 steps", "0.2500", `excluded by "*conv1*"`, `graph output "logits"`, about.Command, about.Version)
	g, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	layers := g.Linears()
	if rows := all.classes("div", "layer"); len(rows) != len(layers) {
		t.Errorf("%d rows for %d layers", len(rows), len(layers))
	}
	for _, l := range layers {
		wants(t, text, l.Node.GetName())
	}
	if plots := len(all.classes("div", "plots")); plots != 3 {
		t.Errorf("%d plots", plots)
	}
	var titles []string
	for _, h := range all["h2"] {
		titles = append(titles, h.FirstChild.Data)
	}
	if want := []string{"The network", "Blocks dropped and operators split", "Samples that changed their class", "Ways to meet the budget", "Error by layer", "Distillation", "How it was made"}; !slices.Equal(titles, want) {
		t.Errorf("sections %q", titles)
	}
	for _, row := range all["tr"] {
		var cells []string
		for td := range row.ChildNodes() {
			if td.FirstChild != nil {
				cells = append(cells, td.FirstChild.Data)
			}
		}
		switch at := strings.Join(cells, " "); {
		case strings.HasPrefix(at, "2 second") && at != "2 second new": // nothing to fit it to, no numbers
			t.Errorf("row %q", at)
		case strings.HasPrefix(at, "allocated") && !strings.HasPrefix(at, "allocated taken"): // marks come first
			t.Errorf("row %q", at)
		}
	}
	wants(t, text, "second\nnew\n")
}

// Every line of the drawing leads from a stage to one that reads it: a reader who follows the lines
// upwards from a stage comes to those whose results it reads, and to no others.
func TestLines(t *testing.T) {
	for _, name := range modeltest.Names(t) {
		m := modeltest.Load(t, name)
		list := stages(t, m, m)
		n := page.Drawn(list)
		if n.Lines > 0 || n.Left > 0 {
			t.Errorf("%s: %d lines and %d rows are not drawn", name, n.Lines, n.Left)
		}
		for i, s := range list {
			if got := above(n.Rows, i); !slices.Equal(got, s.From) {
				t.Errorf("%s: %s reads %v, lines lead to %v", name, s.Name, s.From, got)
			}
		}
	}
}

// above follows the lines of a drawing from a row's dot upwards, and lists the rows that they come
// from.
func above(rows []page.Row, i int) (from []int) {
	has := func(row, x, y1, y2 int) bool {
		return slices.Contains(rows[row].Lines, page.Line{X1: x, X2: x, Y1: y1, Y2: y2})
	}
	dot := rows[i].Dot
	if has(i, dot, 0, 50) {
		from = append(from, i-1)
	}
	for _, l := range rows[i].Lines {
		if l.Y1 != 50 || l.Y2 != 50 || l.X2 != dot { // into the dot
			continue
		}
		for row := i - 1; row >= 0; row-- {
			if has(row, l.X1, 50, 100) {
				from = append(from, row)
				break
			}
			if !has(row, l.X1, 0, 100) {
				break
			}
		}
	}
	slices.Sort(from)
	return from
}

// Whatever names are in a model and in paths, the page shows them as text.
func TestHostileNames(t *testing.T) {
	m, err := onnxtest.Parse("x: 1 6\nh = Gemm(x, w[6 8], b[8])\nr = Relu(h)\ny = Gemm(r, v[8 3], c[3])")
	if err != nil {
		t.Fatal(err)
	}
	hostile := "</b><script>alert(1)</script>\x1b[31m\u202eonnx"
	g, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range g.Nodes {
		n.Name = new(fmt.Sprint(hostile, i))
	}
	r, out := narrowed(t, m, compress.Options{Keep: 0.5})
	r.Model, r.Output, r.Warnings = hostile, `"><svg onload=alert(2)>`, []string{hostile}
	p, err := page.Compression(r, stages(t, m, out), nil, page.About{Command: hostile, Version: hostile})
	_, text := rendered(t, p, err)
	wants(t, text, `</b><script>alert(1)</script>\x1b[31m\u202eonnx0`, `"><svg onload=alert(2)>`)

	d, err := diff.Models(context.Background(), m, out, diff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err = page.Difference(report.Compare([2]string{hostile, "b"}, report.Measured{}, report.Measured{}, d), about)
	rendered(t, p, err)
}

// A layer that the second model does not have is said to be dropped.
func TestDropped(t *testing.T) {
	parse := func(text string) *onnxio.Model {
		m, err := onnxtest.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	a := parse("x: 1 6\nh = Gemm(x, w[6 6], b[6])\nr = Relu(h)\nk = Gemm(r, u[6 6], d[6])\ns = Add(k, r)\ny = Gemm(s, v[6 3], c[3])")
	b := parse("x: 1 6\nh = Gemm(x, w[6 6], b[6])\nr = Relu(h)\ny = Gemm(r, v[6 3], c[3])")
	d, err := diff.Models(context.Background(), a, b, diff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := page.Difference(report.Compare([2]string{"a", "b"}, report.Measured{}, report.Measured{}, d), about)
	all, _ := rendered(t, p, err)
	if gone := all.classes("div", "gone"); len(gone) != 2 { // the layer, and the sum
		t.Errorf("%d rows are gone", len(gone))
	}
}

// The maps of a fusion show every entry of its plans.
func TestFusion(t *testing.T) {
	models := []*onnxio.Model{modeltest.Load(t, "mlp_a"), modeltest.Load(t, "mlp_b")}
	out, done, err := fuse.Models(context.Background(), models, fuse.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := &report.Fusion{Models: []report.Parent{{Model: "a", Weight: 0.5}, {Model: "b", Weight: 0.5}}, Output: "ab", Report: done}
	p, err := page.Fusion(r, stages(t, models[1], out), about)
	all, text := rendered(t, p, err)
	wants(t, text, "2 models, moved onto model 2 and averaged.", "/fc1/Gemm, model 1: 64 channels → 64", "from model 1")
	if len(all["img"]) != 2 {
		t.Fatalf("%d maps", len(all["img"]))
	}
	for i, img := range all["img"] {
		data, ok := strings.CutPrefix(attribute(img, "src"), "data:image/png;base64,")
		raw, err := base64.StdEncoding.DecodeString(data)
		if err != nil || !ok {
			t.Fatal(err)
		}
		shown, err := png.Decode(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		plan := done.Spaces[i].Plans[0]
		for _, e := range plan.Entries {
			if _, _, _, a := shown.At(e.J, e.I).RGBA(); a == 0 {
				t.Errorf("map %d does not show channel %d in %d", i, e.I, e.J)
			}
		}
		if size := shown.Bounds().Size(); size.X != plan.K || size.Y != plan.N {
			t.Errorf("map %d is %v for %d×%d", i, size, plan.N, plan.K)
		}
	}
}

// Samples that changed their class are shown with their pictures, those that became worse first.
func TestChanged(t *testing.T) {
	const n, side = 20, 12
	images, labels := make([]float32, n*side*side), make([]int, n)
	data, err := dataset.New("memory", map[string]*engine.Value{"x": engine.Float32(images, n, 1, side, side)}, labels)
	if err != nil {
		t.Fatal(err)
	}
	m, err := onnxtest.Parse("x: N 1 12 12\ny = Relu(x)")
	if err != nil {
		t.Fatal(err)
	}
	before, after := make([]int, n), make([]int, n)
	for i := range n {
		after[i] = i % 3 // of these 0 is right
	}
	before[16], before[18] = 2, 1 // wrong, and still wrong; wrong, and right now
	changes := eval.Changes(eval.Result{Decided: before}, eval.Result{Decided: after}, data)
	s, err := page.Changed(changes, m, data)
	if err != nil {
		t.Fatal(err)
	}
	if s.Changed != 14 || s.Worse != 12 || s.Better != 1 || !s.Labelled || len(s.Shown) != 12 || s.Shown[0].Sample != 1 || s.Shown[0].Image == "" {
		t.Errorf("%+v", s)
	}
	share := 0.3
	r := &report.Evaluation{Data: "memory", Samples: n, Models: []report.Judged{{Model: "a"}, {Model: "b", Quality: report.Quality{Agreement: &share}}}}
	p, err := page.Evaluation(r, nil, []*page.Samples{s}, about)
	all, text := rendered(t, p, err)
	wants(t, text, "14 of 20 samples", "Of these a is right about 12, b about 1, and neither about 1.", "a is right", "b is right", "label: 0", "b agrees with a to 30.00%", "low agreement", "agreement of b", "on 20 samples")
	if len(all["img"]) != 12 {
		t.Errorf("%d pictures", len(all["img"]))
	}
	fates := map[eval.Fate]int{}
	for _, p := range s.Shown {
		fates[p.Fate]++
	}
	if fates[eval.Better] != 1 || fates[eval.StillWrong] != 1 { // though there are 12 others
		t.Errorf("shown are %v", fates)
	}
	if n := strings.Count(text, "label: "); n != 1 {
		t.Errorf("the label is told %d times", n)
	}
}

// Two models are called by their names, and what is the same in both is not praised.
func TestTwoModels(t *testing.T) {
	model := func(name string, macs int64, latency float64) report.Judged {
		return report.Judged{Model: "dir/" + name, MACs: &macs, Quality: report.Quality{Top1: new(0.992), Agreement: new(0.95), LatencyMS: &latency}}
	}
	r := &report.Evaluation{Data: "images", Samples: 1000, Models: []report.Judged{model("a.onnx", 1000, 2), model("b.onnx", 1000, 2.02)}}
	p, err := page.Evaluation(r, nil, nil, about)
	_, text := rendered(t, p, err)
	wants(t, text, "Top-1 99.20% of b.onnx, 99.20% of a.onnx.", "a.onnx: 2 ms", "latency of b.onnx", "on 1,000 samples")
	for _, wrong := range []string{"before", "of the multiply-accumulates", "low agreement"} {
		if strings.Contains(text, wrong) {
			t.Errorf("%q", wrong)
		}
	}
	r.Models[1].MACs = new(int64(500))
	p, err = page.Evaluation(r, nil, nil, about)
	_, text = rendered(t, p, err)
	wants(t, text, "with 50.0% of the multiply-accumulates")
}

// What keeps all channels of a model stands at the end of the axis that is that model's, and each
// mark has the number of its row.
func TestWaysToFuse(t *testing.T) {
	half := []float64{0.5, 0.5}
	r := &report.Fusion{Models: []report.Parent{{Model: "a"}, {Model: "b"}}, Report: &fuse.Report{Method: fuse.OT, Onto: 1, Divergence: 0.3, Candidates: []fuse.Candidate{
		{Method: fuse.Union, Weights: half, Whole: 1, Samples: 1200, Divergence: 0.5}, {Method: fuse.OT, Weights: half, Divergence: 0.3}, {Method: fuse.Union, Weights: half, Whole: 2, Divergence: 0.5},
	}}}
	p, err := page.Fusion(r, nil, about)
	all, text := rendered(t, p, err)
	wants(t, text, "weight of model 1", "1,200")
	at := map[string]float64{}
	for _, n := range all["text"] {
		var x float64
		if _, err := fmt.Sscanf(attribute(n, "x"), "%f", &x); err == nil {
			at[n.FirstChild.Data] = x
		}
	}
	if a, b, c := at["3 all of model 2"], at["2 taken"], at["1 all of model 1"]; !(0 < a && a < b && b < c) {
		t.Errorf("from the left: %v", at)
	}
}

// Large networks, and many samples, stay below two megabytes.
func TestSizeOfThePage(t *testing.T) {
	var text strings.Builder
	text.WriteString("x: 1 64\nh0 = Gemm(x, s[64 64], t[64])\n")
	const layers = 600
	for i := range layers {
		fmt.Fprintf(&text, "k%d = Gemm(h%d, w%d[64 64], b%d[64])\nh%d = Add(k%d, h%d)\n", i, i, i, i, i+1, i, i)
	}
	fmt.Fprintf(&text, "y = Gemm(h%d, v[64 3], c[3])", layers)
	m, err := onnxtest.Parse(text.String())
	if err != nil {
		t.Fatal(err)
	}
	r, out := narrowed(t, m, compress.Options{Keep: 0.5, Options: job.Options{Lossless: job.Off}})
	p, err := page.Compression(r, stages(t, m, out), nil, about)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := page.Render(&b, p); err != nil {
		t.Fatal(err)
	}
	if b.Len() > 2e6 || !strings.Contains(b.String(), "more rows are not drawn") {
		t.Errorf("%d bytes", b.Len())
	}
}

// A writer that fails is an error.
func TestRenderFails(t *testing.T) {
	r, w := io.Pipe()
	r.Close()
	if err := page.Render(w, &page.Page{}); err == nil {
		t.Error("no error")
	}
}

// The drawing shows what changed: an outline where it did, signs that occur, numbers as tables have
// them, both operators of what became two, and layers by one name.
func TestDrawing(t *testing.T) {
	parse := func(text string) *onnxio.Model {
		m, err := onnxtest.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	a := parse("x: N 6\nh = Gemm(x, w[6 1600], b[1600])\nr = Relu(h)\nk = Gemm(r, u[1600 8], d[8])\ny = Gemm(k, v[8 3], c[3])")
	b := parse("x: N 6\nh = Gemm(x, w[6 200], b[200])\nr = Relu(h)\nlow = Gemm(r, u_low[200 2])\nk = Gemm(low, u[2 8], d[8])\ny = Gemm(k, v[8 3], c[3])")
	for _, m := range []*onnxio.Model{a, b} {
		g, err := m.Graph()
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range g.Nodes {
			n.Name = nil
		}
	}
	d, err := diff.Models(context.Background(), a, b, diff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := page.Difference(report.Compare([2]string{"a", "b"}, report.Measured{}, report.Measured{}, d), about)
	all, text := rendered(t, p, err)
	wants(t, text, "1,600 → 200", "6×1,600 → 6×200", "1,600×8 → 200×2 + 2×8", "narrowed to 12.5%", "split in two, rank 2", "▼ narrowed", "■ whole", "◆ two operators")
	for _, mark := range []string{"✕", "▲", "○"} {
		if strings.Contains(text, mark) {
			t.Errorf("%s is told of, and does not occur", mark)
		}
	}
	if outlines := len(all.classes("rect", "was-bar")); outlines != 1 {
		t.Errorf("%d outlines", outlines)
	}
	for _, td := range all["td"] {
		if td.FirstChild != nil && td.FirstChild.Data == "w" {
			t.Error("a space is named by its weight")
		}
	}
}

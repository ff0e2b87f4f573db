package compress

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/choose"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/files"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/internal/near"
	"github.com/monge-ml/monge/internal/refit"
	"github.com/monge-ml/monge/internal/stats"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A Plan says what becomes of a model, so that a person can change it, and other programs can make
// the same cut. What it does not name stays as it is.
type Plan struct {
	Model  string // path of the model that it was made for, for a person
	Spaces []PlanSpace
	Blocks []PlanBlock // residual blocks that are dropped
	Ranks  []PlanRank  // linear operators that become two

	name string // of the file
}

// A PlanBlock is a residual block that is dropped.
type PlanBlock struct {
	Name string

	line int // in the file; 0 where there is none
}

// A PlanRank is a linear operator that becomes two, of so many channels between them.
type PlanRank struct {
	Name string
	Rank int

	line int // in the file; 0 where there is none
}

// A PlanSpace is what becomes of one space.
type PlanSpace struct {
	Name     string
	Channels int // that it has, over all groups; 0: not told
	Width    int // that it is to have
	// Keep lists the channels that stay, counted from 0 in the model as it came, in rising order; nil
	// where they are to be chosen, or where new ones are made of all.
	Keep []int
	// Weights are the constants along whose axes the channels run; nil where they cannot be cut by
	// Keep alone, or layers share them.
	Weights []PlanWeight

	line int // in the file; 0 where there is none
}

// A PlanWeight is a constant with the axes along which the channels of a space run. An axis that is
// several times as long as the space has channels holds so many positions of each, one channel after
// the other.
type PlanWeight struct {
	Tensor string
	Axes   []int
}

// planHead explains a plan file.
const planHead = `What becomes of a model. Change widths, or which channels stay, and carry it out:
  monge compress MODEL -o OUT --plan THIS --data D
width: channels that stay, of so many; keep: which ones, counted from 0 (left out: they are chosen);
weights: the axes of weights along which they run. blocks: residual blocks that are dropped; ranks:
operators that become two, and the channels between these. What is not named stays as it is.`

// Write writes a plan as YAML.
func (p *Plan) Write(w io.Writer) error {
	text := func(s string) *yaml.Node {
		n := &yaml.Node{}
		n.SetString(s)
		return n
	}
	number := func(n int) *yaml.Node {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: fmt.Sprint(n)}
	}
	list := func(numbers []int) *yaml.Node {
		out := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, n := range numbers {
			out.Content = append(out.Content, number(n))
		}
		return out
	}
	spaces := &yaml.Node{Kind: yaml.MappingNode}
	for _, s := range p.Spaces {
		entry := &yaml.Node{Kind: yaml.MappingNode}
		entry.Content = append(entry.Content, text("channels"), number(s.Channels), text("width"), number(s.Width))
		if s.Keep != nil {
			entry.Content = append(entry.Content, text("keep"), list(s.Keep))
		}
		if s.Weights != nil {
			weights := &yaml.Node{Kind: yaml.MappingNode}
			for _, x := range s.Weights {
				weights.Content = append(weights.Content, text(x.Tensor), list(x.Axes))
			}
			entry.Content = append(entry.Content, text("weights"), weights)
		}
		spaces.Content = append(spaces.Content, text(s.Name), entry)
	}
	root := &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{text("model"), text(p.Model), text("spaces"), spaces}, HeadComment: planHead}
	if len(p.Blocks) > 0 {
		blocks := &yaml.Node{Kind: yaml.SequenceNode}
		for _, b := range p.Blocks {
			blocks.Content = append(blocks.Content, text(b.Name))
		}
		root.Content = append(root.Content, text("blocks"), blocks)
	}
	if len(p.Ranks) > 0 {
		ranks := &yaml.Node{Kind: yaml.MappingNode}
		for _, r := range p.Ranks {
			ranks.Content = append(ranks.Content, text(r.Name), number(r.Rank))
		}
		root.Content = append(root.Content, text("ranks"), ranks)
	}
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	return errors.Join(e.Encode(root), e.Close())
}

// mostPlan is how many bytes a plan may have: those of a thousand spaces of a thousand channels have
// a quarter of that.
const mostPlan = 16 << 20

// ReadPlan reads a plan. Errors name the file and the line.
func ReadPlan(name string, r io.Reader) (_ *Plan, err error) {
	defer guard.Recover(&err)
	var doc yaml.Node
	if err := yaml.NewDecoder(files.Bounded(r, mostPlan)).Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("it is empty")
		}
		return nil, fmt.Errorf("%s: %s", name, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	p := &Plan{name: name}
	root := doc.Content[0]
	err = p.each(root, "the plan", map[string]func(*yaml.Node) error{
		"model": func(n *yaml.Node) error { return p.decode(n, &p.Model, "a path") },
		"spaces": func(n *yaml.Node) error {
			return p.each(n, "spaces", nil, func(key, value *yaml.Node) error { return p.space(key, value) })
		},
		"blocks": p.blocks,
		"ranks": func(n *yaml.Node) error {
			return p.each(n, "ranks", nil, func(key, value *yaml.Node) error { return p.rank(key, value) })
		},
	}, nil)
	if err == nil && len(p.Spaces)+len(p.Blocks)+len(p.Ranks) == 0 {
		err = p.at(root.Line, "there are no spaces, blocks or ranks")
	}
	return p, err
}

// blocks reads the names of blocks that are dropped.
func (p *Plan) blocks(n *yaml.Node) error {
	if n.Kind != yaml.SequenceNode {
		return p.at(n.Line, "blocks: want a list of names")
	}
	for _, x := range n.Content {
		b := PlanBlock{line: x.Line}
		if err := p.decode(x, &b.Name, "blocks: a list of names"); err != nil {
			return err
		}
		if slices.ContainsFunc(p.Blocks, func(o PlanBlock) bool { return o.Name == b.Name }) {
			return p.at(x.Line, "blocks: %q is there twice", b.Name)
		}
		p.Blocks = append(p.Blocks, b)
	}
	return nil
}

// rank reads the rank of an operator.
func (p *Plan) rank(key, value *yaml.Node) error {
	r := PlanRank{Name: key.Value, line: key.Line}
	if err := p.decode(value, &r.Rank, fmt.Sprintf("ranks: %q: a whole number", r.Name)); err != nil {
		return err
	}
	if r.Rank < 1 {
		return p.at(key.Line, "ranks: %q: %d: want 1 or more", r.Name, r.Rank)
	}
	p.Ranks = append(p.Ranks, r)
	return nil
}

// at is an error in a line of the file.
func (p *Plan) at(line int, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", p.name, line, fmt.Sprintf(format, args...))
}

// decode reads a value of what kind a person would call what.
func (p *Plan) decode(n *yaml.Node, into any, what string) error {
	numbers := n.Content // of a list
	switch into.(type) {
	case *int:
		numbers = []*yaml.Node{n}
	case *[]int:
	default:
		numbers = nil
	}
	// A decoder takes 3.5 for 3.
	broken := slices.ContainsFunc(numbers, func(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!float" })
	if err := n.Decode(into); err != nil || broken {
		return p.at(n.Line, "want %s", what)
	}
	return nil
}

// each goes through a mapping. Keys are known, or of the file's own.
func (p *Plan) each(n *yaml.Node, what string, known map[string]func(*yaml.Node) error, own func(key, value *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		return p.at(n.Line, "%s: want names with what belongs to them", what)
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if seen[key.Value] {
			return p.at(key.Line, "%s: %q is there twice", what, key.Value)
		}
		seen[key.Value] = true
		read := known[key.Value]
		var err error
		switch {
		case read != nil:
			err = read(value)
		case own != nil:
			err = own(key, value)
		default:
			err = p.at(key.Line, "%s: %q means nothing here", what, key.Value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// space reads what becomes of one space.
func (p *Plan) space(key, value *yaml.Node) error {
	s := PlanSpace{Name: key.Value, line: key.Line}
	what := fmt.Sprintf("space %q", s.Name)
	err := p.each(value, what, map[string]func(*yaml.Node) error{
		"channels": func(n *yaml.Node) error { return p.decode(n, &s.Channels, what+": channels: a whole number") },
		"width":    func(n *yaml.Node) error { return p.decode(n, &s.Width, what+": width: a whole number") },
		"keep":     func(n *yaml.Node) error { return p.decode(n, &s.Keep, what+": keep: a list of whole numbers") },
		"weights": func(n *yaml.Node) error {
			return p.each(n, what, nil, func(key, value *yaml.Node) error {
				w := PlanWeight{Tensor: key.Value}
				s.Weights = append(s.Weights, w)
				return p.decode(value, &s.Weights[len(s.Weights)-1].Axes, what+": weights: a list of axes")
			})
		},
	}, nil)
	if err != nil {
		return err
	}
	if s.Keep != nil && s.Width == 0 {
		s.Width = len(s.Keep)
	}
	slices.Sort(s.Keep)
	for i, c := range s.Keep {
		if c < 0 {
			return p.at(s.line, "%s: keep: there is no channel %d", what, c)
		}
		if i > 0 && c == s.Keep[i-1] {
			return p.at(s.line, "%s: keep: channel %d is there twice", what, c)
		}
	}
	switch {
	case s.Width < 1:
		return p.at(s.line, "%s: width is %d: want 1 or more", what, s.Width)
	case s.Keep != nil && len(s.Keep) != s.Width:
		return p.at(s.line, "%s: width is %d, but %d channels are to stay", what, s.Width, len(s.Keep))
	}
	p.Spaces = append(p.Spaces, s)
	return nil
}

// keeps reports whether the plan says which channels of a space stay.
func (p *Plan) keeps(s *coupling.Space) bool {
	return p != nil && slices.ContainsFunc(p.Spaces, func(x PlanSpace) bool { return x.Name == s.Name && x.Keep != nil })
}

// widthOf is the number of channels that the plan leaves of a space.
func (p *Plan) widthOf(s *coupling.Space) int {
	for _, x := range p.Spaces {
		if x.Name == s.Name {
			return max(1, x.Width)
		}
	}
	return s.Width
}

// resolve finds the spaces of a plan in a model: the channels of each group that they are to have,
// and those that stay where the plan says so.
func (c *compression) resolve(a *coupling.Analysis) (widths map[*coupling.Space]int, keep map[*coupling.Space][][]int, err error) {
	p := c.o.Plan
	widths, keep = map[*coupling.Space]int{}, map[*coupling.Space][][]int{}
	by := map[string]*coupling.Space{}
	var names []string
	for _, s := range a.Spaces {
		if len(s.Producers()) > 0 {
			by[s.Name] = s
			names = append(names, s.Name)
		}
	}
	for _, x := range p.Spaces {
		s, fail := by[x.Name], func(format string, args ...any) error {
			return p.at(x.line, "space %q: %s", x.Name, fmt.Sprintf(format, args...))
		}
		if s == nil {
			hint := ""
			if alike := near.Names(x.Name, names, said); alike != nil {
				hint = ": perhaps " + strings.Join(alike, ", ")
			}
			return nil, nil, fail("the model has none of that name%s", hint)
		}
		if heads := a.IndexOf(s); heads != nil && s.Rigid != "" && x.Keep == nil && c.excluded(s) == "" {
			n := p.widthOf(heads)
			switch each := x.Width / n; {
			case each*n != x.Width || each < 1 || each > s.Width:
				return nil, nil, fail("width is %d, but there are %d heads of up to %d dimensions", x.Width, n, s.Width)
			case each == s.Width:
				continue
			case s.Inner:
				widths[s] = each
				continue
			}
		}
		all, groups := c.width(s)*s.Groups, s.Groups
		why := c.kept(s)
		switch {
		case x.Channels != 0 && x.Channels != all:
			return nil, nil, fail("it has %d channels in the model, not %d", all, x.Channels)
		case x.Width > all:
			return nil, nil, fail("width is %d, but there are %d channels", x.Width, all)
		case x.Width == all && x.Keep == nil:
			continue
		case why != "" && x.Width != all:
			return nil, nil, fail("its width cannot change: %s", why)
		case a.IndexOf(s) != nil && x.Keep != nil:
			return nil, nil, fail("keep: these are channels of every head, and the plan can give their number alone")
		case x.Width%groups != 0 && a.IndexOf(s) == nil:
			return nil, nil, fail("width is %d, but there are %d groups of equal width", x.Width, groups)
		}
		widths[s] = min(max(1, x.Width/groups), s.Width)
		if x.Keep != nil && x.Width < all {
			if keep[s], err = parted(x.Keep, s); err != nil {
				return nil, nil, fail("keep: %v", err)
			}
		}
	}
	return widths, keep, nil
}

// parted tells the channels of the groups of a space apart.
func parted(list []int, s *coupling.Space) ([][]int, error) {
	out := make([][]int, s.Groups)
	for _, c := range list {
		if c >= s.Width*s.Groups {
			return nil, fmt.Errorf("there is no channel %d: they count from 0 to %d", c, s.Width*s.Groups-1)
		}
		out[c/s.Width] = append(out[c/s.Width], c%s.Width)
	}
	for g := range out {
		if len(out[g]) != len(out[0]) {
			return nil, fmt.Errorf("group 0 keeps %d channels, group %d keeps %d", len(out[0]), g, len(out[g]))
		}
	}
	return out, nil
}

// carry carries a plan out: channels that it names stay, and nothing of the others is added to them
// but by a refit.
func (c *compression) carry(s *edit.Subject, widths map[*coupling.Space]int) planner {
	return func(ctx context.Context, fit *dataset.Data) (*match.Result, error) {
		_, keep, err := c.resolve(s.Analysis)
		if err != nil {
			return nil, err
		}
		if c.Fits() {
			o := c.selection(fit)
			o.Keep = keep
			return choose.Select(ctx, s, widths, nil, o)
		}
		res := &match.Result{Maps: edit.Maps{}, Sweeps: 1}
		rest := maps.Clone(widths)
		maps.DeleteFunc(rest, func(sp *coupling.Space, _ int) bool { return keep[sp] != nil })
		if len(rest) > 0 {
			if res, err = merged(ctx, s, rest, c.Matching); err != nil {
				return nil, err
			}
		}
		for sp, groups := range keep {
			res.Maps[sp] = edit.KeepSome(sp, groups)
		}
		return res, nil
	}
}

// planned finds the blocks and operators of a plan in a model, and looks at the data for what the
// operators make.
func (c *compression) planned(ctx context.Context, s *edit.Subject) (m moves, err error) {
	p := c.o.Plan
	if len(p.Blocks)+len(p.Ranks) == 0 {
		return m, nil
	}
	fail := func(line int, what, name, format string, args ...any) error {
		return p.at(line, "%s: %q: %s", what, name, fmt.Sprintf(format, args...))
	}
	unknown := func(line int, what, name string, names []string) error {
		hint := ""
		if alike := near.Names(name, names, said); alike != nil {
			hint = ": perhaps " + strings.Join(alike, ", ")
		}
		return fail(line, what, name, "the model has none of that name%s", hint)
	}
	switch {
	case c.form != nil:
		return m, fmt.Errorf("%s: blocks and ranks: a quantised model is narrowed only", p.name)
	case !c.Fits():
		return m, fmt.Errorf("%s: blocks and ranks need data and a refit, which makes up for what is gone", p.name)
	}
	all := s.Analysis.Blocks()
	for _, x := range p.Blocks {
		i := slices.IndexFunc(all, func(b *coupling.Block) bool { return b.Name == x.Name })
		if i < 0 {
			var names []string
			for _, b := range all {
				names = append(names, b.Name)
			}
			return m, unknown(x.line, "blocks", x.Name, names)
		}
		m.blocks = append(m.blocks, all[i])
	}
	gone := without(s.Analysis, m.blocks)
	var of []stats.Channels
	var found []factors
	for _, x := range p.Ranks {
		i := slices.IndexFunc(s.Analysis.Ops, func(op coupling.LinearOp) bool { return nodeName(op.Node) == x.Name })
		if i < 0 {
			var names []string
			for _, op := range s.Analysis.Ops {
				names = append(names, nodeName(op.Node))
			}
			return m, unknown(x.line, "ranks", x.Name, names)
		}
		op := &s.Analysis.Ops[i]
		l, why := edit.Factorable(s.Graph, s.Analysis, op.Node)
		if why != "" {
			return m, fail(x.line, "ranks", x.Name, "it cannot become two: %s", why)
		}
		f := factorsOf(s.Analysis, op, l).at(x.Rank)
		switch full := f.full(coupling.Widths{}); {
		case gone.nodes[op.Node]:
			return m, fail(x.line, "ranks", x.Name, "its block is dropped")
		case f.large() != "":
			return m, fail(x.line, "ranks", x.Name, "%s", f.large())
		case x.Rank > full:
			return m, fail(x.line, "ranks", x.Name, "%d is more than the %d that its weight can have", x.Rank, full)
		}
		if found = append(found, f); f.across == 1 {
			of = append(of, refit.Made(l))
		}
	}
	spreads, err := c.spreads(ctx, s, of)
	if err != nil {
		return m, err
	}
	m.ranks = map[string]factors{}
	for i, f := range found {
		if f.across == 1 {
			if f.spread, spreads = spreads[0], spreads[1:]; f.spread == nil || len(f.spread.Mean) != f.outputs.Size() {
				return m, fail(p.Ranks[i].line, "ranks", p.Ranks[i].Name, "the data do not show what it makes")
			}
		}
		m.ranks[f.op.Weight] = f
	}
	return m, nil
}

// nodeName is what an operator is called in a plan and in reports.
func nodeName(n *onnxpb.NodeProto) string { return cmp.Or(n.GetName(), n.GetOutput()[0]) }

// touched are the spaces whose producers are made ready for other widths, with widths that differ
// from what they have: where a plan names a space, that is one.
func (c *compression) touched(a *coupling.Analysis, b budget, ratio float64) map[*coupling.Space]int {
	out := c.widths(a, b, ratio)
	if out != nil && c.o.Plan != nil { // nil: the plan has a mistake, which narrowed tells
		for _, s := range a.Spaces {
			if slices.ContainsFunc(c.o.Plan.Spaces, func(x PlanSpace) bool { return x.Name == s.Name }) && c.kept(s) == "" {
				out[s] = 0
			}
		}
	}
	return out
}

// plans enters what becomes of the model into the report.
func (r *Report) plans(c *compression, a *coupling.Analysis, is shape) {
	p := &Plan{Model: c.analysis.Graph.Model.Path}
	for i, s := range slices.DeleteFunc(slices.Clone(a.Spaces), func(s *coupling.Space) bool { return len(s.Producers()) == 0 }) {
		if row := r.Spaces[i]; row.After > 0 && (c.kept(s) == "" || row.After != row.Before) {
			p.Spaces = append(p.Spaces, PlanSpace{Name: s.Name, Channels: row.Before, Width: row.After})
		}
	}
	for _, b := range a.Blocks() {
		if is.gone.nodes[b.Add] && slices.ContainsFunc(is.blocks, func(o *coupling.Block) bool { return o.Add == b.Add }) {
			p.Blocks = append(p.Blocks, PlanBlock{Name: b.Name})
		}
	}
	for i := range a.Ops {
		if f, ok := is.ranks[a.Ops[i].Weight]; ok {
			p.Ranks = append(p.Ranks, PlanRank{Name: nodeName(f.op.Node), Rank: f.rank})
		}
	}
	r.Plan = p
}

// selects enters which channels of the model as it came stay, and what has to be cut for that, where
// that is all there is to it.
func (p *Plan) selects(c *compression, ms edit.Maps) {
	by := map[string]*coupling.Space{}
	for s := range ms {
		by[s.Name] = s
	}
	for i := range p.Spaces {
		x := &p.Spaces[i]
		s := by[x.Name]
		if s == nil || x.Width == x.Channels || c.width(s) != s.Width {
			continue
		}
		if x.Keep = channelsOf(ms[s], s); x.Keep != nil {
			x.Weights = c.cuts(s)
		}
	}
}

// channelsOf lists the channels that a map keeps as they are, nil where it makes others.
func channelsOf(m *edit.Map, s *coupling.Space) []int {
	if m.Scale != nil {
		return nil
	}
	var out []int
	for g, t := range m.Groups {
		for _, row := range t.In {
			if len(row) != 1 || row[0].Val != 1 {
				return nil
			}
			out = append(out, g*s.Width+row[0].Col)
		}
	}
	return out
}

// cuts lists the constants of the model as it came that a space runs along, nil where one of them
// does not hold the positions of each channel behind each other, or layers share it that are not
// cut alike by all programs: an exporter stores equal parameters once.
func (c *compression) cuts(s *coupling.Space) []PlanWeight {
	was := c.was[s]
	if was == nil || len(was.Pieces) != 1 || was.Groups != 1 {
		return nil
	}
	var out []PlanWeight
	at := map[string]int{}
	for _, u := range was.Uses {
		w := c.analysis.Weights[u.Tensor]
		if w == nil || c.given.Constant(u.Tensor) == nil || u.Axis >= len(w.Axes) || w.Axes[u.Axis].Atoms()[0].Canonical() != was.Pieces[0].Canonical() || w.Axes[u.Axis].Size()%was.Width != 0 {
			return nil
		}
		i, known := at[u.Tensor]
		if !known {
			i = len(out)
			at[u.Tensor], out = i, append(out, PlanWeight{Tensor: u.Tensor})
		}
		if !slices.Contains(out[i].Axes, u.Axis) {
			out[i].Axes = append(out[i].Axes, u.Axis)
		}
	}
	return out
}

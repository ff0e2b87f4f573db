package compress

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/near"
	"github.com/monge-ml/monge/internal/pipeline"
	"github.com/monge-ml/monge/onnxio"
)

// ErrNothing says that no space of a model can get fewer channels; the error gives the reasons of
// the weights, that of the most parameters first.
var ErrNothing = errors.New("nothing can be narrowed")

// said is the number of reasons that are spelt out.
const said = 3

// named is a reason that begins with a node's operator and name: without the name, what many nodes
// have in common is said once.
var named = regexp.MustCompile(`^(\S+)(?: ->)? "(?:[^"\\]|\\.)*" (.*)$`)

// nothing is the error of a model of which no space can be narrowed; nil if one can, or if nothing
// is asked for.
func (c *compression) nothing(a *coupling.Analysis, b budget) error {
	if c.o.MaxDrop == 0 && b.share == 1 || slices.ContainsFunc(a.Spaces, func(s *coupling.Space) bool { return c.kept(s) == "" }) {
		return nil
	}
	params, total := map[string]int64{}, int64(0)
	for _, w := range a.Weights {
		if !onnxio.IsParameter(w.Type) || w.Len() == 0 {
			continue
		}
		total += int64(w.Len())
		if why := named.ReplaceAllString(c.held(a, w), "$1 $2"); why != "" {
			params[why] += int64(w.Len())
		}
	}
	reasons := slices.SortedFunc(maps.Keys(params), func(x, y string) int {
		return cmp.Or(cmp.Compare(params[y], params[x]), cmp.Compare(x, y))
	})
	if len(reasons) == 0 {
		return fmt.Errorf("%w: there is no layer with weights", ErrNothing)
	}
	reasons = reasons[:min(said, len(reasons))]
	for i, why := range reasons {
		reasons[i] = fmt.Sprintf("%s (%.0f%% of the parameters)", why, 100*float64(params[why])/float64(total))
	}
	return fmt.Errorf("%w: %s", ErrNothing, strings.Join(reasons, "; "))
}

// held says why a weight stays: on account of the model, or of the options.
func (c *compression) held(a *coupling.Analysis, w *coupling.Weight) string {
	if why := a.Held(w); why != "" {
		return why
	}
	for _, axis := range w.Axes {
		for _, x := range axis.Atoms() {
			if s := a.SpaceOf(x); s != nil && s.Slimmable() {
				return c.kept(s)
			}
		}
	}
	return ""
}

// nearNames lists what can be excluded, nodes and weights that make a space, by names that hold the
// word, or, if there are none, of which a part between slashes, dots and underscores is nearly the
// word, or all of the name.
func nearNames(word string, a *coupling.Analysis) (out []string) {
	offer := func(name string) {
		if !slices.Contains(out, name) && len(out) < mostNear {
			out = append(out, name)
		}
	}
	parts := map[string][]string{}
	for _, s := range a.Spaces {
		for _, u := range s.Producers() {
			for _, name := range []string{u.Node.GetName(), u.Tensor} {
				if word != "" && strings.Contains(strings.ToLower(name), word) {
					offer(name)
				}
				for _, part := range append(strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune("/._", r) }), name) {
					parts[part] = append(parts[part], name)
				}
			}
		}
	}
	if out != nil {
		return out
	}
	for _, part := range near.Names(word, slices.Sorted(maps.Keys(parts)), mostNear) {
		for _, name := range parts[part] {
			offer(name)
		}
	}
	return out
}

// mostNear is how many names are offered in the place of a mistyped one.
const mostNear = 5

// checkExclude sees to it that every pattern means something.
func (c *compression) checkExclude(a *coupling.Analysis) error {
	names := slices.Sorted(maps.Keys(a.Weights))
	for _, n := range a.Graph.Nodes {
		if n.GetName() != "" {
			names = append(names, n.GetName())
		}
	}
	for _, g := range c.exclude {
		if !slices.ContainsFunc(names, g.MatchString) {
			hint := ""
			if near := nearNames(strings.ToLower(strings.Trim(g.pattern, "*?")), a); near != nil {
				hint = ": perhaps " + strings.Join(near, ", ")
			}
			return pipeline.Mistakef("exclude %q matches no node and no weight of %s%s", g.pattern, a.Graph.Model.Title(), hint)
		}
	}
	return nil
}

package coupling

import (
	"fmt"
	"slices"
	"strings"

	"github.com/monge-ml/monge/onnxio"
)

// Attention as one operator: the standard one (opset 23) and those that onnxruntime's optimiser
// writes (domain com.microsoft). In the letters h counts heads, d the dimensions of queries and
// keys, e those of values.

const scaled = "scales by its size" // 1/√d, where no attribute says otherwise

// headed says that d and e are dimensions of the heads h.
func (c *call) headed(h string, dims ...string) {
	c.heads = append(c.heads, h)
	for _, d := range dims {
		c.indexed = append(c.indexed, [2]string{h, d})
	}
	if onnxio.Attr(c.node, "scale") == nil {
		c.stiff = map[string]string{"d": scaled}
	}
}

// cached reports whether an operator has inputs from a place on, or outputs beside the first: keys
// and values of earlier calls.
func (c *call) cached(from int) bool {
	given := func(v *value) bool { return v != nil }
	read := func(name string) bool { return name != "" }
	return slices.ContainsFunc(c.in[min(from, len(c.in)):], given) || slices.ContainsFunc(c.node.GetOutput()[1:], read)
}

const keepsCache = refusal("keeps keys and values of earlier calls")

// scores is the pattern of what is added to the scores (batch, heads, queries, keys), of which
// every axis may have size one and leading ones be absent.
func (c *call) scores(i int, letters ...string) string {
	v := c.input(i)
	if v == nil {
		return ""
	}
	letters = letters[max(len(letters)-v.rank(), 0):]
	out := make([]string, len(letters))
	for k, l := range letters {
		if out[k] = l; v.axes[k].Size() == 1 {
			out[k] = fmt.Sprintf("u%d", k)
		}
	}
	return strings.Join(out, " ")
}

// attentionAxes: softmax(Q·Kᵀ)·V of queries, keys and values that have an axis of heads, or hold
// the heads in their last axis. Every head of K and V serves r heads of Q.
func attentionAxes(c *call) (string, error) {
	for i := range 3 {
		if v := c.input(i); v == nil || !v.ranked || v.rank() < 3 || v.rank() > 4 || v.rank() != c.in[0].rank() {
			return "", errUnranked
		}
	}
	if c.cached(4) {
		return "", keepsCache
	}
	if m := c.input(3); m != nil && (!m.ranked || m.rank() > 4) {
		return "", errUnranked
	}
	inside := c.in[0].rank() == 3
	q, kv := c.in[0].axes[1].Size(), c.in[1].axes[1].Size()
	if inside {
		q, kv = int(c.attrInt("q_num_heads", 0)), int(c.attrInt("kv_num_heads", 0))
	}
	if q <= 0 || kv <= 0 || q%kv != 0 {
		return "", c.errorf("%d heads of queries for %d of keys", q, kv)
	}
	c.sizes = sizeMap{"h": kv}
	queries := "h"
	if q != kv {
		c.sizes["r"] = q / kv
		queries = "h r"
		c.indexed = append(c.indexed, [2]string{"h", "r"})
	}
	c.headed("h", "d", "e")
	shape := func(heads, positions, dims string) string {
		if inside {
			return "b " + positions + " (" + heads + " " + dims + ")"
		}
		return "b (" + heads + ") " + positions + " " + dims
	}
	in := []string{shape(queries, "s", "d"), shape("h", "t", "d"), shape("h", "t", "e")}
	if c.input(3) != nil {
		in = append(in, c.scores(3, "b", "("+queries+")", "s", "t"))
	}
	if inside {
		c.sizeRefs = map[string][]string{"q_num_heads": {queries}, "kv_num_heads": {"h"}}
	}
	return strings.Join(in, ", ") + " -> " + shape(queries, "s", "e"), nil
}

// multiHeadAttentionAxes: the same with as many heads everywhere, all in the last axis, after a
// bias.
func multiHeadAttentionAxes(c *call) (string, error) {
	for i := range 3 {
		v := c.input(i)
		if v == nil {
			return "", refusal("has packed inputs")
		}
		if !v.ranked || v.rank() != 3 {
			return "", errUnranked
		}
	}
	if c.cached(6) {
		return "", keepsCache
	}
	bias, scores, err := c.packed(c.in[0].axes[2].Size(), c.in[2].axes[2].Size(), 3)
	return fmt.Sprintf("b s (h d), b t (h d), b t (h e), %s, , %s -> b s (h e)", bias, scores), err
}

// packed divides d channels of queries and keys, and e of values, into as many heads as an
// attribute says. It returns the expressions of a packed bias, in the given input, and of what is
// added to the scores, in input 5. The input behind the bias, which says which keys are padding, is
// left out.
func (c *call) packed(d, e, at int) (bias, scores string, err error) {
	h := int(c.attrInt("num_heads", 0))
	if h <= 0 || d <= 0 || e <= 0 || d%h != 0 || e%h != 0 {
		return "", "", c.errorf("%d and %d channels for %d heads", d, e, h)
	}
	c.headed("h", "d", "e")
	c.sizes = sizeMap{"h": h, "d": d / h, "e": e / h}
	c.sizeRefs = map[string][]string{"num_heads": {"h"}, "qkv_hidden_sizes": {"h d", "h d", "h e"}}
	if c.input(at) != nil {
		bias = "((h d) + (h d) + (h e))"
	}
	if v := c.input(5); v != nil {
		if !v.ranked || v.rank() != 4 {
			return "", "", errUnranked
		}
		scores = c.scores(5, "b", "h", "s", "t")
	}
	c.in = append(c.in[:len(c.in):len(c.in)], make([]*value, max(6-len(c.in), 0))...)
	c.in[at+1] = nil
	return bias, scores, nil
}

// packedAttentionAxes: attention with its own weights for queries, keys and values.
func packedAttentionAxes(c *call) (string, error) {
	x, w := c.in[0], c.in[1]
	if x.rank() != 3 || w.rank() != 2 {
		return "", errUnranked
	}
	if c.cached(6) || c.input(4) != nil {
		return "", keepsCache
	}
	if onnxio.AttrInt(c.node, "do_rotary", 0) != 0 {
		return "", refusal("rotates queries and keys")
	}
	all := w.axes[1].Size()
	d, e := all/3, all/3
	if s := c.attrInts("qkv_hidden_sizes"); len(s) == 3 {
		d, e = int(s[0]), int(s[2])
	}
	if 2*d+e != all {
		return "", c.errorf("%d channels for queries and keys of %d and values of %d", all, d, e)
	}
	bias, scores, err := c.packed(d, e, 2)
	return fmt.Sprintf("b s i, i ((h d) + (h d) + (h e)), %s, , , %s -> b s (h e)", bias, scores), err
}

// rotary turns pairs of a head's dimensions by an angle that depends on the position, so the
// dimensions must stay; heads pass.
func rotary(c *call) ([]*value, error) {
	x := c.in[0]
	if x.rank() < 3 || x.rank() > 4 {
		return nil, errUnranked
	}
	dims := x.axes[x.rank()-1]
	if h := int(c.attrInt("num_heads", 0)); x.rank() == 3 && h > 0 && dims.Size() > 0 && dims.Size()%h == 0 {
		heads := c.an.sys.atom(h)
		in := c.an.sys.atom(dims.Size() / h)
		c.join(c.an.sys.prod(heads, in), dims)
		c.note(ShapeRef{Node: c.node, Input: -1, Attr: "num_heads", Elems: []ShapeElem{sizeElem(heads)}})
		dims = in
	}
	c.freezeAxis(dims, "rotates pairs of it")
	dims.anchor() // which angle turns which pair is no matter of training
	for _, v := range c.in[1:] {
		c.freeze(v, "rotates by it")
	}
	o := &value{axes: x.axes, ranked: true, konst: x.konst, roots: x.roots}
	return []*value{o}, nil
}

package eval

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"unicode"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

const (
	// taskSamples is the number of samples that outputs are looked at on, and taskNumbers bounds
	// how many numbers of one output are. Outputs of many rows for each sample, as maps are, are known
	// from taskRows of them, of leastRows samples at least.
	taskSamples = 200
	taskNumbers = 4 << 20
	taskRows    = 20_000
	// leastRows is the number of rows from which on their behaviour, or that labels are wrong, says
	// something.
	leastRows = 20
)

// evidence is what is known about one output of one model.
type evidence struct {
	graph  *onnxio.Graph
	name   string
	typ    engine.DType
	dims   []int     // −1 where unknown; nil where the rank is
	ran    bool      // on some samples
	full   bool      // there is no room for more of x
	x      []float64 // the numbers that came out
	labels []int     // of the same samples; nil where there are none
	others []*evidence
	opset  int
	doubt  string // why the labels do not make class scores of it; "" if there are none
}

// gather looks at a model's outputs, and runs it where there are data.
func gather(ctx context.Context, m *onnxio.Model, data *dataset.Data, o dataset.StreamOptions) ([]*evidence, error) {
	g, err := m.Graph()
	if err != nil {
		return nil, m.InFile(err)
	}
	var list []*evidence
	var names []string
	for _, v := range g.Outputs() {
		e := &evidence{graph: g, name: v.GetName(), typ: onnxio.ElemType(v), opset: int(m.Opset(""))}
		if dims, _, known := onnxio.Dims(v); known {
			e.dims = make([]int, len(dims))
			for i, d := range dims {
				if e.dims[i] = int(d); d == 0 {
					e.dims[i] = -1
				}
			}
		}
		names, list = append(names, e.name), append(list, e)
	}
	for _, e := range list {
		e.others = list
	}
	if data == nil || data.Len() == 0 {
		return list, nil
	}
	data = data.Sample(taskSamples, 0)
	labels, done := data.Labels(), 0
	err = dataset.Stream(ctx, m, data, names, dataset.StreamOptions{Batch: o.Batch, Threads: o.Threads}, func(_, n int, values map[string]*engine.Value) error {
		done += n
		for _, e := range list {
			if e.see(values[e.name]) && labels != nil {
				e.labels = labels[:done]
			}
		}
		if !slices.ContainsFunc(list, func(e *evidence) bool { return !e.suffices(done) }) {
			return errSeen
		}
		return nil
	})
	if errors.Is(err, errSeen) {
		err = nil
	}
	return list, err
}

var errSeen = errors.New("enough has been seen")

// suffices reports whether further samples would tell nothing new.
func (e *evidence) suffices(samples int) bool {
	size := 1
	if axis, ok := e.rowAxis(); ok {
		size = e.dims[axis]
	}
	return e.full || samples >= leastRows && len(e.x)/size >= taskRows
}

// see takes in what came out for some samples, unless it is too much or cannot be laid behind what
// came out before.
func (e *evidence) see(v *engine.Value) bool {
	switch {
	case !e.ran:
		e.ran, e.x, e.typ, e.dims = true, v.Float64(), v.Type, slices.Clone(v.Dims)
		return true
	case len(e.x)+v.Len() > taskNumbers:
		e.full = true
		return false
	case len(v.Dims) == 0 || len(v.Dims) != len(e.dims) || !slices.Equal(v.Dims[1:], e.dims[1:]):
		return false
	}
	e.x = append(e.x, v.Float64()...)
	e.dims[0] += v.Dims[0]
	return true
}

// decide weighs the evidence of all models about one output. What is sure comes first. An output of
// which nothing says that it holds scores is taken for plain numbers: a classifier compressed by
// the error of its scores is as good as another, and a regressor whose numbers are mixed as
// probabilities is ruined.
func decide(list []*evidence) Output {
	first := list[0]
	plain := func(reason string) Output { return Output{Name: first.name, Task: Regress, Reason: reason} }
	if !onnxio.IsFloat(first.typ) {
		return plain("it is no floating-point number")
	}
	if _, ok := first.rowAxis(); !ok {
		return plain("it has no rows of two numbers or more")
	}
	for _, test := range []func(*evidence) Output{
		(*evidence).softmax, (*evidence).distribution, (*evidence).unitLength, (*evidence).perPlace, (*evidence).called, (*evidence).labelled,
		(*evidence).madeBy, (*evidence).manyClasses, (*evidence).standsOut,
	} {
		for _, e := range list {
			if out := test(e); out.Task != "" {
				out.Name = first.name
				return out
			}
		}
	}
	if first.doubt != "" {
		return plain(first.doubt)
	}
	return plain("nothing says that it holds class scores")
}

// rowAxis is the axis along which classes or vectors lie, if any: the second one where nothing but
// single numbers lies behind it, the last one of three, and of pictures whichever of the second and
// the last is shorter.
func (e *evidence) rowAxis() (axis int, ok bool) {
	rank := len(e.dims)
	if rank < 2 {
		return 0, false
	}
	axis = rank - 1
	switch rest := e.dims[2:]; {
	case !slices.ContainsFunc(rest, func(d int) bool { return d != 1 }):
		axis = 1
	case rank > 3 && e.dims[1] > 0 && (e.dims[rank-1] < 0 || e.dims[1] < e.dims[rank-1]):
		axis = 1
	}
	return axis, e.dims[axis] >= 2
}

// says makes the verdict of a test: a task along the row axis. The zero Output is that of a test
// that cannot tell.
func (e *evidence) says(task Task, reason string, args ...any) Output {
	axis, _ := e.rowAxis()
	if task == Regress {
		axis = 0
	}
	return Output{Task: task, Reason: fmt.Sprintf(reason, args...), Axis: axis}
}

// softmax finds the operator that makes an output probabilities, or their logarithms.
func (e *evidence) softmax() Output {
	name := e.name
	for arranged := false; ; {
		n := e.graph.Producer(name)
		if n == nil || len(n.GetInput()) == 0 {
			return Output{}
		}
		switch n.GetOpType() {
		case "Softmax", "LogSoftmax":
			out := e.says(Classify, "a %s makes it", n.GetOpType())
			switch {
			case !arranged:
				out.Axis = e.softmaxAxis(n)
			case e.ran:
				d := e.distribution() // which may say that its rows have been taken apart
				out.Task, out.Axis = d.Task, d.Axis
			}
			return out
		case "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Concat", "Slice", "Split":
			arranged = true
		case "Identity", "Cast", "Dropout":
		default:
			return Output{}
		}
		name = n.GetInput()[0]
	}
}

// softmaxAxis is the axis of a Softmax whose output has the sizes of e.
func (e *evidence) softmaxAxis(n *onnxpb.NodeProto) int {
	def := int64(-1)
	if e.opset < 13 {
		def = 1
	}
	axis := int(onnxio.AttrInt(n, "axis", def))
	if axis < 0 {
		axis += len(e.dims)
	}
	if axis < 0 || axis >= len(e.dims) {
		axis, _ = e.rowAxis()
	}
	return axis
}

// distribution tells probabilities, and their logarithms, by their sum.
func (e *evidence) distribution() Output {
	if !e.ran {
		return Output{}
	}
	axes := []int{len(e.dims) - 1, 1}
	if axis, ok := e.rowAxis(); ok {
		axes = slices.Insert(axes, 0, axis)
	}
	for _, axis := range axes {
		if e.dims[axis] < 2 {
			continue
		}
		sums, logs, rows := true, true, 0
		e.rows(axis, func(row []float64) {
			rows++
			sum, exp := 0.0, 0.0
			for _, v := range row {
				sums, logs = sums && v >= 0, logs && v <= 0
				sum, exp = sum+v, exp+math.Exp(min(v, 1))
			}
			sums, logs = sums && math.Abs(sum-1) < 1e-3, logs && math.Abs(exp-1) < 1e-3
		})
		switch {
		case rows == 0:
		case sums:
			return Output{Task: Classify, Reason: "its rows are positive and sum to one", Axis: axis}
		case logs:
			return Output{Task: Classify, Reason: "its rows are logarithms of probabilities", Axis: axis}
		}
	}
	return Output{}
}

// unitLength tells normalised embeddings.
func (e *evidence) unitLength() Output {
	if n := e.graph.Producer(e.name); n.GetOpType() == "LpNormalization" {
		return e.says(Embed, "an LpNormalization makes it")
	}
	if !e.ran {
		return Output{}
	}
	rows, unit := 0, true
	out := e.says(Embed, "its rows have length one")
	e.rows(out.Axis, func(row []float64) {
		rows++
		squares := 0.0
		for _, v := range row {
			squares += v * v
		}
		unit = unit && math.Abs(squares-1) < 2e-3
	})
	if rows < 2 || !unit {
		return Output{}
	}
	return out
}

// Words in the names of outputs, and of what makes them.
const (
	scoreWords = "logit logits score scores prob probs proba probability probabilities class classes classification " +
		"classifier cls softmax label labels"
	vectorWords = "embedding embeddings embed embeds feature features pooler descriptor descriptors vector vectors hidden"
	foundWords  = "detection detections" // what a detector has sorted out
	numberWords = "box boxes bbox bboxes loc locs location locations reg regression landmark landmarks keypoint keypoints " +
		"kps offset offsets delta deltas anchor anchors coord coords coordinates pose angle angles depth heatmap heatmaps state"
	headWords = "logit logits classifier classification"
)

// wordsOf splits a name as people do: at anything that is no letter, and where a capital follows a
// small letter.
func wordsOf(name string) []string {
	var spaced []rune
	before := ' '
	for _, r := range name {
		switch {
		case !unicode.IsLetter(r):
			spaced = append(spaced, ' ')
		case unicode.IsUpper(r) && unicode.IsLower(before):
			spaced = append(spaced, ' ', r)
		default:
			spaced = append(spaced, r)
		}
		before = r
	}
	return strings.Fields(strings.ToLower(string(spaced)))
}

func holds(name, words string) bool {
	list := strings.Fields(words)
	return slices.ContainsFunc(wordsOf(name), func(w string) bool { return slices.Contains(list, w) })
}

// perPlace sees that each number belongs to a row of another output, as the score of a box does:
// they are of one class.
func (e *evidence) perPlace() Output {
	if engine.Count(e.dims[2:]) != 1 {
		return Output{}
	}
	for _, o := range e.others {
		if len(o.dims) == 3 && o.dims[2] != 1 && slices.Equal(e.dims[:2], o.dims[:2]) {
			return e.says(Regress, "one number for each row of %q", o.name)
		}
	}
	return Output{}
}

// called goes by the output's name. "box_scores" are scores, "class_embedding" is none.
func (e *evidence) called() Output {
	for _, known := range []struct {
		words string
		task  Task
	}{{foundWords, Regress}, {vectorWords, Embed}, {scoreWords, Classify}, {numberWords, Regress}} {
		if holds(e.name, known.words) {
			return e.says(known.task, "its name says so")
		}
	}
	return Output{}
}

// labelled asks whether the highest number is more often that of the label than by chance, see
// [byChance]. Of few samples that cannot be told, and the user, who gave labels, is believed.
func (e *evidence) labelled() Output {
	axis, _ := e.rowAxis()
	k := e.dims[axis]
	if e.labels == nil {
		return Output{}
	}
	if i := slices.IndexFunc(e.labels, func(l int) bool { return l < 0 || l >= k }); i >= 0 {
		e.doubt = fmt.Sprintf("it has %d numbers a row, and a label is %d", k, e.labels[i])
		return Output{}
	}
	var said []int
	e.rows(axis, func(row []float64) { said = append(said, argMax(row)) })
	n := len(said)
	if n != len(e.labels) {
		return Output{} // not one row a sample
	}
	hits, chance := byChance(said, e.labels, k)
	switch {
	case float64(hits) > chance:
		return e.says(Classify, "%d of %d labels are right", hits, n)
	case n < leastRows:
		return e.says(Classify, "there are labels")
	}
	e.doubt = fmt.Sprintf("%d of %d labels are right, as by chance", hits, n)
	return Output{}
}

// madeBy goes by the names of the last layer and its weights.
func (e *evidence) madeBy() Output {
	name := e.name
	for range 3 { // an Add and a Reshape may lie behind the layer
		n := e.graph.Producer(name)
		if n == nil || len(n.GetInput()) == 0 {
			break
		}
		for i, s := range append([]string{n.GetName()}, n.GetInput()...) {
			// The last parts of a path: what lies before names the model.
			if (i == 0 || e.graph.Constant(s) != nil) && holds(lastParts(s), headWords) {
				return e.says(Classify, "made by %q", s)
			}
		}
		switch n.GetOpType() {
		case "Add", "Reshape", "Identity", "Cast", "Squeeze", "Flatten":
			name = n.GetInput()[0]
		default:
			return Output{}
		}
	}
	return Output{}
}

// lastParts are the last three parts of a path like "/classifier/classifier.1/Gemm" or
// "classifier.1.weight".
func lastParts(name string) string {
	parts := strings.FieldsFunc(name, func(r rune) bool { return r == '/' || r == '.' || r == ':' })
	return strings.Join(parts[max(0, len(parts)-3):], "/")
}

// manyClasses knows the numbers of classes of ImageNet.
func (e *evidence) manyClasses() Output {
	axis, _ := e.rowAxis()
	switch k := e.dims[axis]; k {
	case 1000, 1001, 21841, 21843:
		return e.says(Classify, "%d numbers a row, as ImageNet has classes", k)
	}
	return Output{}
}

const (
	// leastLead is by how much the lead of the highest number over the next, in deviations of a
	// row, exceeds that of Gaussian numbers with the same means and covariances. Of 18 classifiers
	// it is 2.06 and more, of layers inside networks and of regressors 1.3 and less.
	leastLead = 1.5
	// mostCommon bounds the variance of the mean of a row relative to what it would be of
	// independent numbers. The gradients of cross-entropy sum to zero over the classes, so that
	// logits hold little in common: of those classifiers 0.38 and less.
	mostCommon = 0.7
	// mostMirrored is the same for two numbers, where the lead says nothing.
	mostMirrored = 0.1
	// twinWork bounds rows² × numbers of the Gaussian twin.
	twinWork = 5e7
	mostRows = 400
)

// standsOut tells logits by their behaviour: one number of each row stands out from the others,
// which takes turns, and what they have in common is little.
func (e *evidence) standsOut() Output {
	axis, _ := e.rowAxis()
	if !e.ran {
		return Output{}
	}
	k := e.dims[axis]
	total := len(e.x) / k
	want := min(mostRows, int(math.Sqrt(twinWork/float64(k))))
	if min(total, want) < leastRows {
		return Output{}
	}
	var x []float64 // want rows, spread evenly
	seen, taken := 0, 0
	e.rows(axis, func(row []float64) {
		if seen*want >= taken*total && taken < want {
			x, taken = append(x, row...), taken+1
		}
		seen++
	})
	if !logits(x, k) {
		return Output{}
	}
	return e.says(Classify, "one number of each row stands out, as of class scores")
}

// logits is the test behind standsOut, for rows of k numbers.
func logits(x []float64, k int) bool {
	n := len(x) / k
	mean, common, variance := make([]float64, k), 0.0, 0.0
	for i, v := range x {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
		mean[i%k] += v / float64(n)
	}
	away := make([]float64, len(x)) // from the mean
	for i := range n {
		sum := 0.0
		for j := range k {
			d := x[i*k+j] - mean[j]
			away[i*k+j] = d
			sum += d
			variance += d * d
		}
		common += sum * sum
	}
	if !(variance > 0) {
		return false
	}
	common /= variance
	if k == 2 {
		first := 0
		for i := range n {
			if x[2*i] > x[2*i+1] {
				first++
			}
		}
		return common <= mostMirrored && min(first, n-first)*leastRows >= n
	}
	if common > mostCommon {
		return false
	}
	// Normal combinations of the rows have the same means and covariances.
	rng := rand.New(rand.NewPCG(1, 2))
	twin := make([]float64, len(x))
	for i := range n {
		row := twin[i*k:][:k]
		copy(row, mean)
		for r := range n {
			c := rng.NormFloat64() / math.Sqrt(float64(n))
			for j, d := range away[r*k:][:k] {
				row[j] += c * d
			}
		}
	}
	return lead(x, k) >= leastLead*lead(twin, k)
}

// lead is the mean distance of the two highest numbers of a row, relative to the mean deviation
// within rows.
func lead(x []float64, k int) float64 {
	gap, deviation := 0.0, 0.0
	row := make([]float64, k)
	for i := 0; i+k <= len(x); i += k {
		copy(row, x[i:])
		sort.Float64s(row)
		gap += row[k-1] - row[k-2]
		mean, squares := 0.0, 0.0
		for _, v := range row {
			mean += v / float64(k)
		}
		for _, v := range row {
			squares += (v - mean) * (v - mean)
		}
		deviation += math.Sqrt(squares / float64(k))
	}
	return gap / max(deviation, math.SmallestNonzeroFloat64)
}

// rows calls f with the numbers along an axis, for every place on the other axes.
func (e *evidence) rows(axis int, f func(row []float64)) {
	eachRow(e.dims, axis, func(rows [][]float64) { f(rows[0]) }, e.x)
}

// eachRow calls f with the numbers of tensors of the same sizes along an axis, for every place on
// the other axes. The rows are f's only until it returns.
func eachRow(dims []int, axis int, f func(rows [][]float64), tensors ...[]float64) {
	k, inner := dims[axis], engine.Count(dims[axis+1:])
	rows := make([][]float64, len(tensors))
	for i := range rows {
		rows[i] = make([]float64, k)
	}
	for from := 0; from+k*inner <= len(tensors[0]) && k*inner > 0; from += k * inner {
		for in := range inner {
			for i, x := range tensors {
				if inner == 1 {
					rows[i] = x[from : from+k]
					continue
				}
				for j := range rows[i] {
					rows[i][j] = x[from+j*inner+in]
				}
			}
			f(rows)
		}
	}
}

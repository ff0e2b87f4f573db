package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/internal/files"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/rewire"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Options say how a model is run. The zero value runs all outputs on all cores, optimised.
type Options struct {
	// Threads is the number of threads that work on one operator. 0: one per core.
	Threads int

	// Outputs are the tensors that Run returns: any tensor of the main graph (outputs, inner
	// tensors, initializers, inputs). The graph is cut down to what they need. nil: the model's
	// outputs.
	Outputs []string

	// AsWritten runs the graph without onnxruntime's optimisations. false: all of them.
	AsWritten bool

	// Spin lets threads that have nothing to do wait actively while a run lasts: operators follow each
	// other faster, at the expense of whatever else the machine does. Between runs they sleep, unlike
	// onnxruntime's default, under which the threads of several sessions would take each other's time
	// for tens of milliseconds after a run.
	Spin bool

	// Unpacked leaves the weights of a large model where they are mapped into memory. false:
	// onnxruntime copies those of matrix products into another order, which makes runs of few
	// samples faster, but takes the model's size again.
	Unpacked bool

	// Frugal takes memory for activations as they come. false: room for all of them is planned after
	// the first run and taken on top of what that run took, up to twice as much together.
	Frugal bool

	// Profile has onnxruntime note how long operators take; [Session.Profile] tells. Runs take a few
	// microseconds longer for each.
	Profile bool

	// Strict refuses a model whose stored shapes contradict the inferred ones. false: onnxruntime
	// overlooks it.
	Strict bool
}

// IOInfo describes an input or output of a session.
type IOInfo struct {
	Name   string   `json:"name"`
	Type   DType    `json:"type"`   // UNDEFINED where the model does not say it
	Dims   []int64  `json:"dims"`   // -1 where the size is free; nil where the model does not say the rank
	Params []string `json:"params"` // name of each free size as the model has it, "" for fixed or unnamed ones
}

// String is the input as one writes it: "input float [N,3,32,32]".
func (i IOInfo) String() string {
	return fmt.Sprintf("%s %s %s", i.Name, strings.ToLower(i.Type.String()), i.Shape())
}

// Shape prints the sizes, with names or ? for free ones.
func (i IOInfo) Shape() string {
	if i.Dims == nil {
		return "[?...]"
	}
	parts := make([]string, len(i.Dims))
	for k, d := range i.Dims {
		switch {
		case d >= 0:
			parts[k] = fmt.Sprint(d)
		case i.Params[k] != "":
			parts[k] = i.Params[k]
		default:
			parts[k] = "?"
		}
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// Takes says whether sizes are those of the input, from an axis on.
func (i IOInfo) Takes(dims []int, axis int) bool {
	ok := i.Dims == nil || len(dims) == len(i.Dims)
	for k := axis; ok && k < len(i.Dims); k++ {
		ok = i.Dims[k] < 0 || int(i.Dims[k]) == dims[k]
	}
	return ok
}

// Sizes are the sizes of one sample of the input: its own, those of shape (nil for none) where it
// leaves them open, 1 for the first axis, or 64.
func (i IOInfo) Sizes(shape []int) ([]int, error) {
	const open = 64
	if i.Dims == nil && shape == nil {
		return nil, fmt.Errorf("input %s has no known rank", i)
	}
	dims := make([]int, max(len(i.Dims), len(shape)))
	for k := range dims {
		switch {
		case k < len(i.Dims) && i.Dims[k] >= 0:
			dims[k] = int(i.Dims[k])
		case k < len(shape) && shape[k] > 0:
			dims[k] = shape[k]
		case k == 0:
			dims[k] = 1
		default:
			dims[k] = open
		}
	}
	return dims, nil
}

// A Session is a model loaded into onnxruntime. It may be used by several goroutines at once. Close
// it when done.
type Session struct {
	name    string // of the model, for messages
	inputs  []IOInfo
	outputs []IOInfo
	fetch   []string // names the runner returns, in its order
	threads int
	runner  runner
	reduced bool          // the optimiser failed
	temp    *files.Folder // the model, for onnxruntime; nil for none
	profile *files.Folder // what onnxruntime notes; nil for nothing
	closed  bool
}

// Open checks a model and loads it into onnxruntime (CPU). The model is not changed and not kept.
//
// External data is read from m.Dir. A model with bfloat16 tensors, for which the CPU has no
// arithmetic, is loaded as a float32 copy. float16 outputs are returned as float32; so are, in a
// model that holds float16, inner tensors whose type the model does not say. A model beyond
// protobuf's 2 GiB goes through a temporary folder.
//
// Errors are those of the search for onnxruntime (see [ErrNoRuntime], [ErrNoCgo]) and onnxruntime's
// own checks of the model.
func Open(m *onnxio.Model, o Options) (_ *Session, err error) {
	defer guard.Recover(&err)
	lib, err := Available()
	if err != nil {
		return nil, err
	}
	s, err := open(m, o)
	if err != nil {
		return nil, fmt.Errorf("%s: onnxruntime %s: %w", m.Title(), lib.Version, err)
	}
	return s, nil
}

func open(m *onnxio.Model, o Options) (*Session, error) {
	m, err := rewire.WithoutBFloat16(m)
	if err != nil {
		return nil, err
	}
	s := &Session{name: m.Title(), threads: o.Threads}
	if s.threads <= 0 {
		s.threads = runtime.NumCPU()
	}
	g, err := m.Graph()
	if err != nil {
		return nil, err
	}
	if err := g.CheckAttributes(); err != nil {
		return nil, err
	}
	if s.inputs = inputsOf(g); len(s.inputs) == 0 {
		return nil, fmt.Errorf("the model has no inputs")
	}
	names, err := outputNames(g, o.Outputs)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		s.outputs = append(s.outputs, infoOf(name, g.ValueInfo(name)))
		// Inputs are handed through by Run: onnxruntime would need a node in between.
		if !g.IsInput(name) {
			s.fetch = append(s.fetch, name)
		}
	}
	if len(s.fetch) == 0 {
		return s, nil
	}
	if o.Outputs != nil {
		if m, err = rewire.Cut(m, s.fetch); err != nil {
			return nil, err
		}
	}
	widened, fetch, err := rewire.WithoutHalfOutputs(m, s.fetch)
	if err != nil {
		return nil, err
	}
	if err := s.start(widened, fetch, o); err != nil {
		s.temp.Remove()
		s.profile.Remove()
		return nil, err
	}
	return s, nil
}

// outputNames returns the tensors to compute: the wanted ones, each once, or all outputs of the
// model that a Value can hold.
func outputNames(g *onnxio.Graph, wanted []string) ([]string, error) {
	var names []string
	if wanted != nil {
		for _, name := range wanted {
			if !g.Defines(name) {
				return nil, fmt.Errorf("no tensor %q in the main graph", name)
			}
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		return names, nil
	}
	for _, v := range g.Outputs() {
		if isTensor(v) {
			names = append(names, v.GetName())
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("the model has no outputs that are tensors of numbers")
	}
	return names, nil
}

// start loads the model into onnxruntime.
func (s *Session) start(m *onnxio.Model, fetch []string, o Options) error {
	spec := runnerSpec{outputs: fetch, threads: s.threads, spin: o.Spin, frugal: o.Frugal, strict: o.Strict}
	if _, bytes := m.Size(); bytes >= mappedSize {
		spec.unpacked = o.Unpacked
	}
	for _, i := range s.inputs {
		spec.inputs = append(spec.inputs, i.Name)
	}
	if proto.Size(m.Proto) >= mappedSize {
		// Without room for a file memory may yet do.
		spec.file, s.temp, _ = saveTemp(m)
	}
	if spec.file == "" {
		var err error
		if spec.model, err = m.Encode(); err != nil {
			if spec.file, s.temp, err = saveTemp(m); err != nil {
				return err
			}
		} else if rewire.HasExternal(m) {
			spec.externalDir = absolute(m.Dir)
		}
	}
	if spec.unpacked {
		debug.FreeOSMemory() // onnxruntime needs now what the work before has left behind
	}
	if o.AsWritten {
		spec.level = levelNone
	}
	var err error
	if o.Profile {
		if s.profile, spec.profile, err = newProfile(); err != nil {
			return err
		}
	}
	first := spec.level
	for s.runner, err = openRunner(spec); err != nil && spec.level < levelNone; s.runner, err = openRunner(spec) {
		spec.level++
	}
	s.reduced = err == nil && spec.level != first
	if err == nil {
		_ = s.temp.RemoveOpened() // where that can be done now, nothing stays whatever ends the program
	}
	return err
}

// Reduced reports whether onnxruntime's optimiser fails on the model, which is run with fewer
// optimisations, or none.
func (s *Session) Reduced() bool { return s.reduced }

// mappedSize is the size in bytes from which on models are handed over in files, whose weights
// onnxruntime maps into memory: of a model given as bytes there are four copies until the session
// is open.
const mappedSize = 64 << 20

// saveTemp writes a model to a temporary folder, its weights to a file of their own.
func saveTemp(m *onnxio.Model) (file string, dir *files.Folder, err error) {
	dir, err = files.NewFolder()
	if err != nil {
		return "", nil, err
	}
	file = filepath.Join(dir.Path, "model.onnx")
	if err = onnxio.Save(context.Background(), file, m, onnxio.SaveOptions{External: onnxio.Always, Temporary: true}); err != nil {
		return "", nil, errors.Join(err, dir.Remove())
	}
	return file, dir, nil
}

// Inputs lists what has to be fed, in the model's order.
func (s *Session) Inputs() []IOInfo { return slices.Clone(s.inputs) }

// Name is what errors call the model.
func (s *Session) Name() string { return s.name }

// Outputs lists what Run returns, in the order of Options.Outputs or of the model.
func (s *Session) Outputs() []IOInfo { return slices.Clone(s.outputs) }

// Threads is the number of threads that work on one operator.
func (s *Session) Threads() int { return s.threads }

// Close frees the model.
func (s *Session) Close() error {
	defer s.temp.Remove()
	defer s.profile.Remove()
	if s.runner == nil || s.closed {
		return nil
	}
	s.closed = true
	return s.runner.close()
}

// Run feeds every input by its name and returns the outputs by theirs. Values are cast to the
// inputs' element types. When ctx ends, so does the run, with ctx's error. Errors name the input.
func (s *Session) Run(ctx context.Context, in map[string]*Value) (_ map[string]*Value, err error) {
	defer guard.Recover(&err)
	feed := make([]*Value, len(s.inputs))
	for i, info := range s.inputs {
		v, err := s.fit(info, in[info.Name])
		if err != nil {
			return nil, fmt.Errorf("%s: input %q: %w", s.name, info.Name, err)
		}
		feed[i] = v
	}
	for name := range in {
		if !slices.ContainsFunc(s.inputs, func(i IOInfo) bool { return i.Name == name }) {
			return nil, fmt.Errorf("%s: no input %q: the model has %s", s.name, name, inputNames(s.inputs))
		}
	}
	out := make(map[string]*Value, len(s.outputs))
	if s.runner != nil {
		values, err := s.runner.run(ctx, feed)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		for i, name := range s.fetch {
			values[i].Name = name
			out[name] = values[i]
		}
	}
	for _, o := range s.outputs {
		if _, done := out[o.Name]; !done {
			out[o.Name] = in[o.Name]
		}
	}
	return out, nil
}

// fit checks a value against an input and casts it to the input's element type.
func (s *Session) fit(info IOInfo, v *Value) (*Value, error) {
	if v == nil {
		return nil, fmt.Errorf("no value given")
	}
	if err := CheckValue(v); err != nil {
		return nil, err
	}
	if !info.Takes(v.Dims, 0) {
		return nil, fmt.Errorf("shape %s given, %s wanted", DimString(v.Dims), info.Shape())
	}
	return Cast(v, info.Type)
}

// Inputs lists the inputs of a model that have to be fed: those without an initializer of the same
// name.
func Inputs(m *onnxio.Model) ([]IOInfo, error) {
	g, err := m.Graph()
	if err != nil {
		return nil, err
	}
	return inputsOf(g), nil
}

func inputsOf(g *onnxio.Graph) (list []IOInfo) {
	for _, v := range g.Inputs() {
		list = append(list, infoOf(v.GetName(), v))
	}
	return list
}

// infoOf describes a tensor by what the model says about it, which may be nothing (nil).
func infoOf(name string, v *onnxpb.ValueInfoProto) IOInfo {
	info := IOInfo{Name: name, Type: onnxio.ElemType(v)}
	info.Dims, info.Params, _ = onnxio.Dims(v)
	return info
}

// isTensor says whether a value is a dense tensor of numbers, or of a type that is not said.
func isTensor(v *onnxpb.ValueInfoProto) bool {
	if v.GetType().GetValue() == nil {
		return true
	}
	t := v.GetType().GetTensorType()
	return t != nil && isNumeric(DType(t.GetElemType()))
}

func inputNames(list []IOInfo) string {
	names := make([]string, len(list))
	for i, info := range list {
		names[i] = fmt.Sprintf("%q", info.Name)
	}
	return strings.Join(names, ", ")
}

// DimString prints sizes as [1,3,32,32].
func DimString(dims []int) string {
	return strings.ReplaceAll(fmt.Sprint(dims), " ", ",")
}

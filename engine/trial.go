package engine

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/internal/child"
	"github.com/monge-ml/monge/internal/files"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A Trial runs models for the first time in a program of its own: there are models that onnxruntime
// does not refuse but dies of, together with the program that it is part of. nil and the zero value
// try nothing.
type Trial struct {
	// Command is the program, with its arguments, that calls ServeTrial: as a rule this one again,
	// with an argument that tells it so.
	Command []string
	// Memory is what a model may take in the trial beside three times its own size, in bytes, where
	// the system can bound it (Linux); what takes a quarter of it for a single tensor of a sample is
	// not even tried. 0: 4 GiB.
	Memory int64
	// Time is what one sample may take in the trial. 0: ten minutes. What takes longer is a loop
	// without end, or as good as one.
	Time time.Duration

	mu    sync.Mutex
	known map[any]error // of the models that were tried: by what they are in memory, small ones by their hash too
}

// ErrDies is wrapped by the error about a model of which onnxruntime dies, ErrMemory by that about
// one that takes more memory than it may, and ErrEndless by that about one that takes more time.
var (
	ErrDies    = errors.New("dies of it")
	ErrMemory  = errors.New("too large to run")
	ErrEndless = errors.New("does not end")
)

// trialMemory and trialTime are what Trial.Memory and Trial.Time are by default.
const (
	trialMemory = 4 << 30
	trialTime   = 10 * time.Minute
)

// Most is Memory, or what it is by default.
func (t *Trial) Most() int64 {
	if t == nil {
		return trialMemory
	}
	return cmp.Or(t.Memory, trialMemory)
}

// Run tries a model with some inputs, once. Errors wrap ErrDies, with the node where that can be
// found out, or ErrMemory or ErrEndless, or are ctx's. A model that cannot be run for any other reason passes:
// whoever runs it will be told.
func (t *Trial) Run(ctx context.Context, m *onnxio.Model, in map[string]*Value) error {
	if t == nil || len(t.Command) == 0 {
		return nil
	}
	lib, err := Available()
	if err != nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err, ok := t.known[m.Proto]; ok {
		return err
	}
	r, temp, err := newTrialRequest(m, in)
	defer temp.Remove()
	if err != nil {
		return nil
	}
	key := sha256.Sum256(r.model)
	err, ok := t.known[key]
	if r.File != "" || !ok {
		_, size := m.Size()
		r.Library, r.Memory = lib, t.Most()+3*size
		err = t.judge(ctx, m, r)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if t.known == nil {
		t.known = map[any]error{}
	}
	t.known[m.Proto] = err
	if r.File == "" {
		t.known[key] = err
	}
	return err
}

// judge runs a model and, if it takes the program with it, looks for the node.
func (t *Trial) judge(ctx context.Context, m *onnxio.Model, r trialRequest) error {
	most := cmp.Or(t.Time, trialTime)
	timed, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	answer, death := t.send(timed, r)
	switch {
	case timed.Err() != nil && ctx.Err() == nil:
		return fmt.Errorf("%s: onnxruntime %s: one sample %w in %s", m.Title(), r.Library.Version, ErrEndless, most)
	case death != "":
		return fmt.Errorf("%s: onnxruntime %s %w (%s), %s", m.Title(), r.Library.Version, ErrDies, death, t.culprit(ctx, m, r))
	case outOfMemory(answer.Err):
		return fmt.Errorf("%s: %w: one sample takes more than %.1f GB (more --memory allows more): %s", m.Title(), ErrMemory, float64(r.Memory)/1e9, answer.Err)
	}
	return nil
}

// outOfMemory reports whether an error of onnxruntime is about memory that it was not given.
func outOfMemory(message string) bool {
	return slices.ContainsFunc([]string{"Failed to allocate memory", "bad_alloc", "bad allocation"}, func(s string) bool { return strings.Contains(message, s) })
}

// A trialRequest is what is sent to the other program, and a trialAnswer what it says.
type trialRequest struct {
	Library Library
	Memory  int64 // bytes it may take
	Title   string
	File    string // path of the model; where it is empty the encoded model follows the request
	Dir     string // of its external data
	Inputs  map[string][]byte
	Outputs []string // tensors to compute; nil: the outputs
	Level   trialLevel

	model []byte
}

// A trialLevel says with which of onnxruntime's optimisations a model is tried.
type trialLevel uint8

const (
	trialBoth trialLevel = iota
	trialOptimised
	trialAsWritten
)

type trialAnswer struct{ Err string }

func newTrialRequest(m *onnxio.Model, in map[string]*Value) (r trialRequest, temp *files.Folder, err error) {
	r = trialRequest{Title: m.Title(), Dir: absolute(m.Dir), Inputs: map[string][]byte{}}
	for name, v := range in {
		if err := CheckValue(v); err != nil {
			return r, temp, err
		}
		if r.Inputs[name], err = proto.Marshal(v.Proto()); err != nil {
			return r, temp, err
		}
	}
	if proto.Size(m.Proto) >= mappedSize {
		r.File, temp, err = saveTemp(m)
	} else {
		r.model, err = m.Encode()
	}
	return r, temp, err
}

// send has the other program run a model. death says how that ended, if not with an answer.
func (t *Trial) send(ctx context.Context, r trialRequest) (answer trialAnswer, death string) {
	var request, out bytes.Buffer
	if err := gob.NewEncoder(&request).Encode(r); err != nil {
		return trialAnswer{}, ""
	}
	said := &headWriter{left: 64 << 10}
	cmd := exec.CommandContext(ctx, t.Command[0], t.Command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = io.MultiReader(&request, bytes.NewReader(r.model)), &out, said
	cmd.Env = append(os.Environ(), "GOTRACEBACK=none")
	cmd.WaitDelay = time.Second
	err := child.Run(cmd)
	switch {
	case ctx.Err() != nil || cmd.ProcessState == nil: // it could not even be started
		return trialAnswer{}, ""
	case err == nil && gob.NewDecoder(&out).Decode(&answer) == nil:
		return answer, ""
	}
	return trialAnswer{}, howItEnded(cmd.ProcessState, said.head.String())
}

var (
	signalName = regexp.MustCompile(`\bSIG[A-Z]{2,5}\b`)
	fatalError = regexp.MustCompile(`fatal error: .*|Assertion .*`)
)

// howItEnded tells the death of a program from what it said last, which names the signal that Go's
// runtime has caught.
func howItEnded(state *os.ProcessState, said string) string {
	for _, pattern := range []*regexp.Regexp{signalName, fatalError} {
		if found := pattern.FindString(said); found != "" {
			return found
		}
	}
	return state.String()
}

// A headWriter keeps the beginning of what is written to it.
type headWriter struct {
	head bytes.Buffer
	left int
}

func (w *headWriter) Write(p []byte) (int, error) {
	n := min(len(p), w.left)
	w.left -= n
	w.head.Write(p[:n])
	return len(p), nil
}

// searchTime is how long the node of which onnxruntime dies is looked for.
const searchTime = 10 * time.Second

// culprit says where onnxruntime dies: at the last node of the shortest beginning of the graph of
// which it does. Where none is found it lists the operators.
func (t *Trial) culprit(ctx context.Context, m *onnxio.Model, r trialRequest) string {
	ctx, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	g, err := m.Graph()
	if err != nil {
		return "at a node that is not known"
	}
	dies := func(nodes int) bool {
		r.Outputs = nil
		for _, n := range g.Nodes[:nodes] {
			r.Outputs = append(r.Outputs, slices.DeleteFunc(slices.Clone(n.GetOutput()), func(name string) bool { return name == "" })...)
		}
		_, death := t.send(ctx, r)
		return death != ""
	}
	for _, r.Level = range []trialLevel{trialAsWritten, trialOptimised} {
		if !dies(len(g.Nodes)) {
			continue
		}
		below, from := 0, len(g.Nodes)
		for from-below > 1 && ctx.Err() == nil {
			if middle := (below + from) / 2; dies(middle) {
				from = middle
			} else {
				below = middle
			}
		}
		if ctx.Err() == nil {
			return "at " + onnxio.Label(g.Nodes[from-1])
		}
	}
	var ops []string
	for _, n := range g.Nodes {
		if !slices.Contains(ops, n.GetOpType()) {
			ops = append(ops, n.GetOpType())
		}
	}
	const most = 12
	if len(ops) > most {
		ops = append(ops[:most], "…")
	}
	return "at one of its operators " + strings.Join(ops, ", ")
}

// ServeTrial is what the program of a Trial does: it reads which model to run from one side and
// writes to the other what came of it. It is called with the standard input and output, before
// anything else, and the program ends after it.
func ServeTrial(from io.Reader, to io.Writer) error {
	return serveTrial(from, to, trialRequest.run)
}

func serveTrial(from io.Reader, to io.Writer, run func(trialRequest) error) error {
	var r trialRequest
	in := bufio.NewReader(from) // of which gob takes no more than the request
	err := gob.NewDecoder(in).Decode(&r)
	if err == nil {
		r.model, err = io.ReadAll(in)
	}
	if err != nil {
		return err
	}
	if err := boundMemory(r.Memory); err != nil {
		return err
	}
	var answer trialAnswer
	if err := run(r); err != nil {
		answer.Err = err.Error()
	}
	return gob.NewEncoder(to).Encode(answer)
}

// run opens and runs the model, in this program.
func (r trialRequest) run() error {
	if err := initEnvironment(r.Library.Path); err != nil {
		return err
	}
	m, err := r.load()
	if err != nil {
		return err
	}
	in := map[string]*Value{}
	for name, data := range r.Inputs {
		p := &onnxpb.TensorProto{}
		if err := proto.Unmarshal(data, p); err != nil {
			return err
		}
		if in[name], err = m.Tensor(p); err != nil {
			return err
		}
	}
	for _, asWritten := range []bool{false, true} {
		if asWritten && r.Level == trialOptimised || !asWritten && r.Level == trialAsWritten {
			continue
		}
		if err := runOnce(m, in, Options{Threads: 1, Outputs: r.Outputs, AsWritten: asWritten, Unpacked: true}); err != nil {
			return err
		}
	}
	return nil
}

func (r trialRequest) load() (m *onnxio.Model, err error) {
	if r.File != "" {
		return onnxio.Load(r.File)
	}
	return onnxio.Decode(r.model, r.Dir)
}

func runOnce(m *onnxio.Model, in map[string]*Value, o Options) error {
	s, err := open(m, o)
	if err != nil {
		return err
	}
	defer s.Close()
	_, err = s.Run(context.Background(), in)
	return err
}

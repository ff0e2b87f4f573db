package main

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/memory"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

const (
	// mutantsFor, in the environment, is how long mutants are tried, as in 10m, instead of the
	// first fewMutants; mutantsFrom the number of the first. The same number is the same mutant.
	mutantsFor, mutantsFrom = "MONGE_MUTANTS", "MONGE_MUTANTS_FROM"
	fewMutants              = 300

	// asMutants makes the test binary the process in which mutants are tried, from that number on.
	asMutants = "MONGE_TEST_AS_MUTANTS"

	// mostMutantTime and mostMutantMemory bound one mutant of a few kilobytes, in seconds of a busy
	// machine and in bytes, onnxruntime and the program's own 100 MB included.
	mostMutantTime   = 2 * time.Minute
	mostMutantMemory = 768 << 20
)

// TestMutants hands files that were models once to all commands: bytes, fields, dimensions and
// attributes of ten models are changed, where their external data lie, and the data sets beside
// them. Whatever they are, a command ends with exit code 0, 1 or 2, in bounded time and memory; what
// is wrong is one line, no stack; what went in is not changed, nothing is left behind, and what was
// written can be read. Mutants are tried in a process of their own, whose death does not end the
// test.
func TestMutants(t *testing.T) {
	enginetest.Require(t)
	from, _ := strconv.Atoi(os.Getenv(mutantsFrom))
	more := func(i int) bool { return i < from+fewMutants }
	if text := os.Getenv(mutantsFor); text != "" {
		limit, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		end := time.Now().Add(limit)
		more = func(int) bool { return time.Now().Before(end) }
	} else if testing.Short() {
		t.Skip("300 processes' work")
	}
	codes, next := map[int]int{}, from
	for more(next) {
		next = tryMutants(t, next, more, codes)
	}
	t.Logf("mutants %d to %d, exit codes %v", from, next-1, codes)
	if codes[exitOK] == 0 || codes[exitFailed] == 0 {
		t.Error("all ended alike: nothing was tried")
	}
}

// A verdict is what became of one mutant.
type verdict struct {
	Mutant  int
	What    string // was done
	Began   bool   // all else is not known yet
	Code    int
	Problem string // "" if all is as it should be
}

// tryMutants tries mutants in one process as long as that lives, and returns the number of the next.
func tryMutants(t *testing.T, from int, more func(i int) bool, codes map[int]int) (next int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprint(asMutants, "=", from))
	var said bytes.Buffer
	cmd.Stderr = &said
	ask, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var last verdict
	watch := time.AfterFunc(mostMutantTime, cancel)
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		watch.Reset(mostMutantTime)
		last = verdict{}
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
			t.Fatalf("%v in %q", err, lines.Text())
		}
		if last.Began {
			continue
		}
		codes[last.Code]++
		if last.Problem != "" {
			t.Errorf("mutant %d, %s: exit code %d: %s", last.Mutant, last.What, last.Code, last.Problem)
		}
		if !more(last.Mutant + 1) {
			break
		}
		if _, err := io.WriteString(ask, "\n"); err != nil {
			break
		}
	}
	watch.Stop()
	_ = ask.Close()
	_, _ = io.Copy(io.Discard, stdout)
	err = cmd.Wait()
	if last.What == "" {
		t.Fatalf("no mutant was made: %v: %.2000s", err, said.String())
	}
	if last.Began {
		t.Errorf("mutant %d, %s: the process ended, %v (a minute or two: it took too long): %.2000s", last.Mutant, last.What, err, said.String())
	} else if said.Len() > 0 {
		t.Errorf("mutants up to %d: something else than the program wrote %.2000s", last.Mutant, said.String())
	}
	return last.Mutant + 1
}

// mutants is the process in which mutants are tried, from a number on, as long as lines come in.
func mutants(from string) error {
	next, err := strconv.Atoi(from)
	if err != nil {
		return err
	}
	os.Unsetenv(asMutants)
	os.Setenv(asProgram, "1") // for processes that the program starts
	seeds, err := mutantSeeds()
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	for in := bufio.NewReader(os.Stdin); ; next++ {
		m, err := newMutant(seeds, next)
		if err != nil {
			return fmt.Errorf("mutant %d: %w", next, err)
		}
		v := verdict{Mutant: next, What: m.what, Began: true}
		if err := out.Encode(v); err != nil {
			return err
		}
		v.Began = false
		v.Code, v.Problem = m.try()
		if err := out.Encode(v); err != nil {
			return err
		}
		if _, err := in.ReadString('\n'); err != nil {
			return nil
		}
	}
}

// A mutantSeed is a model that mutants are made of, with a data set for it.
type mutantSeed struct {
	name  string
	model *onnxio.Model
	data  []byte // an .npz file
}

func mutantSeeds() ([]mutantSeed, error) {
	texts := modeltest.StructureTexts()
	texts["words"] = "ids: int N 6\ne = Gather(w[20 8], ids)\nh = MatMul(e, v[8 12])\nr = Relu(h)\nm = ReduceMean(r) axes=1 keepdims=0\ny = Gemm(m, u[12 3], b[3])\nopset 13"
	var out []mutantSeed
	for _, form := range slices.Concat(onnxtest.Forms(), onnxtest.Quantized()) {
		switch form.Name {
		case "attributes of opset 7", "axes and splits as inputs, opset 13", "recurrent and convolutional, opset 22", "between QuantizeLinear and DequantizeLinear":
			texts[form.Name] = form.Graph
		}
	}
	for name, text := range texts {
		m, err := onnxtest.Form{Name: name, Graph: text}.Model()
		if err != nil {
			return nil, err
		}
		data, err := noiseNPZ(m, 40)
		if err != nil {
			return nil, err
		}
		out = append(out, mutantSeed{name, m, data})
	}
	nested := bodies(4, 2)
	data, err := noiseNPZ(nested, 40)
	if err != nil {
		return nil, err
	}
	out = append(out, mutantSeed{"bodies, a function and a sparse weight", nested, data})
	slices.SortFunc(out, func(a, b mutantSeed) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

// noiseNPZ is an .npz file of n samples of noise for a model.
func noiseNPZ(m *onnxio.Model, n int) ([]byte, error) {
	inputs, err := engine.Inputs(m)
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var file bytes.Buffer
	z := zip.NewWriter(&file)
	for _, in := range inputs {
		dims, size, of := []int{n}, n, in.Dims
		if len(of) > 0 && of[0] < 0 { // else each sample is a whole input
			of = of[1:]
		}
		for _, d := range of {
			dims, size = append(dims, int(max(d, 1))), size*int(max(d, 1))
		}
		var x any
		if in.Type == onnxio.Int64 {
			ids := make([]int64, size)
			for i := range ids {
				ids[i] = int64(rng.IntN(20))
			}
			x = ids
		} else {
			v := make([]float32, size)
			for i := range v {
				v[i] = float32(rng.NormFloat64())
			}
			x = v
		}
		w, err := z.Create(in.Name + ".npy")
		if err == nil {
			_, err = w.Write(npyFile(dims, x))
		}
		if err != nil {
			return nil, err
		}
	}
	err = z.Close()
	return file.Bytes(), err
}

// npyFile is an .npy file with numbers, []float32 or []int64.
func npyFile(dims []int, x any) []byte {
	descr := "<f4"
	if _, ok := x.([]int64); ok {
		descr = "<i8"
	}
	shape := strings.Trim(strings.ReplaceAll(fmt.Sprint(dims), " ", ", "), "[]")
	head := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s,), }", descr, shape)
	head += strings.Repeat(" ", 117-len(head)) + "\n"
	out := append([]byte("\x93NUMPY\x01\x00"), byte(len(head)), 0)
	out, err := binary.Append(append(out, head...), binary.LittleEndian, x)
	if err != nil {
		panic(err)
	}
	return out
}

// A mutant is a folder with files, of which one was changed, and a command to do with them.
type mutant struct {
	what string
	dir  string
	args []string
}

const (
	mutantIn   = "in.onnx"
	mutantSide = "in.data"
	mutantGood = "good.onnx"
	mutantData = "data.npz"
	mutantOut  = "out.onnx"
)

// newMutant makes the mutant of a number.
func newMutant(seeds []mutantSeed, number int) (*mutant, error) {
	rng := rand.New(rand.NewPCG(20261130, uint64(number)))
	seed := seeds[number%len(seeds)]
	dir, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return nil, err
	}
	good, err := seed.model.Encode()
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{mutantIn: slices.Clone(good), mutantGood: good, mutantData: slices.Clone(seed.data)}
	how := "bytes"
	switch rng.IntN(12) {
	case 0, 1:
		flip(rng, files, mutantIn)
	case 2:
		how, files[mutantIn] = "fields", otherField(rng, good, 0)
	case 3:
		how, err = "external data", outside(rng, seed.model, files)
	case 4:
		how = "data set"
		flip(rng, files, mutantData)
	default: // onnxtest.Mutate knows what in a model may be wrong
		how = "graph"
		m, err := onnxio.Decode(good, "")
		if err != nil {
			return nil, err
		}
		program := make([]byte, 3+rng.IntN(5)) // one change, or two
		for i := range program {
			program[i] = byte(rng.Uint32())
		}
		onnxtest.Mutate(m.Proto, program)
		if files[mutantIn], err = proto.Marshal(m.Proto); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return nil, err
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	in, out, data, other := at(mutantIn), at(mutantOut), at(mutantData), at(mutantGood)
	commands := [][]string{
		{"inspect", in},
		{"inspect", in, "--json"},
		{"diff", in, other},
		{"diff", other, in, "--json"},
		{"convert", in, "-o", out, "--external-data"},
		{"convert", in, "-o", out, "--inline"},
		{"compress", in, "-o", out, "--keep", "0.5", "--data", "none", "--no-latency"},
		{"compress", in, "-o", out, "--lossless", "--no-latency"},
		{"compress", in, "-o", out, "--macs", "0.5", "--tune", "0", "--no-latency", "--data", data, "--json"},
		{"compress", in, "-o", out, "--keep", "0.5", "--tune", "1", "--no-latency", "--data", data},
		{"compress", in, "-o", out, "--keep", "0.5", "--tune", "0", "--refit-samples", "20"},
		{"compress", other, "-o", out, "--into", in, "--tune", "0", "--no-latency", "--data", data},
		{"fuse", other, in, "-o", out, "--tune", "0", "--data", data, "--weights", "0.5,0.5"},
		{"fuse", in, in, "-o", out, "--data", "none"},
		{"eval", other, in, "--no-latency", "--data", data},
		{"eval", in, "--runs", "1", "--data", "none"},
		{"sensitivity", in, "--data", data},
		{"compress", in, "-o", out, "--keep", "0.5", "--dtype", "int8", "--tune", "0", "--no-latency", "--data", data},
		{"compress", in, "-o", out, "--dtype", "fp16", "--data", "none", "--no-latency"},
		{"compress", in, "-o", out, "--dtype", "fp16", "--arithmetic", "--no-latency", "--data", data},
		{"diff", other, in, "--report", out + ".html"},
	}
	args := append(commands[rng.IntN(len(commands))], "--threads", "1")
	return &mutant{
		what: fmt.Sprintf("%s of %q, monge %s", how, seed.name, strings.ReplaceAll(strings.Join(args, " "), dir+"/", "")),
		dir:  dir, args: args,
	}, nil
}

// flip changes bytes of a file: single ones, or a piece that is left out, repeated or zero.
func flip(rng *rand.Rand, files map[string][]byte, name string) {
	b := files[name]
	for range 1 + rng.IntN(4) {
		if len(b) == 0 {
			break
		}
		from := rng.IntN(len(b))
		to := min(len(b), from+1+rng.IntN(64))
		switch rng.IntN(6) {
		case 0, 1:
			b[from] ^= byte(1 << rng.IntN(8))
		case 2:
			b[from] = byte(rng.Uint32())
		case 3:
			b = slices.Delete(b, from, to)
		case 4:
			b = slices.Insert(b, from, slices.Clone(b[from:to])...)
		default:
			b = b[:from]
		}
	}
	files[name] = b
}

// otherField changes one field of a message, at some depth: its number, its kind or its value, or it
// is left out or repeated.
func otherField(rng *rand.Rand, b []byte, depth int) []byte {
	type field struct{ from, value, to int }
	var fields []field
	for at := 0; at < len(b); {
		_, typ, n := protowire.ConsumeTag(b[at:])
		if n < 0 {
			break
		}
		m := protowire.ConsumeFieldValue(0, typ, b[at+n:])
		if m < 0 {
			break
		}
		fields = append(fields, field{at, at + n, at + n + m})
		at += n + m
	}
	if len(fields) == 0 {
		return b
	}
	f := fields[rng.IntN(len(fields))]
	number, typ, _ := protowire.ConsumeTag(b[f.from:])
	part := b[f.from:f.to]
	splice := func(with []byte) []byte { return slices.Concat(b[:f.from], with, b[f.to:]) }
	if inner, n := protowire.ConsumeBytes(b[f.value:]); typ == protowire.BytesType && n > 0 && len(inner) > 2 && depth < 6 && rng.IntN(8) > 0 {
		return splice(protowire.AppendBytes(protowire.AppendTag(nil, number, typ), otherField(rng, inner, depth+1)))
	}
	odd := []uint64{0, 1, 1 << 31, 1 << 40, 1<<63 - 1, 1 << 63, 1<<64 - 1, uint64(rng.IntN(64))}
	switch rng.IntN(5) {
	case 0:
		return splice(nil)
	case 1:
		return splice(slices.Concat(part, part))
	case 2:
		return splice(protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), odd[rng.IntN(len(odd))]))
	case 3:
		names := []string{"", "a\x1b[31mb", "../../x", strings.Repeat("n", 5000), "x", "\xff\xfe"}
		return splice(protowire.AppendString(protowire.AppendTag(nil, number, protowire.BytesType), names[rng.IntN(len(names))]))
	default:
		return splice(protowire.AppendVarint(protowire.AppendTag(nil, protowire.Number(1+rng.IntN(30)), protowire.VarintType), odd[rng.IntN(len(odd))]))
	}
}

// outside puts a weight into a data file, at a place that may be wrong.
func outside(rng *rand.Rand, of *onnxio.Model, files map[string][]byte) error {
	m := of.Clone()
	weights := m.Proto.Graph.Initializer
	w := weights[rng.IntN(len(weights))]
	t, err := m.Tensor(w)
	if err != nil {
		return err
	}
	raw := t.Proto().GetRawData()
	places := []string{"0", strconv.Itoa(len(raw)), "-1", "1", "9223372036854775807", "18446744073709551616", "", "0x10", "4096"}
	names := []string{mutantSide, mutantSide, mutantSide, "../" + mutantSide, "/etc/hostname", "", ".", "nothing", mutantIn, "/dev/zero", "a\x1b]0;b"}
	place := map[string]string{"location": names[rng.IntN(len(names))], "offset": "0", "length": strconv.Itoa(len(raw))}
	place[[]string{"offset", "length", "checksum"}[rng.IntN(3)]] = places[rng.IntN(len(places))]
	w.RawData, w.FloatData, w.Int64Data, w.Int32Data = nil, nil, nil, nil
	w.DataLocation = onnxpb.TensorProto_EXTERNAL.Enum()
	w.ExternalData = nil
	for k, v := range place {
		w.ExternalData = append(w.ExternalData, &onnxpb.StringStringEntryProto{Key: &k, Value: &v})
	}
	slices.SortFunc(w.ExternalData, func(a, b *onnxpb.StringStringEntryProto) int { return strings.Compare(a.GetKey(), b.GetKey()) })
	files[mutantSide] = raw[:len(raw)-rng.IntN(2)*rng.IntN(len(raw)+1)]
	files[mutantIn], err = proto.Marshal(m.Proto)
	return err
}

// try does the command, and says what is wrong about what it did, or "".
func (m *mutant) try() (code int, problem string) {
	defer os.RemoveAll(m.dir)
	before, err := contents(m.dir)
	if err != nil {
		return 0, err.Error()
	}
	temporary := filepath.Join(m.dir, "tmp")
	if err := os.Mkdir(temporary, 0o755); err != nil {
		return 0, err.Error()
	}
	os.Setenv("TMPDIR", temporary)
	defer os.Unsetenv("TMPDIR")
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // the high-water mark begins anew
	var stdout, stderr bytes.Buffer
	a := &app{stdout: &stdout, stderr: &stderr, runtime: engine.Available, version: "v0-test"}
	code = a.run(context.Background(), m.args)
	var wrong []string
	say := func(is bool, format string, args ...any) {
		if is {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	peak, err := memory.Peak()
	say(err == nil && peak > mostMutantMemory, "took %d MB", peak>>20)
	say(code < exitOK || code > exitUsage, "no such exit code")
	say(badLine(code, stderr.String()) != "", "%s", badLine(code, stderr.String()))
	say(code != exitOK && stdout.Len() > 0, "printed a result: %.300s", &stdout)
	after, err := contents(m.dir)
	say(err != nil, "%v", err)
	for name, content := range before {
		say(!bytes.Equal(content, after[name]), "%s was changed", name)
		delete(after, name)
	}
	if code == exitOK {
		if _, written := after[mutantOut]; written {
			_, err := onnxio.Load(filepath.Join(m.dir, mutantOut))
			say(err != nil, "what was written cannot be read: %v", err)
		}
	}
	for name := range after {
		say(code != exitOK || !strings.HasPrefix(name, mutantOut), "%s was left behind", name)
	}
	return code, strings.Join(wrong, "; ")
}

// tells is how each line begins that the program writes for a person.
var tells = regexp.MustCompile(`^monge: \S`)

// badLine is what is not as it should be on stderr: lines that are not the program's own, a stack,
// an error that is none of the input's but a mistake of the program, or no error where there should
// be one.
func badLine(code int, stderr string) string {
	lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
	if stderr == "" {
		lines = nil
	}
	for _, line := range lines {
		if !tells.MatchString(line) || strings.Contains(line, "internal error") || strings.Contains(line, "goroutine ") || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' }) {
			return fmt.Sprintf("stderr has %.500q", line)
		}
	}
	if code != exitOK && len(lines) == 0 {
		return "no error is told"
	}
	return ""
}

// contents are those of all files in a folder, its empty folders left out.
func contents(dir string) (map[string][]byte, error) {
	out := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err == nil {
			out[name], err = os.ReadFile(path)
		}
		return err
	})
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("the folder has changed meanwhile: %w", err)
	}
	return out, err
}

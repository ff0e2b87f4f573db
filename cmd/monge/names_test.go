package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/internal/progress"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// hostile is what names end in that want to move the cursor: an escape sequence, a bell, line
// breaks, CSI in one character, and marks that turn the direction of writing.
const hostile = "\x1b[31mR\a\b\n\r\t\u009b2J\u202e\u2028\x7f"

// rename appends to every string of a message that is a name, but not to operators and domains.
func rename(m protoreflect.Message, suffix string) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() != nil && f.IsList():
			for i := range v.List().Len() {
				rename(v.List().Get(i).Message(), suffix)
			}
		case f.Message() != nil:
			rename(v.Message(), suffix)
		case f.Kind() != protoreflect.StringKind || f.Name() == "op_type" || f.Name() == "domain",
			f.Name() == "name" && m.Descriptor().Name() == "AttributeProto":
		case f.IsList():
			for i := range v.List().Len() {
				if s := v.List().Get(i).String(); s != "" {
					v.List().Set(i, protoreflect.ValueOfString(s+suffix))
				}
			}
		case v.String() != "":
			m.Set(f, protoreflect.ValueOfString(v.String()+suffix))
		}
		return true
	})
}

// unprintable returns the first character of a text that may do something to a terminal.
func unprintable(text string) string {
	for i, r := range text {
		if r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD") || r != '\n' && !strconv.IsPrint(r) {
			return fmt.Sprintf("%q in %q", r, text[max(0, i-40):min(len(text), i+40)])
		}
	}
	return ""
}

// namesModel has names that end in a suffix everywhere, and something to say of all of them: spaces
// that may change and that may not, dead channels, a second output, metadata, named sizes.
func namesModel(t *testing.T, suffix string, parts ...onnxtest.Part) *onnxio.Model {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	dead := onnxio.NewTensor("dead", onnxio.Float, []int{8, 12}, make([]float64, 96)).Proto()
	m := onnxtest.Model(onnxtest.Values(onnxtest.Value("x", "batch", 8)), onnxtest.Values(onnxtest.Value("y", "batch", 3), onnxtest.Value("z", "batch", 12)),
		append([]onnxtest.Part{
			onnxtest.Node("MatMul", "x a", "h"), onnxtest.Node("Relu", "h", "r"), onnxtest.Node("MatMul", "r b", "y"),
			onnxtest.Node("MatMul", "x dead", "d"), onnxtest.Node("Sin", "d", "s"), onnxtest.Node("CumSum", "s axis", "z"),
			onnxtest.Weights("a", []int{8, 16}, rng), onnxtest.Weights("b", []int{16, 3}, rng), onnxtest.RawInitializer(dead),
			onnxtest.Ints("axis", 1), onnxtest.Weights("unused", []int{4}, rng),
		}, parts...)...)
	p := m.Proto
	p.ProducerName, p.ProducerVersion, p.DocString, p.Graph.Name = new("producer"), new("1"), new("doc"), new("graph")
	p.MetadataProps = []*onnxpb.StringStringEntryProto{{Key: new("key"), Value: new("value")}}
	rename(p.ProtoReflect(), suffix)
	return m
}

// Whatever models, files and arrays are called, nothing of it reaches the terminal as it is: tables,
// errors, notes, warnings, lines of progress, JSON.
func TestHostileNames(t *testing.T) {
	enginetest.Require(t)
	for kind, suffix := range map[string]string{"characters": hostile, "bytes": "\x1b]0;t\a\xff\xc3\x80"} {
		dir := t.TempDir()
		save := func(name string, m *onnxio.Model) string {
			path := filepath.Join(dir, name+suffix+".onnx")
			raw, err := proto.Marshal(m.Proto)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, raw, 0o666); err != nil {
				t.Fatal(err)
			}
			return path
		}
		m := save("m", namesModel(t, suffix))
		other := save("other", namesModel(t, suffix, onnxtest.Node("Relu", "y", "more")))
		broken := save("broken", namesModel(t, suffix, onnxtest.Node("Add", "x ghost", "p")))
		twice := save("twice", namesModel(t, suffix, onnxtest.Floats("a", nil, 1)))
		unknown := save("unknown", namesModel(t, suffix, onnxtest.Node("Strange"+suffix, "x", "p")))
		shaped := save("shaped", namesModel(t, suffix, onnxtest.Node("MatMul", "x b", "p")))
		mlp := modeltest.Dir("mlp_a.onnx")
		npz := modeltest.Dir("mnist_calib.npz")
		for _, args := range [][]string{
			{"inspect", m}, {"inspect", m, "--input-shape", "x" + suffix + "=2x8"}, {"inspect", m, "--input-shape", suffix},
			{"inspect", unknown}, {"inspect", shaped},
			{"inspect", broken}, {"inspect", twice}, {"inspect", filepath.Join(dir, "none"+suffix)}, {"inspect" + suffix}, {"inspect", "--" + suffix},
			{"compress", m, "--keep", "0.5", "--data", "none"}, {"compress", m, "--keep", "0.5", "--data", npz}, {"compress", m, "--lossless"},
			{"compress", m, "--keep", "0.5" + suffix},
			{"compress", unknown, "--lossless"}, {"compress", shaped, "--keep", "0.5", "--data", "none"},
			{"fuse", m, m, "--data", "none"}, {"fuse", m, other, "--data", "none"}, {"fuse", m, mlp, "--data", "none"},
			{"eval", m, m, "--data", "none"}, {"eval", m, mlp, "--data", "none"}, {"eval", m, "--data", npz}, {"eval", m, "--data", suffix}, {"eval", unknown, "--data", "none"},
			{"convert", m, "--external-data"}, {"convert", broken}, {"diff", m, mlp}, {"diff", m, other},
		} {
			if c := args[0]; c == "compress" || c == "fuse" || c == "convert" {
				args = append(args, "-o", filepath.Join(dir, "out"+suffix+".onnx"), "--force")
			}
			if c := args[0]; c == "compress" || c == "fuse" {
				args = append(args, "--tune", "0")
			}
			forms := []string{"", "--json"}
			page := filepath.Join(dir, "page.html")
			if slices.Contains([]string{"compress", "fuse", "eval", "diff"}, args[0]) {
				forms = append(forms, "--report "+page)
			}
			for _, form := range forms {
				_ = os.Remove(page)
				r := run(t, append(args, strings.Fields(form)...)...)
				html, _ := os.ReadFile(page)
				for _, text := range []string{r.stdout, r.stderr, string(html)} {
					if bad := unprintable(text); bad != "" {
						t.Errorf("%s: monge %q %s prints %s", kind, args, form, bad)
					}
				}
				if r.code != exitOK && strings.Count(r.stderr, "monge: ") == 0 {
					t.Errorf("%s: monge %q %s: exit code %d without a word", kind, args, form, r.code)
				}
				if form == "--json" && r.code == exitOK && !json.Valid([]byte(r.stdout)) {
					t.Errorf("%s: monge %q: no JSON", kind, args)
				}
			}
		}
		if r := run(t, "inspect", m); r.code != exitOK || !strings.Contains(r.stdout, `\x1b`) {
			t.Errorf("%s: monge inspect, exit code %d, does not quote names: %s%s", kind, r.code, r.stdout, r.stderr)
		}
	}
}

// Stages of work may be called after models.
func TestHostileStages(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		var stderr bytes.Buffer
		synctest.Test(t, func(*testing.T) {
			d := progress.Plain(&stderr)
			if terminal {
				d = progress.OnTerminal(&stderr, func() int { return 200 })
			}
			a := &app{stderr: &stderr, stdout: &stderr, display: d, terminal: terminal, runtime: engine.Available}
			tell := a.progress()
			for done := range 3 { // plain lines tell only of what takes long
				tell("model"+hostile+": select", done, 3)
				time.Sleep(time.Minute)
			}
			d.Close()
		})
		if !strings.Contains(stderr.String(), "model") || !strings.Contains(stderr.String(), stageNames["select"]) {
			t.Errorf("on a terminal %t: the stage is not told: %q", terminal, &stderr)
		}
		for _, c := range []string{"\x1b[31m", "\a", "\b", "\u009b", "\u202e", "\u2028", "\n\r"} {
			if strings.Contains(stderr.String(), c) {
				t.Errorf("on a terminal %t: %q is written as it is", terminal, c)
			}
		}
	}
}

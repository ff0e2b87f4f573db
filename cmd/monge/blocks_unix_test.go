//go:build unix

package main

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/latency/latencytest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// programs are the first words of a block that is to be typed in, beside those behind a "$ ".
var programs = []string{"monge", "make", "kubectl", "sbatch", "pip", "python", "docker", "go", "curl", "bash", "sh"}

// commandsOf are the commands in the blocks of a document: lines that begin with "$ ", with those
// that continue them, or whole blocks that begin with a program.
func commandsOf(text string) (out []string) {
	for _, b := range regexp.MustCompile("(?ms)^```(?:sh|bash)?\n(.*?)^```").FindAllStringSubmatch(text, -1) {
		lines := strings.Split(strings.TrimRight(b[1], "\n"), "\n")
		typed := slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "$ ") })
		first := strings.Fields(regexp.MustCompile(`^(?:[A-Z]+=(?:'[^']*'|\S*) )*`).ReplaceAllString(lines[0], ""))
		if !typed && (len(first) == 0 || !slices.Contains(programs, first[0])) {
			continue
		}
		for i := 0; i < len(lines); i++ {
			line, ok := strings.CutPrefix(lines[i], "$ ")
			if typed && !ok {
				continue
			}
			for strings.HasSuffix(line, "\\") && i+1 < len(lines) {
				i++
				line += "\n" + lines[i]
			}
			out = append(out, line)
		}
	}
	return out
}

func TestCommandsOf(t *testing.T) {
	text := "```\n$ monge a \\\n    b\nresult\n$ sed x\n```\n```\nop,inputs\n```\nA=b C='d e' sbatch x\n```\nA=b C='d e' sbatch x\n```\n```go\nmonge\n```\n```\nmonge: what it says\n```\n"
	if got, want := fmt.Sprintf("%q", commandsOf(text)), fmt.Sprintf("%q", []string{"monge a \\\n    b", "sed x", "A=b C='d e' sbatch x"}); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// stand-ins for programs, in a folder of their own: monge is this program, with less to do; of
// others it is checked that they are given what there is.
var standIns = map[string]string{
	"monge": `export MONGE_TEST_AS_PROGRAM=1
case " $* " in
*" runtime install "*) exit ;; # there is one
*" --max-drop "*) few="--limit 120" ;;
*" compress "*" --latency "*) few="--tune 1 --limit 120 --latency-table table.json" ;; # no matter what else the machine does
*" compress "*" --macs "* | *" compress "*" --keep "* | *" fuse "*" --data "*) few="--tune 1 --limit 120" ;;
*" compress "*" --data "* | *" sensitivity "* | *" explore "*" --data "* | *" eval "*" --data "*) few="--limit 120" ;;
esac
exec "$PROGRAM" "$@" $few`,
	"make":    `grep -q "^$1:" "$REPOSITORY/Makefile" || { echo "no target $1" >&2; exit 1; }`,
	"kubectl": `for a; do case $a in --from-file=*) cat "${a#*=}" >/dev/null || exit 1 ;; *.yaml) cat "$a" >/dev/null || exit 1 ;; esac; done`,
	"sbatch":  `for script; do :; done; SLURM_ARRAY_TASK_ID=0 exec bash "$script"`,
	"pip":     `[ "$1" = install ] && [ "$2" = monge-onnx ]`,
	"python":  `echo 0.5`,
}

// photographs makes a folder of random pictures, and a network that takes them.
func photographs(t *testing.T, dir string) {
	t.Helper()
	m, err := onnxtest.Parse(`
		input: N 3 16 16
		a = Conv(input, w[16 3 3 3], u[16]) strides=[2,2]
		b = Relu(a)
		c = Conv(b, v[16 16 3 3]) strides=[2,2]
		d = Relu(c)
		p = GlobalAveragePool(d)
		f = Flatten(p)
		logits = Gemm(f, x[16 10])`)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"model.onnx", "half.onnx"} { // some half that was made before
		if err := onnxio.Save(context.Background(), filepath.Join(dir, name), m, onnxio.SaveOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := latencytest.Table(t, m, 4).Save(filepath.Join(dir, "table.json")); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 120 {
		p := image.NewRGBA(image.Rect(0, 0, 16, 16))
		for k := range 256 {
			p.Set(k%16, k/16, color.RGBA{uint8(rng.UintN(256)), uint8(k * i), uint8(rng.UintN(256)), 255})
		}
		f, err := os.Create(filepath.Join(dir, "photos", fmt.Sprint(i, ".png")))
		if err == nil {
			err = png.Encode(f, p)
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
}

// Every command in a block of the documents works, one after the other as they stand there.
func TestBlocks(t *testing.T) {
	enginetest.Require(t)
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	for name, text := range standIns {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!"+bash+"\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	docs, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	commands := 0
	for _, doc := range append(docs, filepath.Join(root, "README.md"), filepath.Join(root, "CONTRIBUTING.md"), filepath.Join(root, "python", "README.md")) {
		name, err := filepath.Rel(root, doc)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, d := range []string{"photos", "models"} {
				if err := os.Mkdir(filepath.Join(dir, d), 0o777); err != nil {
					t.Fatal(err)
				}
			}
			for link, to := range map[string]string{"testdata": root + "/testdata", "examples": root + "/examples", "bench": root + "/bench", "images": "photos", "models/small.onnx": "../model.onnx", "boxes.py": root + "/examples/boxes.py"} {
				if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
					t.Fatal(err)
				}
			}
			// The test binary looks for the module that it is of.
			if err := os.WriteFile(filepath.Join(dir, "go.mod"), nil, 0o666); err != nil {
				t.Fatal(err)
			}
			list := commandsOf(document(t, filepath.ToSlash(name)))
			if len(list) > 0 {
				photographs(t, dir)
			}
			commands += len(list)
			for _, c := range list {
				cmd := exec.Command(bash, "-c", c)
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "PROGRAM="+os.Args[0], "REPOSITORY="+root)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%s\n%v\n%s", c, err, out)
				}
			}
		})
	}
	if commands < 15 {
		t.Errorf("only %d commands", commands)
	}
}

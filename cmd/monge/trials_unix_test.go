//go:build unix

package main

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/monge-ml/monge/internal/files"
	"github.com/monge-ml/monge/onnxio"
)

// trialCount, in the environment, is how often each trial is made, instead of few times.
const trialCount = "MONGE_TRIALS"

func trials(t *testing.T, few int) int {
	t.Helper()
	text := os.Getenv(trialCount)
	if text == "" {
		return few
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", trialCount, err)
	}
	return n
}

// content is that of a model with its data file, whatever that is called; "" where there is none.
func content(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	m, err := onnxio.Load(path)
	if err != nil {
		return err.Error()
	}
	list, err := filesOf([]*onnxio.Model{m})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list[1:] {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		raw = append(raw, data...)
	}
	return string(raw)
}

// stray lists the files in a folder that are none of a model's at a path.
func stray(t *testing.T, dir, path string) (list []string) {
	t.Helper()
	var known []string
	if m, err := onnxio.Load(path); err == nil {
		if known, err = filesOf([]*onnxio.Model{m}); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(known, filepath.Join(dir, e.Name())) {
			list = append(list, e.Name())
		}
	}
	return list
}

// place puts a model with its data file where another may stand.
func place(t *testing.T, from, path string) {
	t.Helper()
	dir := filepath.Dir(path)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// untilWritten waits until a process has a temporary file in a folder, or has ended.
func untilWritten(dir string, ended <-chan error, most time.Duration) {
	for end := time.Now().Add(most); time.Now().Before(end) && len(ended) == 0; {
		entries, _ := os.ReadDir(dir)
		if slices.ContainsFunc(entries, func(e os.DirEntry) bool { return files.IsTemp(e.Name()) }) {
			return
		}
		time.Sleep(200 * time.Microsecond)
	}
}

// A killing is a command that is killed again and again.
type killing struct {
	name string
	few  int // trials with each signal
	args []string
}

// A killed command leaves the old model or the new one, whole, whenever that happens, and says by its
// exit code which; the next one cleans up.
func TestKilled(t *testing.T) {
	calib := data(t, "mnist_calib")
	inputs := t.TempDir()
	a, b := filepath.Join(inputs, "a.onnx"), filepath.Join(inputs, "b.onnx")
	must(t, "convert", model("mlp_a"), "-o", a, "--external-data", "-q")
	must(t, "convert", model("mlp_b"), "-o", b, "--external-data", "-q")
	few := with(calib, "--limit", "40", "--tune", "0", "-q")
	before := hashes(t, inputs)
	for _, k := range []killing{
		{"convert", 8, []string{"convert", b, "-q"}},
		{"inline", 8, []string{"convert", b, "--inline", "-q"}},
		{"compress", 2, with(few, "compress", b, "--keep", "0.5", "--no-latency")},
		{"compress inline", 2, with(few, "compress", model("mlp_b"), "--keep", "0.5", "--no-latency")},
		{"fuse", 2, with(few, "fuse", a, b, "--weights", "0.5,0.5")},
		{"fuse inline", 2, with(few, "fuse", model("mlp_a"), model("mlp_b"), "--weights", "0.5,0.5")},
	} {
		t.Run(k.name, func(t *testing.T) { k.run(t, a) })
	}
	if !maps.Equal(before, hashes(t, inputs)) {
		t.Error("an input has changed")
	}
}

// run kills the command, which writes over another version of the model a.
func (k killing) run(t *testing.T, a string) {
	old, out, temp := t.TempDir(), filepath.Join(t.TempDir(), "out"), t.TempDir()
	path := filepath.Join(out, "out.onnx")
	args := append(slices.Clone(k.args), "-o", path)
	must(t, "convert", a, "-o", filepath.Join(old, "out.onnx"), "-q")
	place(t, old, path)
	was, start := content(t, path), time.Now()
	if text, err := program(temp, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	took, want := time.Since(start), content(t, path)
	rng := rand.New(rand.NewPCG(7, 7))
	outcomes := map[string]int{}
	signals := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGHUP}
	for i := range trials(t, k.few) * len(signals) {
		s := signals[i%len(signals)]
		place(t, old, path)
		code, stderr := kill(t, program(temp, args...), s, func(ended <-chan error) {
			if rng.IntN(2) == 0 {
				time.Sleep(time.Duration(1.1 * rng.Float64() * float64(took)))
			} else { // when it matters most
				untilWritten(out, ended, 3*took)
				time.Sleep(time.Duration(rng.Float64() * float64(12*time.Millisecond)))
			}
		})
		got, what := content(t, path), "old"
		switch got {
		case was:
		case want:
			what = "new"
		default:
			what = "neither"
			t.Errorf("%v: exit code %d, the model is neither the old one nor the new: %.200q", s, code, got)
		}
		outcomes[fmt.Sprintf("%v: %s, exit code %d", s, what, code)]++
		if code == exitInterrupted && what != "old" || code == exitOK && what != "new" || code > 0 && code != exitInterrupted {
			t.Errorf("%v: exit code %d, the model is the %s one: %s", s, code, what, stderr)
		}
		if left := stray(t, out, path); code >= 0 && len(left) > 0 {
			t.Errorf("%v: exit code %d, left behind: %q", s, code, left)
		}
		if text, err := program(temp, "convert", a, "-o", path, "-q").CombinedOutput(); err != nil {
			t.Fatalf("next run: %v: %s", err, text)
		}
		if got, left := content(t, path), stray(t, out, path); got != was || len(left) > 0 {
			t.Errorf("%v: the next run wrote %.200q and left %q", s, got, left)
		}
		empty(t, temp)
	}
	for _, o := range slices.Sorted(maps.Keys(outcomes)) {
		t.Logf("%4d %s", outcomes[o], o)
	}
}

// kill starts a command, waits as told, sends a signal, and returns how the command ended: the exit
// code, -1 where the signal ended it.
func kill(t *testing.T, cmd *exec.Cmd, s syscall.Signal, wait func(ended <-chan error)) (code int, said string) {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	wait(ended)
	_ = cmd.Process.Signal(s) // it may have ended
	code = exitCode(t, <-ended)
	return code, stderr.String()
}

// Of several that write to one path at the same time one wins, whole.
func TestTwoWriters(t *testing.T) {
	base := t.TempDir()
	dir, temp := filepath.Join(base, "out"), filepath.Join(base, "temp")
	path := filepath.Join(dir, "out.onnx")
	want := map[string]string{}
	for _, name := range []string{"mlp_a", "mlp_b"} {
		place(t, t.TempDir(), path)
		must(t, "convert", model(name), "-o", path, "--external-data", "-q")
		want[content(t, path)] = name
	}
	if err := os.MkdirAll(temp, 0o755); err != nil {
		t.Fatal(err)
	}
	wins := map[string]int{}
	for i := range trials(t, 30) {
		place(t, t.TempDir(), path)
		if i%3 == 0 { // there is an older one
			must(t, "convert", model("mlp_wide"), "-o", path, "--external-data", "-q")
		}
		var cmds []*exec.Cmd
		var stderr bytes.Buffer
		for _, name := range []string{"mlp_a", "mlp_b", "mlp_a"}[:2+i%2] {
			cmd := program(temp, "convert", model(name), "-o", path, "--external-data", "-q")
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			cmds = append(cmds, cmd)
		}
		for _, cmd := range cmds {
			if code := exitCode(t, cmd.Wait()); code != exitOK {
				t.Errorf("exit code %d: %s", code, &stderr)
			}
		}
		won := want[content(t, path)]
		wins[won]++
		if won == "" {
			t.Errorf("the model is none of those that were written: %.200q", content(t, path))
		}
		if left := stray(t, dir, path); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
		empty(t, temp)
	}
	t.Log(wins)
}

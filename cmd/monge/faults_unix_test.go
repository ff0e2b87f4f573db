//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// program is this program with arguments, to be run by itself with temporary files in a folder.
func program(temp string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1", "TMPDIR="+temp)
	return cmd
}

// exitCode is that of a command that has ended; -1 if a signal ended it.
func exitCode(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	t.Fatal(err)
	return 0
}

// What cannot be printed or sent is an error in every command.
func TestFullDevice(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	calib := data(t, "mnist_calib")
	tried := map[string]bool{"man": true} // it prints nothing
	for _, args := range [][]string{
		{"inspect", model("mlp_a")},
		{"diff", model("mlp_a"), model("mlp_b")},
		with(calib, "eval", model("mlp_a"), "--limit", "20", "--no-latency"),
		{"compress", model("mlp_a"), "-o", out(t), "--keep", "0.5", "--data", "none"},
		{"compress", model("mlp_a"), "--dry-run", "--keep", "0.5", "--data", "none"},
		{"fuse", model("mlp_a"), model("mlp_b"), "-o", out(t)},
		with(calib, "sensitivity", model("mlp_a"), "--limit", "20"),
		{"latency", model("cnn_a"), "--latency-table", latencyTable(t)},
		{"convert", model("mlp_a"), "-o", out(t)},
		{"convert", model("mlp_a"), "-o", "-"},
		{"convert", model("mlp_a"), "-o", "/dev/stdout"},
		{"convert", model("mlp_a"), "-o", "/dev/full"},
		{"runtime"},
		{"version"},
		{"--help"},
		append(with(data(t, "mnist_calib"), "explore", model("mlp_a"), "-o", "FOLDER", "--at", "0.5"), "--limit", "60"),
		{"compress", "--help"},
		{"completion", "bash"},
	} {
		tried[args[0]] = true
		for _, format := range []string{"", "--json"} {
			var stderr bytes.Buffer
			a := &app{stdout: full, stderr: &stderr, runtime: engine.Available, version: "v0-test"}
			full := slices.Clone(args)
			if at := slices.Index(full, "FOLDER"); at > 0 {
				full[at] = t.TempDir()
			}
			if format != "" {
				full = append(full, format)
			}
			code := a.run(t.Context(), full)
			if code != exitFailed || !strings.Contains(stderr.String(), "cannot be written: no space left on device") {
				t.Errorf("%v: exit code %d: %s", full, code, &stderr)
			}
		}
	}
	for _, c := range new(app).root().Commands() {
		if !tried[c.Name()] {
			t.Errorf("monge %s was not tried", c.Name())
		}
	}
}

// Standard output may have other names, and a file behind it: the model goes where it stands, and
// nothing takes its place.
func TestOutputToOpenFiles(t *testing.T) {
	want := []byte(must(t, "convert", model("mlp_a"), "-o", "-", "--quiet"))
	for _, name := range []string{"-", "/dev/stdout", "/dev/fd/1", "link", "/dev/fd/3"} {
		dir, temp := t.TempDir(), t.TempDir()
		if err := os.Symlink("/dev/stdout", filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
		file, err := os.OpenFile(filepath.Join(dir, "file"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(file, "before "); err != nil {
			t.Fatal(err)
		}
		path := name
		if name == "link" {
			path = filepath.Join(dir, name)
		}
		cmd := program(temp, "convert", model("mlp_a"), "-o", path)
		if name == "/dev/fd/3" {
			cmd.ExtraFiles = []*os.File{file}
		} else {
			cmd.Stdout = file
		}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Run(); err != nil {
			t.Errorf("%s: %v: %s", name, err, &stderr)
		}
		if _, err := io.WriteString(file, " after"); err != nil {
			t.Fatal(err)
		}
		file.Close()
		got, err := os.ReadFile(filepath.Join(dir, "file"))
		if err != nil || string(got) != "before "+string(want)+" after" {
			t.Errorf("%s: %d bytes, %v, want %d", name, len(got), err, len(want)+len("before  after"))
		}
		if info, err := os.Lstat("/dev/stdout"); err == nil && info.Mode().IsRegular() {
			t.Fatalf("%s: /dev/stdout was replaced", name)
		}
		empty(t, dir, "file", "link")
		empty(t, temp)
	}
}

// To append a model to itself needs --force as well.
func TestStdoutIsInput(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.onnx")
	copyFile(t, model("mlp_a"), path)
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := program(t.TempDir(), "convert", path, "-o", "-")
	cmd.Stdout = file
	if code := exitCode(t, cmd.Run()); code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	if _, err := onnxio.Load(path); err != nil {
		t.Error(err)
	}
}

// Whatever a command waits for or works at, it ends within a second of a signal: pipes, inputs, huge
// graphs, statistics, the planning of widths, fits. A distillation ends with its result (TestSignals).
func TestSignalsAreHeard(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"pipe.onnx", "pipe.npz"} {
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Skip(err)
		}
	}
	chain, relus := modeltest.Chain(t, 400), strings.Builder{}
	relus.WriteString("t0: N 8\n")
	const nodes = 300_000
	for i := range nodes {
		fmt.Fprintf(&relus, "t%d = Relu(t%d)\n", i+1, i)
	}
	huge, err := onnxtest.Parse(relus.String())
	if err != nil {
		t.Fatal(err)
	}
	noise, err := noiseNPZ(chain, 256)
	if err != nil {
		t.Fatal(err)
	}
	models := t.TempDir()
	at := func(name string) string { return filepath.Join(models, name) }
	for name, m := range map[string]*onnxio.Model{at("chain.onnx"): chain, at("huge.onnx"): huge} {
		if err := onnxio.Save(t.Context(), name, m, onnxio.SaveOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	write(t, at("noise.npz"), noise)
	pipe, pipedData, result := filepath.Join(dir, "pipe.onnx"), filepath.Join(dir, "pipe.npz"), filepath.Join(dir, "out.onnx")
	calib := data(t, "mnist_calib")
	chained := []string{"compress", at("chain.onnx"), "-o", result, "--macs", "0.5", "--data", at("noise.npz"), "--tune", "0", "--no-latency"}
	for i, c := range []struct {
		after time.Duration
		args  []string
	}{
		{700, []string{"inspect", pipe}},
		{700, []string{"convert", pipe, "-o", result}},
		{700, []string{"convert", model("mlp_a"), "-o", pipe}},
		{700, []string{"eval", model("mlp_a"), "--data", pipedData}},
		{700, []string{"compress", model("mlp_a"), "-o", result, "--keep", "0.5", "--data", pipedData}},
		{700, with(calib, "eval", model("mlp_a"), "--runs", "1000000000")},
		{700, []string{"inspect", at("huge.onnx")}},
		{1500, []string{"diff", at("huge.onnx"), at("huge.onnx")}},
		{700, []string{"compress", at("huge.onnx"), "-o", result, "--keep", "0.5"}},
		{1000, chained},
		{2000, chained},
		{4000, chained},
		{500, append(chained[:4:4], "--keep", "0.5", "--data", at("noise.npz"), "--tune", "0", "--no-latency")},
	} {
		s := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}[i%3]
		temp := t.TempDir()
		cmd := program(temp, c.args...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(c.after * time.Millisecond)
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		sent := time.Now()
		code := exitCode(t, cmd.Wait())
		if took := time.Since(sent); code != exitInterrupted || took > 2*time.Second || !strings.Contains(stderr.String(), "monge: interrupted") {
			t.Errorf("%v, %v: exit code %d after %v: %s", c.args, s, code, took, &stderr)
		}
		empty(t, dir, "pipe.onnx", "pipe.npz")
		empty(t, temp)
	}
}

// What a run that was killed has left is removed by the next, which says so.
func TestLeftoversAreTold(t *testing.T) {
	dir, temp := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temp)
	write(t, filepath.Join(temp, "monge-0123456789abcdef.tmp", "model.onnx"), []byte("what onnxruntime was to read"))
	path := filepath.Join(dir, "out.onnx")
	for _, name := range []string{".monge-0123456789abcdef.tmp", ".monge.tmp", ".other-0.tmp"} {
		write(t, filepath.Join(dir, name), []byte("half a model"))
	}
	for i, want := range []bool{true, false} {
		r := run(t, "convert", model("mlp_a"), "-o", path)
		if r.code != exitOK || strings.Contains(r.stderr, ".monge-0123456789abcdef.tmp: removed") != want {
			t.Errorf("run %d: exit code %d: %s", i+1, r.code, r.stderr)
		}
		empty(t, dir, "out.onnx", ".monge.tmp", ".other-0.tmp")
		empty(t, temp)
	}
}

// Under nohup a terminal that goes away is not heard of.
func TestNohup(t *testing.T) {
	nohup, err := exec.LookPath("nohup")
	if err != nil {
		t.Skip(err)
	}
	path := filepath.Join(t.TempDir(), "pipe.onnx")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	cmd := program(t.TempDir(), os.Args[0], "inspect", path)
	cmd.Path, cmd.Args = nohup, append([]string{"nohup"}, cmd.Args[1:]...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	raw, err := os.ReadFile(modeltest.Dir("mlp_a.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(path, os.O_RDWR, 0) // waits for nobody
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		pipe.Write(raw)
		pipe.Close()
	}()
	if code := exitCode(t, cmd.Wait()); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

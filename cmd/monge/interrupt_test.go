package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/progress"
	"github.com/monge-ml/monge/internal/tune"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/report"
)

// asProgram, in the environment, makes the test binary the program.
const asProgram = "MONGE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if from := os.Getenv(asMutants); from != "" {
		if err := mutants(from); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv(asProgram) != "" {
		main()
		os.Exit(exitOK) // a main that returns has done its work, and no test is wanted
	}
	os.Exit(m.Run())
}

// endless distils for longer than any test.
var endless = []string{"--keep", "0.5", "--tune", "1000000", "--no-latency"}

// Signals to the program itself, sent once it says that it distils: the first has the result
// written, two at once have nothing written.
func TestSignals(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no signals can be sent there")
	}
	calib := data(t, "mnist_calib")
	for _, c := range []struct {
		name    string
		signals []os.Signal
		code    int
		says    string
	}{
		{"once", []os.Signal{os.Interrupt}, exitOK, "interrupted: the distillation ends"},
		{"terminated", []os.Signal{syscall.SIGTERM}, exitOK, "interrupted: the distillation ends"},
		{"twice", []os.Signal{os.Interrupt, syscall.SIGTERM}, exitInterrupted, "interrupted; nothing was written"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := out(t)
			cmd := exec.Command(os.Args[0], with(calib, with(endless, "compress", model("mlp_a"), "-o", path)...)...)
			cmd.Env = append(os.Environ(), asProgram+"=1")
			var stdout bytes.Buffer
			cmd.Stdout = &stdout
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var said []string
			for lines := bufio.NewScanner(stderr); lines.Scan(); {
				said = append(said, lines.Text())
				if strings.Contains(lines.Text(), stageNames["distil"]+" ") {
					for _, s := range c.signals {
						if err := cmd.Process.Signal(s); err != nil {
							t.Error(err)
						}
					}
					c.signals = nil
				}
			}
			_ = cmd.Wait() // the exit code says what there is to know
			all := strings.Join(said, "\n")
			if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(all, c.says) {
				t.Errorf("exit code %d, want %d: %s", code, c.code, all)
			}
			if c.code != exitOK {
				empty(t, filepath.Dir(path))
				return
			}
			if _, err := onnxio.Load(path); err != nil {
				t.Error(err)
			}
			if !strings.Contains(stdout.String(), "then interrupted") {
				t.Errorf("the table does not say so: %s", &stdout)
			}
		})
	}
}

// A terminal is one that does something once a text is drawn on it.
type terminal struct {
	mu   sync.Mutex
	text bytes.Buffer
	at   string
	do   func()
}

func (s *terminal) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.do != nil && bytes.Contains(p, []byte(s.at)) {
		s.do()
		s.do = nil
	}
	return s.text.Write(p)
}

func (s *terminal) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// Where there is nothing to write yet, one signal ends the command; from then on, the distillation.
func TestSignalByStage(t *testing.T) {
	calib := data(t, "mnist_calib")
	for _, c := range []struct {
		drawn string // when the signal comes
		code  int
		says  string
	}{
		{"", exitInterrupted, "nothing to write yet; stopping"},
		{"distilling", exitOK, "interrupted: the distillation ends, and what it has learnt is judged and written; once more, and nothing is"},
	} {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var stdout bytes.Buffer
		stderr := &terminal{at: c.drawn}
		a := &app{stdout: &stdout, stderr: stderr, terminal: true, runtime: engine.Available, version: "v0-test"}
		a.display = progress.OnTerminal(stderr, func() int { return 80 })
		var said []string
		a.interrupts = newInterrupts(cancel, func(line string) { said = append(said, line) })
		stderr.do = func() { a.interrupts.signal() }
		path := out(t)
		code := a.run(ctx, with(calib, with(endless, "compress", model("mlp_a"), "-o", path, "--json")...))
		if code != c.code || strings.Join(said, "\n") != c.says {
			t.Errorf("%q: exit code %d, %q: %s", c.drawn, code, said, stderr)
		}
		if c.code != exitOK {
			empty(t, filepath.Dir(path))
			continue
		}
		var r report.Compression
		if err := json.Unmarshal(stdout.Bytes(), &r); err != nil || r.Tune.Ended != tune.Interrupted {
			t.Errorf("%v: %+v", err, r.Tune)
		}
		if _, err := onnxio.Load(path); err != nil {
			t.Error(err)
		}
	}
}

// What the time will be spent on is said first.
func TestTimeIsAnnounced(t *testing.T) {
	calib := with(data(t, "mnist_calib"), "--limit", "30")
	for args, want := range map[string]string{
		"--time 90s --tune 1": "monge: up to 1m30s: statistics and choices, then distillation for 1 epoch; --time",
		"--tune 1":            "monge: statistics and choices, then distillation for 1 epoch; --time",
		"--tune 0":            "",
		"--tune 1 -q":         "",
	} {
		r := run(t, with(calib, with(strings.Fields(args), "compress", model("mlp_a"), "-o", out(t), "--keep", "0.5", "--no-latency", "--eval-data", "none")...)...)
		if r.code != exitOK || strings.Contains(r.stderr, "distillation") != (want != "") || !strings.Contains("\n"+r.stderr, "\n"+want) {
			t.Errorf("%s: exit code %d: %s", args, r.code, r.stderr)
		}
	}
	var r report.Compression
	mustJSON(t, &r, with(calib, "compress", model("mlp_a"), "-o", out(t), "--keep", "0.5", "--no-latency", "--time", "1ns")...)
	if r.Tune == nil || r.Tune.Note == "" || r.Spent.Refits <= 0 || r.Spent.Statistics <= 0 {
		t.Errorf("no time at all: %+v, %+v", r.Tune, r.Spent)
	}
}

// Monge makes ONNX models smaller and merges them by optimal transport. `monge --help` says how.
package main

import (
	"context"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/term"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/files"
)

// version is set by the linker, as the Makefile and .goreleaser.yaml do:
// -ldflags '-X main.version=1.2.3'.
var version string

// versionOf is the semantic version, without a leading v, that the linker or else, after
// `go install`, the module system knows.
func versionOf(linked string, info *debug.BuildInfo) string {
	switch {
	case linked != "":
		return linked
	case info == nil || info.Main.Version == "" || info.Main.Version == "(devel)":
		return "devel"
	}
	return strings.TrimPrefix(info.Main.Version, "v")
}

// collectGarbage sets the garbage collector to models of so many bytes: how much garbage there may
// be beside what is in use, in percent of that. Nearly all memory is in a few large arrays of
// numbers, which cost nothing to look through, all the more if models are large.
func collectGarbage(bytes int64) {
	percent := 25
	switch {
	case os.Getenv("GOGC") != "":
		return
	case bytes >= 256<<20:
		percent = 5
	case bytes >= 16<<20:
		percent = 10
	}
	debug.SetGCPercent(percent)
}

// columns is the width of the terminal that a file is; 0 where it is none or does not tell, unless
// COLUMNS is set.
func columns(f *os.File) int {
	if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
		return n
	}
	n, _ := strconv.Atoi(os.Getenv("COLUMNS"))
	return max(n, 0)
}

// trialArgument, alone, makes the program the one in which models are run for the first time.
const trialArgument = "__trial"

// newTrial has this program run models for the first time in another one like it.
func newTrial() *engine.Trial {
	self, err := os.Executable()
	if err != nil {
		return nil
	}
	return &engine.Trial{Command: []string{self, trialArgument}}
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == trialArgument {
		if err := engine.ServeTrial(os.Stdin, os.Stdout); err != nil {
			os.Exit(exitFailed)
		}
		return
	}
	collectGarbage(0)
	info, _ := debug.ReadBuildInfo()
	a := &app{
		stdout: os.Stdout, stderr: os.Stderr, terminal: term.IsTerminal(int(os.Stderr.Fd())), columns: columns(os.Stdout), display: newDisplay(os.Stderr),
		runtime: engine.Available, trial: newTrial(), version: versionOf(version, info),
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.interrupts = newInterrupts(cancel, a.say)
	a.interrupts.exit = func() {
		a.say(a.interrupts.outcome())
		files.RemoveFolders()
		os.Exit(exitInterrupted)
	}
	catch(a.interrupts.signal)
	code := a.run(ctx, os.Args[1:])
	a.interrupts.enter(done)
	os.Exit(code)
}

// Monge makes ONNX models smaller and merges them by optimal transport.
// `monge --help` says how.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"golang.org/x/term"

	"github.com/monge-ml/monge/engine"
)

// version is set by the linker: -ldflags '-X main.version=v1.2.3'.
var version string

// versionOf is the version that the linker or, after `go install`, the module
// system knows.
func versionOf() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}

// How much garbage there may be beside what is in use, in percent of it. Nearly all memory is in a
// few large arrays of numbers, which cost nothing to look through, all the more if models are large.
const (
	gcPercent      = 25
	gcPercentLarge = 10
	largeModels    = 16 << 20 // bytes
)

// collectGarbage sets the garbage collector to models of so many bytes.
func collectGarbage(bytes int64) {
	switch {
	case os.Getenv("GOGC") != "":
	case bytes < largeModels:
		debug.SetGCPercent(gcPercent)
	default:
		debug.SetGCPercent(gcPercentLarge)
	}
}

func main() {
	collectGarbage(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	a := &app{
		stdout: os.Stdout, stderr: os.Stderr, terminal: term.IsTerminal(int(os.Stderr.Fd())),
		runtime: engine.Available, version: versionOf(),
	}
	os.Exit(a.run(ctx, os.Args[1:]))
}

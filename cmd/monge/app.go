package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/files"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/memory"
	"github.com/monge-ml/monge/internal/progress"
	"github.com/monge-ml/monge/internal/screen"
	"github.com/monge-ml/monge/report"
)

// An app is the program with what it needs from outside. Every command is built by a method of it.
type app struct {
	stdout, stderr io.Writer
	out            *output           // is stdout, once run has begun
	terminal       bool              // stderr is one
	columns        int               // of the terminal that stdout is; 0 where it is none
	display        *progress.Display // of progress, on stderr; nil for none
	// runtime opens onnxruntime, or says why it cannot.
	runtime func() (engine.Library, error)
	trial   *engine.Trial // runs models for the first time; nil for none
	version string
	// interrupts decides what signals do; nil where there are none.
	interrupts *interrupts

	// Flags of all commands.
	json, quiet bool
	threads     int
	// The exit code shall say whether models differ, as that of diff(1) does; differ says so.
	exitCode, differ bool

	args     []string // as given
	warnings []string // said already
	notes    []string // for the end
	start    time.Time
}

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130 // as shells report it

	// Those of a comparison whose exit code is asked for.
	exitDiffers = 1
	exitTrouble = 2
)

// An output is where results go. It remembers that it has failed, since most of what is printed is
// printed without a look at that.
type output struct {
	w   io.Writer
	err error // the first
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// run executes a command line and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	a.args, a.start = args, time.Now()
	a.out = &output{w: a.stdout}
	a.stdout = a.out
	root := a.root()
	if len(args) > 0 && args[0] == "--version" { // as people try first
		args = append([]string{"version"}, args[1:]...)
	}
	root.SetArgs(args)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := execute(ctx, root, args)
	a.display.Close()
	if lost := a.out.err; lost != nil && (err == nil || errors.Is(err, lost)) {
		err = failure{cannotWrite("standard output", lost)}
	}
	switch {
	case err == nil && a.exitCode && a.differ:
		return exitDiffers
	case err == nil:
		return exitOK
	case ctx.Err() != nil:
		fmt.Fprintln(a.stderr, "monge: "+a.interrupts.outcome())
		return exitInterrupted
	}
	fmt.Fprintln(a.stderr, "monge: "+oneLine(err))
	if c := (choices{}); errors.As(err, &c) {
		for _, line := range c.lines {
			fmt.Fprintln(a.stderr, screen.Escape(line))
		}
	}
	switch {
	case isUsage(err):
		return exitUsage
	case a.exitCode:
		return exitTrouble
	}
	return exitFailed
}

// execute runs the command that was asked for. A panic is an error like others.
func execute(ctx context.Context, root *cobra.Command, args []string) (err error) {
	defer guard.Recover(&err)
	if err = root.ExecuteContext(ctx); err == nil {
		return nil
	}
	if _, _, lost := root.Find(args); lost != nil { // no command has run
		flags := root.PersistentFlags()
		flags.ParseErrorsAllowlist.UnknownFlags = true
		if flags.Parse(args) == nil && flags.NArg() > 0 {
			return unknownCommand(root, flags.Arg(0))
		}
	}
	return err
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "monge",
		Short:         "Make ONNX models smaller, and merge them, by optimal transport",
		Long:          rootHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFinite(cmd.Flags()); err != nil {
				return err
			}
			if a.threads < 0 {
				return usagef("--threads is %d: want a positive number, or 0 for one per core", a.threads)
			}
			if a.threads > 0 {
				runtime.GOMAXPROCS(a.threads)
			}
			files.SweepFolders()
			return nil
		},
	}
	f := root.PersistentFlags()
	f.BoolVar(&a.json, "json", false, "print the result as JSON")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no progress and no notes; fuse, compress, convert and diff print nothing")
	f.IntVar(&a.threads, "threads", 0, "threads to work with (0: one per core)")
	root.AddCommand(a.inspectCommand(), a.fuseCommand(), a.compressCommand(), a.evalCommand(), a.latencyCommand(), a.sensitivityCommand(), a.exploreCommand(), a.diffCommand(), a.convertCommand(), a.runtimeCommand(), a.versionCommand(), a.manCommand())
	for _, cmd := range append(root.Commands(), root) {
		cmd.Flags().SortFlags, cmd.PersistentFlags().SortFlags = false, false
	}
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { a.help(cmd) })
	root.SetFlagErrorFunc(flagError)
	return root
}

// note keeps a remark for the end of a run that succeeds.
func (a *app) note(format string, args ...any) {
	a.notes = append(a.notes, fmt.Sprintf(format, args...))
}

// warn says at once what a person may not expect, even with --quiet.
func (a *app) warn(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	a.warnings = append(a.warnings, line)
	a.say(line)
}

// tell says at once what a person may want to know, unless they want to be told nothing.
func (a *app) tell(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	a.warnings = append(a.warnings, line)
	if !a.quiet {
		a.say(line)
	}
}

// say prints a line for a person.
func (a *app) say(line string) {
	a.display.Pause()
	fmt.Fprintln(a.stderr, "monge: "+screen.Escape(line))
}

// said returns all warnings and notes, for the JSON. It is not nil.
func (a *app) said() []string { return append(append([]string{}, a.warnings...), a.notes...) }

// named fails if the user names a library, by MONGE_ONNXRUNTIME, that cannot be used, whether this
// run needs one or not.
func (a *app) named() error {
	if os.Getenv(engine.EnvLibrary) == "" {
		return nil
	}
	_, err := a.runtime()
	return err
}

// A printer is a result that prints itself for a person.
type printer interface{ Print(io.Writer) }

// show prints what was asked for.
func (a *app) show(r printer) error {
	a.display.Close()
	if a.json {
		return report.JSON(a.stdout, r)
	}
	w := screen.NewWriter(a.stdout, a.columns)
	r.Print(w)
	if w.Shortened {
		fmt.Fprintln(w, "…: cut to fit the terminal; names are whole in a file or pipe, and with --json")
	}
	return nil
}

// done prints what became of a file: unlike in show, the file is the result.
func (a *app) done(r printer) error {
	for _, n := range a.notes {
		if !a.quiet {
			a.say(n)
		}
	}
	if a.quiet && !a.json {
		return nil
	}
	return a.show(r)
}

// cost is what the program has used so far.
func (a *app) cost() report.Cost {
	c := report.Cost{Seconds: time.Since(a.start).Seconds()}
	if peak, err := memory.Peak(); err == nil {
		c.PeakMemory = peak
	}
	return c
}

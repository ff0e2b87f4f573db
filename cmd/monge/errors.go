package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/near"
	"github.com/monge-ml/monge/internal/screen"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

// A usageError is a mistake in the command line.
type usageError struct{ error }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// A failure is what went wrong while a command ran.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// choices is an error with what could be done instead, in lines below it.
type choices struct {
	error
	lines []string
}

func (c choices) Unwrap() error { return c.error }

// flagError says what is wrong with a flag in the words of the command line.
func flagError(cmd *cobra.Command, err error) error {
	var (
		unknown *pflag.NotExistError
		empty   *pflag.ValueRequiredError
		invalid *pflag.InvalidValueError
	)
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		return usagef("there is no flag -%s (see %s --help)", unknown.GetSpecifiedName(), cmd.CommandPath())
	case errors.As(err, &unknown):
		return unknownFlag(cmd, unknown.GetSpecifiedName())
	case errors.As(err, &empty):
		value, _ := pflag.UnquoteUsage(empty.GetFlag())
		return usagef("--%s has no value: want %s", empty.GetFlag().Name, cmp.Or(valueWords[value], value))
	case errors.As(err, &invalid):
		f := invalid.GetFlag()
		if words := valueWords[f.Value.Type()]; words != "" {
			hint := ""
			if f.Value.Type() == "float64" {
				hint = perhapsPercent(invalid.GetValue())
			}
			return usagef("--%s %q: want %s%s", f.Name, invalid.GetValue(), words, hint)
		}
		return usagef("--%s %q: %w", f.Name, invalid.GetValue(), invalid.Unwrap())
	}
	return usagef("%w (see %s --help)", err, cmd.CommandPath())
}

// valueWords says what values of a type of flag are. Types of our own say it in the errors of their
// Set.
var valueWords = map[string]string{
	"bool": "true or false", "int": "a whole number", "int64": "a whole number",
	"float64": "a number", "duration": "a time, such as 90s, 10m or 1h",
}

// checkFinite finds numbers among flags that are none: NaN and infinities, which Go reads as
// numbers.
func checkFinite(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(f *pflag.Flag) {
		if x, e := flags.GetFloat64(f.Name); e == nil && (math.IsNaN(x) || math.IsInf(x, 0)) {
			err = usagef("--%s is %g: want finite numbers", f.Name, x)
		}
	})
	return err
}

// usageIf is usagef where something is wrong. A command's check lists such rules; the first that is
// broken counts.
func usageIf(wrong bool, format string, args ...any) error {
	if !wrong {
		return nil
	}
	return usagef(format, args...)
}

// misplaced finds flags that are given where they have no place; why says so.
func misplaced(cmd *cobra.Command, wrong bool, why string, names ...string) error {
	given := slices.IndexFunc(names, cmd.Flags().Changed)
	if !wrong || given < 0 {
		return nil
	}
	return usagef("--%s has no place %s", names[given], why)
}

// unknownFlag names flags that may have been meant.
func unknownFlag(cmd *cobra.Command, name string) error {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	var hints []string
	for _, n := range near.Names(name, names, 3) {
		hints = append(hints, "--"+n)
	}
	if len(hints) == 0 {
		return usagef("there is no flag --%s (see %s --help)", name, cmd.CommandPath())
	}
	return usagef("there is no flag --%s; did you mean %s? (see %s --help)", name, orList(hints), cmd.CommandPath())
}

// unknownCommand says which command may have been meant by a word that is none, or that there is
// none before a file.
func unknownCommand(root *cobra.Command, word string) error {
	if info, err := os.Stat(word); strings.HasSuffix(word, ".onnx") || err == nil && info.Mode().IsRegular() {
		return usagef("a command is missing: did you mean %s, or %s?", commandLine([]string{"inspect", word}), commandLine([]string{"compress", word}))
	}
	var names []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	if hints := near.Names(word, names, 3); len(hints) > 0 {
		return usagef("there is no command %s; did you mean %s? (see monge --help)", word, orList(hints))
	}
	return usagef("there is no command %s (see monge --help)", word)
}

// running marks errors of a command's work, so that those of cobra itself, which are about the
// command line, can be told from them. A mistake in an option of the library is one in a flag.
func running(f func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := f(cmd, args)
		if errors.Is(err, onnxio.ErrFolder) && cmd.Flags().Lookup("data") != nil {
			err = fmt.Errorf("%w; a folder of inputs goes to --data", err)
		}
		var mistake *job.Mistake
		switch {
		case errors.As(err, &mistake):
			if option, _, _ := strings.Cut(mistake.Error(), " "); cmd.Flags().Lookup(strings.TrimSuffix(option, ":")) == nil {
				return usageError{mistake}
			}
			return usagef("--%w", mistake)
		case err == nil || errors.As(err, new(usageError)):
			return err
		}
		return failure{err}
	}
}

func isUsage(err error) bool {
	return !errors.As(err, new(failure)) && !errors.As(err, new(*guard.Panic))
}

// oneLine puts an error on one line, in which no name can move the cursor.
func oneLine(err error) string {
	return screen.Escape(strings.Join(strings.Fields(err.Error()), " "))
}

// in names the file an error is about, unless it does so itself.
func in(file string, err error) error {
	if err == nil || errors.As(err, new(*onnxio.FileError)) || strings.Contains(err.Error(), file) {
		return err
	}
	return fmt.Errorf("%s: %w", file, err)
}

// takes wants from least to most arguments; what says so.
func takes(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		return usageIf(len(args) < least || len(args) > most, "%s takes %s, got %d (see %s --help)", cmd.Name(), what, len(args), cmd.CommandPath())
	}
}

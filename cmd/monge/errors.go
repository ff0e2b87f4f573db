package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

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

// running marks errors of a command's work, so that those of cobra itself, which
// are about the command line, can be told from them.
func running(f func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := f(cmd, args)
		if err == nil || errors.As(err, new(usageError)) {
			return err
		}
		return failure{err}
	}
}

func isUsage(err error) bool { return !errors.As(err, new(failure)) }

// oneLine puts an error on one line.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// in names the file an error is about, unless it does so itself.
func in(file string, err error) error {
	if err == nil || errors.As(err, new(*onnxio.FileError)) || strings.Contains(err.Error(), file) {
		return err
	}
	return fmt.Errorf("%s: %w", file, err)
}

// atLeast wants n models or more.
func atLeast(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < n {
			return usagef("%s takes %s (see %s --help)", cmd.Name(), what, cmd.CommandPath())
		}
		return nil
	}
}

// exactly wants n arguments.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usagef("%s takes %s, not %d arguments (see %s --help)", cmd.Name(), what, len(args), cmd.CommandPath())
		}
		return nil
	}
}

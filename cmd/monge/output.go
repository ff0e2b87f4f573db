package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/report"
)

// outputFlags say where the result goes.
type outputFlags struct {
	path          string
	force, dryRun bool
	widths        bool // there is a --dry-run, which prints widths
}

// addFile adds the flags about the file.
func (o *outputFlags) addFile(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&o.path, "output", "o", "", "`FILE` to write; one that exists is replaced (-: standard output; tables and JSON then go to standard error)")
	f.BoolVar(&o.force, "force", false, "let the output replace one of the inputs")
}

// add adds the flags of a command that changes widths.
func (o *outputFlags) add(cmd *cobra.Command) {
	o.addFile(cmd)
	o.widths = true
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "print the widths and write nothing")
	outputGroup.in(cmd)
}

// check finds out, before the work begins, whether the result can be written. inputs are the files
// that are read.
func (o *outputFlags) check(inputs ...string) error {
	if o.dryRun {
		return nil
	}
	if o.path == "" {
		hint := ""
		if o.widths {
			hint = " (--dry-run prints the widths and writes nothing)"
		}
		return usagef("-o is missing: where shall the result go?%s", hint)
	}
	if o.path == stdoutPath {
		return nil
	}
	info, err := os.Stat(o.path)
	switch {
	case err == nil && info.Mode()&os.ModeNamedPipe != 0:
		return nil // to open and close it would look like the end to who reads it
	case err == nil && isStream(info):
		f, err := os.OpenFile(o.path, os.O_WRONLY, 0)
		if err != nil {
			return cannotWrite(o.path, err)
		}
		return f.Close()
	case err == nil && info.IsDir():
		return fmt.Errorf("%s: cannot be written: it is a folder", o.path)
	case err == nil && !o.force:
		for _, in := range inputs {
			if other, err := os.Stat(in); err == nil && os.SameFile(info, other) {
				return usagef("%s: is an input; --force lets it be replaced", o.path)
			}
		}
	}
	probe, err := os.CreateTemp(filepath.Dir(o.path), ".monge-*")
	if err != nil {
		return cannotWrite(o.path, err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// save writes the result with its history, and measures it. The history is left out where it would
// make the file larger than limit, if that is not zero. Once ctx is done nothing is written.
func (o *outputFlags) save(ctx context.Context, a *app, m *onnxio.Model, shapes map[string][]int, limit int64) (report.Size, error) {
	told := m.Clone()
	for _, m := range metadata(a) {
		told.SetMetadata(m.key, m.value)
	}
	if _, bytes := told.Size(); limit == 0 || bytes <= limit {
		m = told
	}
	size, err := measure(m, shapes)
	if err != nil {
		return size, in(o.path, err)
	}
	return size, o.write(ctx, a, m, onnxio.SaveOptions{}, nil)
}

// stdoutPath stands for standard output.
const stdoutPath = "-"

// isStream reports whether a file takes what is written and cannot be replaced: a device or a pipe.
func isStream(info os.FileInfo) bool {
	return info.Mode()&(os.ModeDevice|os.ModeNamedPipe) != 0
}

func cannotWrite(path string, err error) error {
	var inner *os.PathError
	if errors.As(err, &inner) {
		err = inner.Err // the name may be that of a temporary file, which would only puzzle
	}
	return fmt.Errorf("%s: cannot be written: %w", path, err)
}

// write writes a model. check, which may be nil, then looks at the file. Standard output, devices
// and pipes get a copy of a finished file, so that none sees a part of a model that failed.
func (o *outputFlags) write(ctx context.Context, a *app, m *onnxio.Model, s onnxio.SaveOptions, check func(path string) error) error {
	path := o.path
	s.Force = o.force
	info, err := os.Stat(path)
	stream := path == stdoutPath || err == nil && isStream(info)
	if stream {
		dir, err := os.MkdirTemp("", "monge-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		path, s.External = filepath.Join(dir, "model.onnx"), onnxio.Never
	}
	err = in(o.path, onnxio.Save(ctx, path, m, s))
	if err == nil && check != nil {
		err = check(path)
	}
	if err == nil && stream {
		err = in(o.path, o.send(ctx, a, path))
	}
	return err
}

// send copies a file to where the output goes. What else the command prints leaves standard output
// to the model.
func (o *outputFlags) send(ctx context.Context, a *app, path string) error {
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	if err := ctx.Err(); err != nil {
		return err
	}
	if o.path == stdoutPath {
		to := a.stdout
		a.stdout, a.columns = a.stderr, 0
		_, err := io.Copy(to, from)
		return err
	}
	to, err := os.OpenFile(o.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// metadata is what a result says about its history.
func metadata(a *app) []struct{ key, value string } {
	return []struct{ key, value string }{{"monge.command", commandLine(a.args)}, {"monge.version", a.version}}
}

// metadataBytes is at least what that takes in the file.
func (o *outputFlags) metadataBytes(a *app) int64 {
	const framing = 24 // of a key and a value: tags and lengths
	n := int64(0)
	for _, m := range metadata(a) {
		n += int64(len(m.key) + len(m.value) + framing)
	}
	return n
}

// commandLine prints arguments as a shell would take them.
func commandLine(args []string) string {
	words := []string{"monge"}
	for _, a := range args {
		if a == "" || strings.ContainsAny(a, " \t\n'\"\\$`*?[](){}<>|&;#~!") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

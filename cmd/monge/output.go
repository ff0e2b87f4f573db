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

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/files"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/report"
)

// outputFlags say where the result goes.
type outputFlags struct {
	path          string
	force, dryRun bool
	widths        bool     // there is a --dry-run, which prints widths
	inputs        []string // files that are read
	final         bool     // there is no --force: an input is never replaced
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

// reads is told of files that are read. It fails if the result would replace one of them, by
// whatever name.
func (o *outputFlags) reads(a *app, list ...string) error {
	o.inputs = append(o.inputs, list...)
	if o.dryRun || o.force {
		return nil
	}
	in := o.replaced(a, list)
	if in == "" {
		return nil
	}
	if in != o.path {
		in = " (" + in + ")"
	} else {
		in = ""
	}
	if o.final {
		return usagef("%s: is an input%s", o.path, in)
	}
	return usagef("%s: is an input%s; --force lets it be replaced", o.path, in)
}

// replaced returns the one of some files that the result would replace; "" if there is none.
func (o *outputFlags) replaced(a *app, list []string) string {
	var info os.FileInfo
	var err error
	switch f, isFile := a.out.w.(*os.File); {
	case !o.toStdout():
		info, err = os.Stat(o.path)
	case isFile:
		info, err = f.Stat()
	}
	if err != nil || info == nil || !info.Mode().IsRegular() {
		return ""
	}
	return files.Among(info, list)
}

// replaces reports whether the result replaces an input, as --force lets it: nothing can be read
// from that afterwards.
func (o *outputFlags) replaces(a *app) bool { return o.force && o.replaced(a, o.inputs) != "" }

// readsAll tells of models and data sets that are read, and removes what earlier runs that were
// killed have left where the result goes.
func (o *outputFlags) readsAll(ctx context.Context, a *app, models []*onnxio.Model, data ...*dataset.Data) error {
	list, err := filesOf(models, data...)
	if err != nil {
		return err
	}
	if err := o.reads(a, list...); err != nil || o.dryRun || o.streams() {
		return err
	}
	if left := onnxio.Clean(ctx, o.path, o.inputs); len(left) > 0 {
		a.note("%s: removed, since a run that was killed has left it behind", strings.Join(left, ", "))
	}
	return nil
}

// check finds out, before the work begins, whether the result can be written. inputs are files that
// are read.
func (o *outputFlags) check(a *app, inputs ...string) error {
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
	if err := o.reads(a, inputs...); err != nil {
		return err
	}
	if _, isOpen := files.Descriptor(o.path); isOpen || o.path == stdoutPath {
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
	}
	path, err := files.Follow(o.path)
	if err != nil {
		return cannotWrite(o.path, err)
	}
	probe, err := files.Create(files.OS{}, filepath.Dir(path), 0o600)
	if err != nil {
		return cannotWrite(o.path, err)
	}
	probe.Abort()
	return nil
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

// toStdout reports whether the result goes to standard output, by whatever name.
func (o *outputFlags) toStdout() bool {
	fd, ok := files.Descriptor(o.path)
	return o.path == stdoutPath || ok && fd == 1
}

// streams reports whether the result is a stream of bytes, and not a file that appears.
func (o *outputFlags) streams() bool {
	if _, ok := files.Descriptor(o.path); ok || o.path == stdoutPath {
		return true
	}
	info, err := os.Stat(o.path)
	return err == nil && isStream(info)
}

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
	if o.streams() {
		return o.stream(ctx, a, m, s, check)
	}
	s.Inputs, s.Force = o.inputs, o.force
	a.interrupts.enter(writing)
	err := in(o.path, onnxio.Save(ctx, o.path, m, s))
	if err == nil {
		a.interrupts.wrote(o.path)
	}
	a.interrupts.enter(other)
	if err == nil && check != nil {
		err = check(o.path)
	}
	return err
}

// stream is write for what is no file.
func (o *outputFlags) stream(ctx context.Context, a *app, m *onnxio.Model, s onnxio.SaveOptions, check func(path string) error) error {
	dir, err := files.NewFolder()
	if err != nil {
		return err
	}
	defer dir.Remove()
	path := filepath.Join(dir.Path, "model.onnx")
	s.External, s.Temporary = onnxio.Never, true
	err = in(o.path, onnxio.Save(ctx, path, m, s))
	if err == nil && check != nil {
		err = check(path)
	}
	if err != nil {
		return err
	}
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	_ = dir.RemoveOpened() // who reads may end the program by going away
	if err := ctx.Err(); err != nil {
		return err
	}
	a.interrupts.enter(sending)
	if err := o.send(a, from); err != nil {
		return cannotWrite(o.path, err)
	}
	a.interrupts.wrote(o.path)
	a.interrupts.enter(other)
	return nil
}

// send copies a file to where the output goes. What else the command prints leaves standard output
// to the model.
func (o *outputFlags) send(a *app, from io.Reader) error {
	if o.toStdout() {
		to := a.out
		a.out, a.columns = &output{w: a.stderr}, 0
		a.stdout = a.out
		_, err := io.Copy(to, from)
		return err
	}
	var to *os.File
	var err error
	if fd, ok := files.Descriptor(o.path); ok {
		to = os.NewFile(uintptr(fd), o.path) // where it stands, and not from its beginning
	} else if to, err = os.OpenFile(o.path, os.O_WRONLY, 0); err != nil {
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

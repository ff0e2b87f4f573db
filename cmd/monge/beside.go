package main

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/files"
	"github.com/monge-ml/monge/onnxio"
)

// A besideFlag names a file that is written beside a command's result.
type besideFlag struct {
	flag string // its name
	out  outputFlags
}

// given reports whether there is to be one.
func (b *besideFlag) given() bool { return b.out.path != "" }

// check finds out, before the work begins, whether the file can be written. other is where the
// command writes its result, "" for nowhere; inputs are files that are read.
func (b *besideFlag) check(a *app, other string, inputs ...string) error {
	if !b.given() {
		return nil
	}
	if b.out.path == other || other != "" && same(b.out.path, other) {
		return usagef("--%s and -o both name %s", b.flag, other)
	}
	b.out.final = true
	return b.out.check(a, inputs...)
}

// reads is told of models and data sets that are read.
func (b *besideFlag) reads(a *app, models []*onnxio.Model, data ...*dataset.Data) error {
	if !b.given() {
		return nil
	}
	list, err := filesOf(models, data...)
	if err != nil {
		return err
	}
	return b.out.reads(a, list...)
}

// same reports whether two paths lead to one file.
func same(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// write writes the file, which appears whole or not at all.
func (b *besideFlag) write(ctx context.Context, a *app, content func(io.Writer) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.out.streams() {
		return b.stream(a, content)
	}
	path, err := files.Follow(b.out.path)
	if err != nil {
		return cannotWrite(b.out.path, err)
	}
	to, err := files.Create(files.OS{}, filepath.Dir(path), 0o666)
	if err != nil {
		return cannotWrite(b.out.path, err)
	}
	defer to.Abort()
	err = content(to)
	if err == nil {
		err = to.Sync()
	}
	if err == nil {
		err = to.Place(path)
	}
	if err != nil {
		return cannotWrite(b.out.path, err)
	}
	return nil
}

// stream writes to what is no file.
func (b *besideFlag) stream(a *app, content func(io.Writer) error) error {
	dir, err := files.NewFolder()
	if err != nil {
		return err
	}
	defer dir.Remove()
	whole, err := os.Create(filepath.Join(dir.Path, "whole"))
	if err != nil {
		return err
	}
	defer whole.Close()
	if err := content(whole); err != nil {
		return err
	}
	if _, err := whole.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := b.out.send(a, whole); err != nil {
		return cannotWrite(b.out.path, err)
	}
	return nil
}

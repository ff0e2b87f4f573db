package onnxio

import (
	"bufio"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// atomicFile is a file that takes its name only when it is complete.
type atomicFile struct {
	path string
	tmp  *os.File
	buf  *bufio.Writer
	n    int64 // bytes written
	done bool
}

// createAtomic opens a temporary file in the folder of path.
func createAtomic(path string) (*atomicFile, error) {
	perm := fs.FileMode(0o666)
	if info, err := os.Stat(path); err == nil {
		switch {
		case !info.Mode().IsRegular():
			return nil, fmt.Errorf("%s is not a regular file", path)
		case info.Mode().Perm()&0o222 == 0:
			return nil, fmt.Errorf("%s is read-only", path)
		}
		perm = info.Mode().Perm()
	}
	dir, base := filepath.Split(path)
	for range 100 {
		// Not os.CreateTemp, which leaves the file readable by its owner only.
		name := fmt.Sprintf("%s.%s.%08x.tmp", dir, base, rand.Uint32())
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
		if err == nil {
			return &atomicFile{path: path, tmp: f, buf: bufio.NewWriterSize(f, 1<<20)}, nil
		}
		if !os.IsExist(err) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("no free name for a temporary file in %s", dir)
}

func (f *atomicFile) Write(p []byte) (int, error) {
	n, err := f.buf.Write(p)
	f.n += int64(n)
	return n, err
}

// pad writes zeros up to a multiple of align.
func (f *atomicFile) pad(align int64) error {
	for rest := (align - f.n%align) % align; rest > 0; {
		n, err := f.Write(make([]byte, min(rest, 1<<16)))
		if err != nil {
			return err
		}
		rest -= int64(n)
	}
	return nil
}

func (f *atomicFile) sync() error {
	if err := f.buf.Flush(); err != nil {
		return err
	}
	return f.tmp.Sync()
}

// commit gives the file its name.
func (f *atomicFile) commit() error {
	if err := f.sync(); err != nil {
		return err
	}
	if err := f.tmp.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.tmp.Name(), f.path); err != nil {
		return err
	}
	f.done = true
	// The rename itself lasts once the folder is synced; not every file system can do that, and the
	// file is whole either way.
	if dir, err := os.Open(filepath.Dir(f.path)); err == nil {
		dir.Sync()
		dir.Close()
	}
	return nil
}

// abort removes the temporary file, unless commit succeeded.
func (f *atomicFile) abort() {
	if !f.done {
		f.tmp.Close()
		os.Remove(f.tmp.Name())
	}
}

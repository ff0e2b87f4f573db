package onnxio

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/monge-ml/monge/internal/files"
)

// A saving is a save that is under way.
type saving struct {
	sys    files.System
	o      SaveOptions
	path   string // of the model file, behind all links
	dir    string
	linked bool        // the path that was given is a link in another folder
	perm   fs.FileMode // of both files
	inputs []string    // all of them
	file   *files.Temp
	data   *dataFile // nil for none
}

// newSaving finds out whether a model can be written to a path. sources are the data files that it
// reads from.
func newSaving(sys files.System, path string, o SaveOptions, sources []string) (*saving, error) {
	s := &saving{sys: sys, o: o, perm: 0o666, inputs: slices.Concat(sources, o.Inputs)}
	var err error
	if s.path, err = files.Follow(path); err != nil {
		return nil, err
	}
	s.dir = filepath.Dir(s.path)
	s.linked = s.path != path && files.SameAs(s.dir, []string{filepath.Dir(path)}) == ""
	if info, err := os.Stat(s.path); err == nil {
		switch {
		case !info.Mode().IsRegular():
			return nil, fmt.Errorf("%s is not a regular file", s.path)
		case info.Mode().Perm()&0o222 == 0:
			return nil, fmt.Errorf("%s is read-only", s.path)
		}
		s.perm = info.Mode().Perm()
	}
	if in := files.SameAs(s.path, s.inputs); in != "" && !o.Force {
		return nil, fmt.Errorf("it is an input (%s)", in)
	}
	return s, nil
}

// writeData writes the data file of a model, which refers to it then. There is none if no weight
// goes there.
func (s *saving) writeData(ctx context.Context, m *Model) error {
	temp, err := files.Create(s.sys, s.dir, s.perm)
	if err != nil {
		return err
	}
	s.data = &dataFile{Temp: temp}
	if !s.o.Temporary {
		s.data.sum = sha256.New()
	}
	called, err := m.externalize(ctx, s.data, s.o)
	if err != nil {
		return err
	}
	if s.data.n == 0 {
		s.data.Abort()
		s.data = nil
		return nil
	}
	if s.linked {
		return fmt.Errorf("it is a link to %s: weights in a file beside that would not be found through the link", s.path)
	}
	if err := s.data.Flush(); err != nil {
		return err
	}
	s.data.name = s.dataName()
	called(s.data.name)
	return nil
}

// longestBase is how much of the model's name the data file has: names end at 255 bytes.
const longestBase = 200

// dataName is what the data file is called. An input that is called so, and holds the same, may
// stay in its place.
func (s *saving) dataName() string {
	base := filepath.Base(s.path)
	if len(base) > longestBase {
		base = strings.ToValidUTF8(base[:longestBase], "")
	}
	if s.o.Temporary {
		return base + ".data"
	}
	sum := hex.EncodeToString(s.data.sum.Sum(nil))
	base += "." + sum[:16]
	name := base + ".data"
	for i := 1; s.clashes(name, sum); i++ {
		name = fmt.Sprintf("%s.%d.data", base, i)
	}
	return name
}

// clashes reports whether a name is that of an input with another content.
func (s *saving) clashes(name, sum string) bool {
	path := filepath.Join(s.dir, name)
	return files.SameAs(path, s.inputs) != "" && !holds(path, sum)
}

// holds reports whether a file has a content, told by its hash.
func holds(path, sum string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return err == nil && hex.EncodeToString(h.Sum(nil)) == sum
}

// commit gives the files their names.
func (s *saving) commit(ctx context.Context) error {
	if err := s.finish(); err != nil {
		return err
	}
	if s.o.Temporary {
		return s.place()
	}
	unlock, held, err := files.LockFolder(ctx, s.dir)
	if err != nil {
		return err
	}
	defer unlock()
	if !held { // what can be removed cannot be told
		return s.place()
	}
	sweep(s.sys, s.dir, s.kept())
	old, _ := readsOwn(s.path)
	if len(old) > 0 {
		// Under this name the old model tells whoever sweeps after a kill what it has read.
		if mark, err := files.LinkTemp(s.sys, s.path); err == nil {
			defer s.sys.Remove(mark)
		}
	}
	if err := s.place(); err != nil {
		return err
	}
	discard(s.sys, s.dir, old, s.kept())
	return nil
}

// finish writes out what is buffered.
func (s *saving) finish() error {
	end := (*files.Temp).Sync
	if s.o.Temporary {
		end = (*files.Temp).Flush
	}
	if s.data != nil {
		if err := end(s.data.Temp); err != nil {
			return err
		}
	}
	return end(s.file)
}

// kept are the files that must not be removed.
func (s *saving) kept() []string {
	if s.o.Force {
		return nil
	}
	return s.inputs
}

// place renames the data file and then the model. The first lasts before the second begins.
func (s *saving) place() error {
	fresh, err := s.placeData()
	if err == nil {
		err = s.file.Place(s.path)
	}
	if err != nil {
		if fresh {
			discard(s.sys, s.dir, []string{s.data.name}, s.inputs)
		}
		return err
	}
	s.syncDir()
	return nil
}

// placeData renames the data file, if there is one, and reports whether there was none of its name.
func (s *saving) placeData() (fresh bool, err error) {
	if s.data == nil {
		return false, nil
	}
	at := filepath.Join(s.dir, s.data.name)
	if !s.o.Temporary && files.SameAs(at, s.inputs) != "" {
		return false, nil // it holds the same
	}
	_, err = os.Lstat(at)
	fresh = os.IsNotExist(err)
	if err := s.data.Place(at); err != nil {
		return false, err
	}
	s.syncDir()
	return fresh, nil
}

// syncDir makes renames last. Not every file system can do that, and the files are whole either
// way.
func (s *saving) syncDir() {
	if !s.o.Temporary {
		_ = s.sys.SyncDir(s.dir)
	}
}

// abort removes what has no name yet.
func (s *saving) abort() {
	s.file.Abort()
	if s.data != nil {
		s.data.Abort()
	}
}

// Clean removes what saves that were killed have left in the folder of a path, but none of the
// inputs, and returns the names of what it has removed. [Save] does so itself.
func Clean(ctx context.Context, path string, inputs []string) (removed []string) {
	path, err := files.Follow(path)
	if err != nil {
		return nil
	}
	dir := filepath.Dir(path)
	unlock, held, err := files.LockFolder(ctx, dir)
	defer unlock()
	if !held || err != nil {
		return nil
	}
	return sweep(files.OS{}, dir, inputs)
}

// sweep removes temporary files whose process is gone, and data files that models among those were
// to read, or have read until they were replaced, but none that must be kept. The folder is locked.
func sweep(sys files.System, dir string, keep []string) (removed []string) {
	var data []string
	temps := files.Leftovers(sys, dir, func(f *os.File) {
		data = append(data, discard(sys, dir, ownLocations(f), keep)...)
	})
	return append(temps, data...)
}

// discard removes those of some data files that no model in their folder refers to, but none that
// must be kept.
func discard(sys files.System, dir string, names, keep []string) (removed []string) {
	for _, n := range unread(dir, names) {
		if path := filepath.Join(dir, n); files.SameAs(path, keep) == "" && sys.Remove(path) == nil {
			removed = append(removed, path)
		}
	}
	return removed
}

// A dataFile is one that weights are written to.
type dataFile struct {
	*files.Temp
	name string
	sum  hash.Hash // nil where it is not asked for
	n    int64     // bytes written
}

func (d *dataFile) Write(p []byte) (int, error) {
	n, err := d.Temp.Write(p)
	if d.sum != nil {
		d.sum.Write(p[:n])
	}
	d.n += int64(n)
	return n, err
}

// pad writes zeros up to a multiple of align.
func (d *dataFile) pad(align int64) error {
	for rest := (align - d.n%align) % align; rest > 0; {
		n, err := d.Write(make([]byte, min(rest, 1<<16)))
		if err != nil {
			return err
		}
		rest -= int64(n)
	}
	return nil
}

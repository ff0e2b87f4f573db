package files

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// A Temp is a file under a temporary name, that takes its own when it is complete. It is buffered.
type Temp struct {
	sys  System
	file File
	buf  *bufio.Writer
	done bool // it has its name, or is removed
}

// tempPrefix and tempSuffix make the names of temporary files in folders of the user. The name says
// nothing of the file's own, which may be as long as names can be.
const tempPrefix, tempSuffix = ".monge-", ".tmp"

// tempName is a new name for a temporary file.
func tempName(dir string) string {
	return filepath.Join(dir, fmt.Sprintf("%s%016x%s", tempPrefix, rand.Uint64(), tempSuffix))
}

// IsTemp reports whether a file name is one of a temporary file.
func IsTemp(name string) bool {
	return strings.HasPrefix(name, tempPrefix) && strings.HasSuffix(name, tempSuffix)
}

// tries is how many names are tried.
const tries = 100

// fresh calls a function with new names in a folder until one is free.
func fresh(dir string, f func(name string) error) error {
	for range tries {
		if err := f(tempName(dir)); !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return fmt.Errorf("no free name for a temporary file in %s", dir)
}

// Create makes a temporary file in a folder. Unlike [os.CreateTemp] it leaves it to perm and the
// umask who may read it.
func Create(sys System, dir string, perm fs.FileMode) (*Temp, error) {
	t := &Temp{sys: sys}
	err := fresh(dir, func(name string) (err error) {
		t.file, err = sys.Create(name, perm)
		return err
	})
	if err != nil {
		return nil, err
	}
	t.buf = bufio.NewWriterSize(t.file, 1<<20)
	return t, nil
}

func (t *Temp) Write(p []byte) (int, error) { return t.buf.Write(p) }

// Sync writes out what is buffered, and waits until the disk has it.
func (t *Temp) Sync() error {
	if err := t.Flush(); err != nil {
		return err
	}
	return t.file.Sync()
}

// Flush writes out what is buffered.
func (t *Temp) Flush() error { return t.buf.Flush() }

// Place gives the file its name, in place of what has it now. Flush or Sync come before.
func (t *Temp) Place(path string) error {
	// Open files are locked, so that nobody takes them for leftovers, but cannot be renamed on
	// Windows.
	var err error
	if runtime.GOOS == "windows" {
		err = t.file.Close()
	} else {
		defer t.file.Close()
	}
	if err == nil {
		err = t.sys.Rename(t.file.Name(), path)
	}
	if err != nil {
		return err
	}
	t.done = true
	return nil
}

// Abort removes the file, unless it has its name. It may be called of nil.
func (t *Temp) Abort() {
	if t == nil || t.done {
		return
	}
	t.done = true
	if runtime.GOOS == "windows" {
		t.file.Close()
	} else {
		defer t.file.Close()
	}
	t.sys.Remove(t.file.Name())
}

// LinkTemp gives a file a second, temporary name in its folder, and returns that.
func LinkTemp(sys System, path string) (name string, err error) {
	err = fresh(filepath.Dir(path), func(free string) error {
		name = free
		return sys.Link(path, free)
	})
	return name, err
}

// Leftovers calls a function with every temporary file in a folder whose process is gone, and then
// removes it. It returns the names of those that are removed.
func Leftovers(sys System, dir string, each func(f *os.File)) (removed []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if !IsTemp(e.Name()) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if f := abandoned(path); f != nil {
			each(f) // before its name is gone: who is killed here leaves it to the next
			if sys.Remove(path) == nil {
				removed = append(removed, path)
			}
			f.Close()
		}
	}
	return removed
}

// abandoned opens and locks a file that no process has locked; nil where one has, or it cannot be
// told.
func abandoned(path string) *os.File {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil
	}
	if tryLock(f) != nil || !names(path, f) {
		f.Close()
		return nil
	}
	return f
}

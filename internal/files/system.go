package files

import (
	"io"
	"io/fs"
	"os"
)

// A System is what writing asks of the operating system. Tests put one in its place that fails.
type System interface {
	// Create makes a file, which must not exist, and locks it until it is closed.
	Create(path string, perm fs.FileMode) (File, error)
	Rename(from, to string) error
	// Link gives a file a second name, which must not exist.
	Link(from, to string) error
	Remove(path string) error
	// SyncDir makes what has happened to the names in a folder last.
	SyncDir(dir string) error
}

// A File is one that is being written.
type File interface {
	io.WriteCloser
	Name() string
	Sync() error
}

// OS is the operating system itself.
type OS struct{}

// Create may fail with [fs.ErrExist] although nothing is in the way any more: whoever cleans up has
// been faster to lock the file, and removes it, so that another name has to be tried.
func (OS) Create(path string, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return nil, err
	}
	if !claim(path, f) {
		f.Close()
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrExist}
	}
	return f, nil
}

func (OS) Rename(from, to string) error { return os.Rename(from, to) }
func (OS) Link(from, to string) error   { return os.Link(from, to) }
func (OS) Remove(path string) error     { return os.Remove(path) }

func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// claim locks what this process has just made at a path, and reports whether it is its own then:
// whoever cleans up may have locked it first, or removed it. Where there are no locks nobody does.
func claim(path string, f *os.File) bool { return !taken(tryLock(f)) && names(path, f) }

// names reports whether a path still leads to an open file.
func names(path string, f *os.File) bool {
	is, err := f.Stat()
	if err != nil {
		return false
	}
	at, err := os.Lstat(path)
	return err == nil && os.SameFile(is, at)
}

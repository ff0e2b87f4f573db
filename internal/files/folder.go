package files

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// A Folder is one among the system's temporary files, which only this user can read. It is locked
// while the process lives.
type Folder struct {
	Path string
	lock *os.File // nil where there are no locks
}

// process stands in the names of all folders of this process.
var process = fmt.Sprintf("%08x", rand.Uint32())

// folderName matches the names of temporary folders.
var folderName = regexp.MustCompile(`^monge-[0-9a-f]{16}\.tmp$`)

// NewFolder makes a temporary folder.
func NewFolder() (*Folder, error) {
	for range tries {
		path := filepath.Join(os.TempDir(), fmt.Sprintf("monge-%s%08x.tmp", process, rand.Uint32()))
		err := os.Mkdir(path, 0o700)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		lock, err := os.Open(path)
		if err != nil && !os.IsNotExist(err) { // Windows opens no folders
			return &Folder{Path: path}, nil
		}
		if err == nil {
			if claim(path, lock) {
				return &Folder{Path: path, lock: lock}, nil
			}
			lock.Close() // whoever cleans up was faster
		}
	}
	return nil, fmt.Errorf("no free name for a temporary folder in %s", os.TempDir())
}

// Remove removes the folder and all that is in it. Once is enough; it may be called of nil.
func (f *Folder) Remove() error {
	if f == nil || f.Path == "" {
		return nil
	}
	err := os.RemoveAll(f.Path)
	f.Path = ""
	if f.lock != nil {
		f.lock.Close()
	}
	return err
}

// RemoveOpened is Remove where that is possible while files in the folder are open or mapped into
// memory; they stay until they are not. Elsewhere (Windows) it does nothing.
func (f *Folder) RemoveOpened() error {
	if runtime.GOOS == "windows" {
		return nil
	}
	return f.Remove()
}

// SweepFolders removes the temporary folders of processes that are gone.
func SweepFolders() {
	forFolders(func(path string) {
		d, err := os.Open(path)
		if err != nil {
			return
		}
		defer d.Close()
		if tryLock(d) == nil && names(path, d) {
			os.RemoveAll(path)
		}
	})
}

// RemoveFolders removes all temporary folders of this process, which is about to end.
func RemoveFolders() {
	forFolders(func(path string) {
		if strings.HasPrefix(filepath.Base(path), "monge-"+process) {
			os.RemoveAll(path)
		}
	})
}

// forFolders calls a function with every folder that has the name of a temporary one.
func forFolders(f func(path string)) {
	entries, err := os.ReadDir(os.TempDir())
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() && folderName.MatchString(e.Name()) {
			f(filepath.Join(os.TempDir(), e.Name()))
		}
	}
}

// A Scratch is a temporary file without a name, where the system has such.
type Scratch struct {
	*os.File
	folder *Folder
}

// NewScratch makes a temporary file to read and write.
func NewScratch() (*Scratch, error) {
	folder, err := NewFolder()
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(folder.Path, "scratch"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, errors.Join(err, folder.Remove())
	}
	return &Scratch{f, folder}, folder.RemoveOpened()
}

// Close frees what the file takes.
func (s *Scratch) Close() error { return errors.Join(s.File.Close(), s.folder.Remove()) }

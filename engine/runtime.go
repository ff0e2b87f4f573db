package engine

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"strings"
	"sync"
)

// MinVersion is the oldest onnxruntime release that works: the binding asks for C API version 24,
// and release 1.n offers API versions up to n.
const MinVersion = "1.24"

// minMinor is the n of MinVersion.
const minMinor = 24

// A Library is an onnxruntime shared library that can be used.
type Library struct {
	Path    string `json:"path"`    // absolute path of the file
	Version string `json:"version"` // as the library itself reports it, for example "1.27.0"
	Source  string `json:"source"`  // why this place was searched, for example "MONGE_ONNXRUNTIME"
}

// Status says what became of a place that was searched.
type Status string

const (
	StatusUsed     Status = "used"      // the library that sessions run on
	StatusUsable   Status = "usable"    // would do, but another one comes first
	StatusTooOld   Status = "too old"   // older than MinVersion
	StatusUnusable Status = "unusable"  // a file that cannot be opened as onnxruntime; Detail says why
	StatusMissing  Status = "not found" // no library in this place
)

// A Candidate is one place that was searched, in order of preference.
type Candidate struct {
	Source  string `json:"source"`            // why this place was searched
	Path    string `json:"path"`              // the library, or the folder in which there is none
	Status  Status `json:"status"`            // what became of it
	Version string `json:"version,omitempty"` // as the library reports it; empty if it could not be opened
	Detail  string `json:"detail,omitempty"`  // the reason, where Status alone does not say it
}

// ErrNoRuntime is wrapped by every error that is due to a missing onnxruntime library.
var ErrNoRuntime = errors.New("onnxruntime " + MinVersion + " or later not found: " +
	"run \"monge runtime install\", or set MONGE_ONNXRUNTIME to the library or its folder")

// ErrNoCgo is wrapped by every error that is due to a program built without cgo.
var ErrNoCgo = errors.New("this monge was built without cgo and cannot run models: " +
	"install a C compiler (gcc or clang) and rebuild with CGO_ENABLED=1")

// A namedLibraryError says why the library that MONGE_ONNXRUNTIME names cannot be used. It is an
// [ErrNoRuntime], whose advice would be the wrong one.
type namedLibraryError struct{ path, reason string }

func (e namedLibraryError) Error() string {
	return fmt.Sprintf("%s is %s: %s: set it to a library of onnxruntime %s or later, or its folder, or unset it",
		EnvLibrary, e.path, e.reason, MinVersion)
}

func (e namedLibraryError) Is(target error) bool { return target == ErrNoRuntime }

// Find searches for the onnxruntime library in these places, in this order: MONGE_ONNXRUNTIME (a
// file or a folder; if it is set, nothing else is used), the folder of the executable, the user's
// cache (see [Install]), the system's library folders, and onnxruntime/capi of Python environments
// (VIRTUAL_ENV, CONDA_PREFIX, python3 on PATH, the usual folders); the working directory is none of
// them. It returns the one that sessions use (zero if there is none) and everything it looked at.
// Libraries are opened to ask for their version; those in the cache only if nobody but the user, or
// the system's administrator, can have written them, and if their hash is that of a release that
// Install fetches.
func Find() (Library, []Candidate) {
	return search(places, false)
}

// search probes places in order. With first it stops at the first usable library, or at a place
// beside which nothing else will do.
func search(places iter.Seq[place], first bool) (Library, []Candidate) {
	var found Library
	var list []Candidate
	seen := map[string]bool{}
	named := false // a place was named of which nothing can be used
	for p := range places {
		files := p.files()
		if len(files) == 0 && p.listMissing {
			list = append(list, Candidate{Source: p.source, Path: p.path, Status: StatusMissing})
		}
		for _, file := range files {
			real := realPath(file)
			if seen[real] {
				continue
			}
			seen[real] = true
			c := p.probe(file)
			if c.Status == StatusUsable && found.Path == "" && !named {
				c.Status = StatusUsed
				found = Library{Path: c.Path, Version: c.Version, Source: c.Source}
			}
			list = append(list, c)
			if first && found.Path != "" {
				return found, list
			}
		}
		if named = named || p.only && found.Path == ""; named && first {
			return found, list
		}
	}
	return found, list
}

// probe opens a library of this place and judges its version.
func (p place) probe(file string) Candidate {
	unusable := func(err error) Candidate {
		return Candidate{Source: p.source, Path: file, Status: StatusUnusable, Detail: err.Error()}
	}
	if p.trust != nil {
		if err := p.trust(file); err != nil {
			return unusable(err)
		}
	}
	version, err := libraryVersion(file)
	if err != nil {
		return unusable(err)
	}
	status, detail := judge(version)
	return Candidate{Source: p.source, Path: file, Status: status, Version: version, Detail: detail}
}

// judge says whether a library of this version offers the API that the binding asks for.
func judge(version string) (Status, string) {
	var major, minor int
	switch n, _ := fmt.Sscanf(version, "%d.%d", &major, &minor); {
	case n < 2:
		return StatusUnusable, fmt.Sprintf("reports version %q", version)
	case major != 1:
		return StatusUnusable, fmt.Sprintf("version %s has another C API; 1.x is needed", version)
	case minor < minMinor:
		return StatusTooOld, fmt.Sprintf("version %s, %s or later is needed", version, MinVersion)
	}
	return StatusUsable, ""
}

// The binding keeps one environment for the whole process, so the library is chosen once. A failure
// is not kept: after an Install the next call finds the library.
var (
	loadMu sync.Mutex
	loaded Library
)

// Available returns the library that sessions run on, opening it if that has not happened yet. The
// error wraps [ErrNoRuntime] or [ErrNoCgo] and fits on one line.
func Available() (Library, error) {
	loadMu.Lock()
	defer loadMu.Unlock()
	if loaded.Path != "" {
		return loaded, nil
	}
	if !haveCgo {
		return Library{}, ErrNoCgo
	}
	lib, list := search(places, true)
	if lib.Path == "" {
		return Library{}, whyNot(list)
	}
	if err := initEnvironment(lib.Path); err != nil {
		return Library{}, fmt.Errorf("%s: %w", lib.Path, err)
	}
	loaded = lib
	return lib, nil
}

// whyNot says why none of the places that were searched has a library that can be used.
func whyNot(list []Candidate) error {
	if named := os.Getenv(EnvLibrary); named != "" {
		reason := list[0].Detail // the first place is the one that is named
		if list[0].Status == StatusMissing {
			reason = "there is no onnxruntime library"
		}
		return namedLibraryError{named, strings.TrimPrefix(reason, named+": ")}
	}
	for _, c := range list {
		if c.Status == StatusTooOld || c.Status == StatusUnusable {
			return fmt.Errorf("%s: %s: %w", c.Path, c.Detail, ErrNoRuntime)
		}
	}
	return ErrNoRuntime
}

package report

import (
	"fmt"
	"io"

	"github.com/monge-ml/monge/engine"
)

// A Runtime says which onnxruntime was found, and where it was looked for.
type Runtime struct {
	// Used is the library that models run on; nil if there is none.
	Used       *engine.Library    `json:"used"`
	MinVersion string             `json:"min_version"`
	Candidates []engine.Candidate `json:"candidates"` // in order of preference
}

// Print writes the list for a person.
func (r *Runtime) Print(w io.Writer) {
	t := newTable("<place", "<status", "<version", "<path", "<")
	for _, c := range r.Candidates {
		t.add(c.Source, string(c.Status), c.Version, c.Path, c.Detail)
	}
	t.print(w)
	if r.Used != nil {
		fmt.Fprintf(w, "\nmodels run on onnxruntime %s: %s\n", r.Used.Version, r.Used.Path)
	}
}

// Installed is a library that was fetched, or was there already.
type Installed engine.Library

// Print writes the result for a person.
func (l Installed) Print(w io.Writer) {
	fmt.Fprintf(w, "onnxruntime %s: %s\n", l.Version, l.Path)
}

// Version says which program this is.
type Version struct {
	Version  string `json:"version"`
	Go       string `json:"go"`       // version of the compiler
	Platform string `json:"platform"` // GOOS/GOARCH
}

// Print writes the version for a person.
func (v *Version) Print(w io.Writer) {
	fmt.Fprintf(w, "monge %s (%s, %s)\n", v.Version, v.Go, v.Platform)
}

package engine

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/monge-ml/monge/internal/files"
	"github.com/monge-ml/monge/internal/guard"
)

// A Kernel is an operator of the optimised graph that was run once.
type Kernel struct {
	// Name is onnxruntime's: that of the node; of what its optimiser has made, with something
	// before or behind it, or the name of the output.
	Name string
	Op   string
	Took time.Duration // in whole microseconds
}

// Profile closes a session that was opened with [Options.Profile] and returns, for each run, the
// operators in the order in which they ended. What ran in the body of a loop or the branch of an If
// is part of that operator.
func (s *Session) Profile() (_ [][]Kernel, err error) {
	defer guard.Recover(&err)
	folder := s.profile
	s.profile = nil
	defer folder.Remove()
	if err := s.Close(); err != nil { // which writes the file
		return nil, err
	}
	if folder == nil {
		return nil, fmt.Errorf("%s: no profile was asked for", s.name)
	}
	runs, err := readProfiles(folder.Path)
	if err != nil {
		return nil, fmt.Errorf("%s: onnxruntime's profile: %w", s.name, err)
	}
	return runs, nil
}

// A profileEvent is one of onnxruntime's profile: a list of Chrome's trace events.
type profileEvent struct {
	Category string `json:"cat"`
	Name     string `json:"name"`
	At       int64  `json:"ts"`  // microseconds
	Took     int64  `json:"dur"` // microseconds
	Args     struct {
		Op string `json:"op_name"`
	} `json:"args"`
}

// readProfiles reads the profiles of a folder: a session that could not be opened leaves an empty
// one.
func readProfiles(folder string) (runs [][]Kernel, err error) {
	list, err := filepath.Glob(filepath.Join(folder, profilePrefix+"*"))
	if err != nil {
		return nil, err
	}
	for _, path := range list {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if len(text) == 0 {
			continue
		}
		var events []profileEvent
		if err := json.Unmarshal(text, &events); err != nil {
			return nil, err
		}
		runs = append(runs, profileRuns(events)...)
	}
	if len(runs) == 0 {
		return nil, fmt.Errorf("no run is in it")
	}
	return runs, nil
}

// kernelTime ends the name of the event that an operator is, of those about a node.
const kernelTime = "_kernel_time"

// profileRuns parts the events by runs, each of which ends with its own.
func profileRuns(events []profileEvent) (runs [][]Kernel) {
	var now []profileEvent
	for _, e := range events {
		switch {
		case e.Category == "Node" && strings.HasSuffix(e.Name, kernelTime):
			if holdsNodes(e.Args.Op) { // what ran inside it comes before it
				now = slices.DeleteFunc(now, func(o profileEvent) bool { return o.At >= e.At })
			}
			now = append(now, e)
		case e.Name == "model_run":
			run := make([]Kernel, len(now))
			for i, k := range now {
				run[i] = Kernel{Name: strings.TrimSuffix(k.Name, kernelTime), Op: k.Args.Op, Took: time.Duration(k.Took) * time.Microsecond}
			}
			runs, now = append(runs, run), nil
		}
	}
	return runs
}

// holdsNodes reports whether an operator runs graphs of its own.
func holdsNodes(op string) bool { return op == "If" || op == "Loop" || op == "Scan" }

// profilePrefix begins the names of profiles.
const profilePrefix = "profile"

// newProfile makes a folder for the profile of a session.
func newProfile() (*files.Folder, string, error) {
	folder, err := files.NewFolder()
	if err != nil {
		return nil, "", err
	}
	return folder, filepath.Join(folder.Path, profilePrefix), nil
}

package onnxio

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/monge-ml/monge/internal/files"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A fault is what a system does wrong.
type fault int

const (
	refuses fault = iota // one operation fails with EIO
	full                 // from one write on, which is short, there is no space left
	killed               // from one operation on the process is gone
)

var faultNames = []string{"EIO", "ENOSPC", "kill"}

// A faulty system does something wrong at the at-th operation, counted from 0.
type faulty struct {
	files.OS
	fault fault
	at    int
	n     int
	hit   string   // the operation that went wrong
	log   []string // all of them
}

// step counts an operation, and returns the error that it fails with.
func (s *faulty) step(op, path string) error {
	i := s.n
	s.n++
	s.log = append(s.log, op+" "+kindOf(path))
	switch {
	case s.at < 0 || i < s.at:
		return nil
	case i == s.at:
		s.hit = op
	}
	switch {
	case s.fault == killed:
		return errors.New("the process is gone")
	case s.fault == full && op == "write":
		return syscall.ENOSPC
	case s.fault == refuses && i == s.at:
		return syscall.EIO
	}
	return nil
}

// kindOf is what a file is, whatever its name.
func kindOf(path string) string {
	switch name := filepath.Base(path); {
	case files.IsTemp(name):
		return "temp"
	case ownData.MatchString(name):
		return "data"
	case filepath.Ext(name) == ".onnx":
		return "model"
	}
	return "folder"
}

func (s *faulty) Create(path string, perm fs.FileMode) (files.File, error) {
	if err := s.step("create", path); err != nil {
		return nil, err
	}
	f, err := s.OS.Create(path, perm)
	return &faultyFile{f, s}, err
}

func (s *faulty) Rename(from, to string) error {
	return unless(s.step("rename", to), func() error { return s.OS.Rename(from, to) })
}

func (s *faulty) Link(from, to string) error {
	return unless(s.step("link", from), func() error { return s.OS.Link(from, to) })
}

func (s *faulty) Remove(path string) error {
	return unless(s.step("remove", path), func() error { return s.OS.Remove(path) })
}

func (s *faulty) SyncDir(dir string) error {
	return s.step("sync", dir) // what lasts is not seen here, only the order
}

func unless(err error, f func() error) error {
	if err != nil {
		return err
	}
	return f()
}

type faultyFile struct {
	files.File
	s *faulty
}

func (f *faultyFile) Write(p []byte) (int, error) {
	if err := f.s.step("write", f.Name()); err != nil {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, err
	}
	return f.File.Write(p)
}

func (f *faultyFile) Sync() error {
	return f.s.step("sync", f.Name())
}

// A version is one of the models that are saved to one path.
func version(n byte) *Model {
	raw := make([]byte, 4096)
	for i := range raw {
		raw[i] = n
	}
	dims := []int64{32, 32}
	name, typ, ir, in, out := "w", int32(Float), int64(8), "x", "y"
	value := func(name *string) []*onnxpb.ValueInfoProto { return []*onnxpb.ValueInfoProto{{Name: name}} }
	op, opset := "MatMul", int64(17)
	return &Model{Proto: &onnxpb.ModelProto{
		IrVersion: &ir, OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: &opset}},
		Graph: &onnxpb.GraphProto{
			Name: &name, Input: value(&in), Output: value(&out),
			Node:        []*onnxpb.NodeProto{{OpType: &op, Input: []string{in, name}, Output: []string{out}}},
			Initializer: []*onnxpb.TensorProto{{Name: &name, DataType: &typ, Dims: dims, RawData: raw}},
		},
	}}
}

// versionAt is the number of the model at a path: 0 where there is none, -1 where it is not whole.
func versionAt(t *testing.T, path string) int {
	t.Helper()
	if _, err := os.Lstat(path); os.IsNotExist(err) {
		return 0
	}
	m, err := Load(path)
	if err != nil {
		t.Errorf("%v", err)
		return -1
	}
	w, err := m.Tensor(m.Proto.Graph.Initializer[0])
	if err != nil {
		t.Errorf("%v", err)
		return -1
	}
	raw := w.Proto().RawData
	if slices.ContainsFunc(raw, func(b byte) bool { return b != raw[0] }) {
		t.Error("the weights are mixed")
		return -1
	}
	return int(raw[0])
}

// names lists a folder.
func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// ways in which one model follows another on a path.
var ways = []struct {
	name     string
	old, new External
	first    bool // there is no old one
}{
	{"first", 0, Never, true},
	{"first with data", 0, Always, true},
	{"one file after one", Never, Never, false},
	{"data after data", Always, Always, false},
	{"data after one file", Never, Always, false},
	{"one file after data", Always, Never, false},
}

// Whatever operation fails, the old model or the new one is there, whole, and no other file; a
// process that is killed may leave some, which the next save removes.
func TestFaults(t *testing.T) {
	cases := 0
	for _, w := range ways {
		for _, kind := range []fault{refuses, full, killed} {
			for at := 0; ; at++ {
				dir := t.TempDir()
				path := filepath.Join(dir, "m.onnx")
				old := 0
				if !w.first {
					old = 1
					if err := save(t.Context(), &faulty{at: -1}, path, version(1), SaveOptions{External: w.old}); err != nil {
						t.Fatal(err)
					}
				}
				before := names(t, dir)
				sys := &faulty{fault: kind, at: at}
				err := save(t.Context(), sys, path, version(2), SaveOptions{External: w.new})
				if sys.hit == "" {
					if err != nil {
						t.Fatalf("%s: without a fault: %v", w.name, err)
					}
					break
				}
				cases++
				what := fmt.Sprintf("%s, %s at %d of %s", w.name, faultNames[kind], at, strings.Join(sys.log, ", "))
				got := versionAt(t, path)
				if got != old && got != 2 || err == nil && got != 2 || err != nil && got != old && kind != killed {
					t.Errorf("%s: version %d, %v", what, got, err)
				}
				if kind != killed && err != nil && !slices.Equal(names(t, dir), before) {
					t.Errorf("%s: the folder holds %q, before %q", what, names(t, dir), before)
				}
				if kind != killed && sys.hit == "remove" {
					continue // what is not removed stays
				}
				if err := save(t.Context(), &faulty{at: -1}, path, version(3), SaveOptions{External: w.new}); err != nil {
					t.Errorf("%s: next: %v", what, err)
				}
				if want := 1 + int(w.new)%2; versionAt(t, path) != 3 || len(names(t, dir)) != want {
					t.Errorf("%s: after the next save the folder holds %q", what, names(t, dir))
				}
			}
		}
	}
	t.Log(cases, "faults")
	if cases < 100 {
		t.Errorf("%d faults are too few", cases)
	}
}

// What has to last does so before what relies on it begins.
func TestOrderOfSave(t *testing.T) {
	for _, c := range []struct {
		external External
		want     string
	}{
		{Never, "create temp, write temp, sync temp, rename model, sync folder"},
		{Always, "create temp, write temp, create temp, sync temp, write temp, sync temp, link model, " +
			"rename data, sync folder, rename model, sync folder, remove data, remove temp"},
	} {
		path := filepath.Join(t.TempDir(), "m.onnx")
		for n := range byte(2) {
			sys := &faulty{at: -1}
			if err := save(t.Context(), sys, path, version(n), SaveOptions{External: c.external}); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(sys.log, ", "); n == 1 && got != c.want {
				t.Errorf("%s\nwant %s", got, c.want)
			}
		}
	}
}

// A save that is under way is not taken for one that was killed.
func TestSweepLeavesTheLiving(t *testing.T) {
	dir := t.TempDir()
	live, err := files.Create(files.OS{}, dir, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	dead, err := os.Create(filepath.Join(dir, ".monge-0.tmp"))
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	if got := Clean(t.Context(), filepath.Join(dir, "m.onnx"), nil); !slices.Equal(got, []string{dead.Name()}) {
		t.Errorf("removed %q", got)
	}
	if list := names(t, dir); len(list) != 1 {
		t.Errorf("the folder holds %q", list)
	}
	live.Abort()
	if list := names(t, dir); len(list) != 0 {
		t.Errorf("the folder holds %q", list)
	}
}

// Files that are no models, or damaged ones, are looked through without harm.
func TestLocations(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	if err := Save(t.Context(), path, version(1), SaveOptions{External: Always}); err != nil {
		t.Fatal(err)
	}
	m, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.Storage()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := func(raw []byte) []string { return locations(strings.NewReader(string(raw)), int64(len(raw))) }
	if got := found(raw); len(got) != 1 || got[0] != filepath.Base(s.DataFiles[0]) {
		t.Errorf("locations are %q", got)
	}
	for n := range raw {
		found(raw[:n])
		damaged := slices.Clone(raw)
		damaged[n] ^= 0xff
		found(damaged)
	}
}

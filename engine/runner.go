package engine

import (
	"context"
	"errors"
	"strings"
)

// A runner is a loaded model. It is the seam between this package and onnxruntime: one file
// implements it with cgo, and one refuses without.
type runner interface {
	// run feeds inputs in the order of runnerSpec.inputs and returns outputs in the order of
	// runnerSpec.outputs. Safe for concurrent use. When ctx ends, the run ends early with ctx's
	// error.
	run(ctx context.Context, inputs []*Value) ([]*Value, error)
	close() error
}

// A runnerSpec says what to load.
type runnerSpec struct {
	model       []byte   // the encoded model, or nil if it is in file
	file        string   // path of the model, if model is nil
	externalDir string   // folder of the external data of model; empty if there is none
	inputs      []string // every one is fed
	outputs     []string // none of them float16 or bfloat16, which the binding cannot return
	threads     int      // at least 1
	level       level    // of graph optimisation
	spin        bool     // idle threads wait actively
	frugal      bool     // no memory is planned ahead
	strict      bool     // shapes stored in the model must agree with inferred ones
	unpacked    bool     // weights stay where they are
	profile     string   // how the name of a file begins in which is noted what takes how long; "" for none
}

// A level says how much onnxruntime's optimiser does.
type level uint8

const (
	levelAll   level = iota
	levelBasic       // what does not depend on the device: its fusions of quantised operators do
	levelNone
)

// oneLine puts an error of onnxruntime, which may have several lines, on one.
func oneLine(err error) error {
	if err == nil || !strings.ContainsAny(err.Error(), "\r\n") {
		return err
	}
	return errors.New(strings.Join(strings.Fields(err.Error()), " "))
}

//go:build cgo

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

// haveCgo says whether this program can open onnxruntime at all.
const haveCgo = true

// initEnvironment opens the library and makes the process-wide environment of the binding.
func initEnvironment(path string) error {
	ort.SetSharedLibraryPath(path)
	// Recent libraries would otherwise write files for telemetry into the user's cache and the
	// folder of temporary files as soon as there is an environment, and send them.
	if _, chosen := os.LookupEnv(telemetrySwitch); !chosen {
		if err := os.Setenv(telemetrySwitch, "1"); err != nil {
			return err
		}
	}
	// Errors come back from the calls; onnxruntime would print them on stderr as well.
	if err := ort.InitializeEnvironment(ort.WithLogLevelFatal()); err != nil {
		return oneLine(err)
	}
	if err := ort.DisableTelemetry(); err != nil {
		return oneLine(err)
	}
	return nil
}

// telemetrySwitch is the environment variable that keeps onnxruntime from collecting anything.
const telemetrySwitch = "ORT_DISABLE_TELEMETRY"

// An ortRunner runs a model through the binding.
type ortRunner struct {
	session *ort.DynamicAdvancedSession
	outputs []string

	mu      sync.Mutex
	scalars []DType // the element type of each output found to have no axes; 0 for the others
}

func openRunner(spec runnerSpec) (runner, error) {
	options, err := sessionOptions(spec)
	if err != nil {
		return nil, err
	}
	defer options.Destroy()
	var session *ort.DynamicAdvancedSession
	if spec.model != nil {
		session, err = ort.NewDynamicAdvancedSessionWithONNXData(spec.model, spec.inputs, spec.outputs, options)
	} else {
		session, err = ort.NewDynamicAdvancedSession(spec.file, spec.inputs, spec.outputs, options)
	}
	if err != nil {
		return nil, oneLine(err)
	}
	return &ortRunner{session: session, outputs: spec.outputs, scalars: make([]DType, len(spec.outputs))}, nil
}

func sessionOptions(spec runnerSpec) (*ort.SessionOptions, error) {
	options, err := ort.NewSessionOptions()
	if err != nil {
		return nil, oneLine(err)
	}
	errs := []error{options.SetIntraOpNumThreads(spec.threads), options.SetInterOpNumThreads(1), options.SetMemPattern(!spec.frugal)}
	switch spec.level {
	case levelBasic:
		errs = append(errs, options.SetGraphOptimizationLevel(ort.GraphOptimizationLevelEnableBasic))
	case levelNone:
		errs = append(errs, options.SetGraphOptimizationLevel(ort.GraphOptimizationLevelDisableAll))
	}
	if spec.profile != "" {
		errs = append(errs, options.EnableProfiling(spec.profile))
	}
	set := func(wanted bool, key, value string) {
		if wanted {
			errs = append(errs, options.AddSessionConfigEntry(key, value))
		}
	}
	set(!spec.spin, "session.intra_op.allow_spinning", "0")
	set(spec.spin, "session.force_spinning_stop", "1")
	set(spec.unpacked, "session.disable_prepacking", "1")
	set(spec.strict, "session.strict_shape_type_inference", "1")
	set(spec.externalDir != "", "session.model_external_initializers_file_folder_path", spec.externalDir)
	if err := errors.Join(errs...); err != nil {
		options.Destroy()
		return nil, oneLine(err)
	}
	return options, nil
}

func (r *ortRunner) close() error { return r.session.Destroy() }

func (r *ortRunner) run(ctx context.Context, inputs []*Value) ([]*Value, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	in := make([]ort.Value, len(inputs))
	defer destroyAll(in)
	for i, v := range inputs {
		t, err := toORT(v)
		if err != nil {
			return nil, err
		}
		in[i] = t
	}
	out, err := r.runScalars(ctx, in)
	if err != nil {
		return nil, err
	}
	defer destroyAll(out)
	values := make([]*Value, len(out))
	for i, t := range out {
		v, err := fromORT(t)
		if err != nil {
			return nil, fmt.Errorf("output %q: %w", r.outputs[i], err)
		}
		v.Name = r.outputs[i]
		values[i] = v
	}
	return values, nil
}

// runScalars runs and returns the outputs. The binding allocates every output but one without axes,
// which has to be given to it beforehand; which outputs those are, and of which type, is found out
// by trying, once per session.
func (r *ortRunner) runScalars(ctx context.Context, in []ort.Value) ([]ort.Value, error) {
	r.mu.Lock()
	scalars := slices.Clone(r.scalars)
	r.mu.Unlock()
	out, err := r.runWith(ctx, in, scalars)
	for errors.Is(err, ort.ZeroShapeLengthError) {
		i := slices.IndexFunc(out, isNil) // the binding stops at the first output it cannot allocate
		destroyAll(out)
		if i < 0 {
			break
		}
		for _, t := range scalarTypes {
			scalars[i] = t
			out, err = r.runWith(ctx, in, scalars)
			if err == nil || ctx.Err() != nil || errors.Is(err, ort.ZeroShapeLengthError) {
				break
			}
			destroyAll(out)
		}
		r.mu.Lock()
		r.scalars[i] = scalars[i]
		r.mu.Unlock()
	}
	if err != nil {
		destroyAll(out)
		return nil, oneLine(err)
	}
	return out, nil
}

// runWith runs with room made for the outputs that are scalars. After an error it returns the
// outputs there are.
func (r *ortRunner) runWith(ctx context.Context, in []ort.Value, scalars []DType) ([]ort.Value, error) {
	out := make([]ort.Value, len(r.outputs))
	for i, t := range scalars {
		if t == 0 {
			continue
		}
		s, err := codecs[t].scalar()
		if err != nil {
			return out, err
		}
		out[i] = s
	}
	return out, r.runCancellable(ctx, in, out)
}

// runCancellable fills out. When ctx ends, onnxruntime is told to stop at the next node.
func (r *ortRunner) runCancellable(ctx context.Context, in, out []ort.Value) error {
	var options *ort.RunOptions
	if ctx.Done() != nil {
		o, err := ort.NewRunOptions()
		if err != nil {
			return oneLine(err)
		}
		options = o
		ended := make(chan struct{})
		stop := context.AfterFunc(ctx, func() { defer close(ended); o.Terminate() })
		defer func() {
			if !stop() {
				<-ended // Terminate must be over before Destroy
			}
			o.Destroy()
		}()
	}
	err := r.session.RunWithOptions(in, out, options)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

//go:build !cgo

package engine

// haveCgo says whether this program can open onnxruntime at all.
const haveCgo = false

func libraryVersion(string) (string, error) { return "", ErrNoCgo }
func initEnvironment(string) error          { return ErrNoCgo }
func openRunner(runnerSpec) (runner, error) { return nil, ErrNoCgo }

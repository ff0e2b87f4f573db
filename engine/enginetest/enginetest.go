// Package enginetest helps tests that need onnxruntime.
package enginetest

import (
	"errors"
	"os"
	"testing"

	"github.com/monge-ml/monge/engine"
)

// EnvRequire names the environment variable that, set to 1, makes a missing onnxruntime a failure.
const EnvRequire = "MONGE_REQUIRE_RUNTIME"

// Require returns the onnxruntime library that sessions run on. Without one the test is skipped, or
// fails if MONGE_REQUIRE_RUNTIME is 1; either message says what to run.
func Require(t testing.TB) engine.Library {
	t.Helper()
	lib, err := engine.Available()
	if err == nil {
		return lib
	}
	if os.Getenv(EnvRequire) == "1" || !(errors.Is(err, engine.ErrNoRuntime) || errors.Is(err, engine.ErrNoCgo)) {
		t.Fatal(err)
	}
	t.Skip(err)
	return engine.Library{}
}

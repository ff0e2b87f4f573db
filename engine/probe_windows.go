//go:build cgo && windows

package engine

/*
#include <stdint.h>

// The head of onnxruntime's OrtApiBase, which is the same in every release.
struct api_base {
	const void *(*get_api)(uint32_t version);
	const char *(*version_string)(void);
};

static const char *call_version(uintptr_t get_api_base) {
	const struct api_base *base = ((const struct api_base *(*)(void))get_api_base)();
	return base == 0 ? 0 : base->version_string();
}
*/
import "C"

import (
	"errors"
	"syscall"
)

// libraryVersion opens a shared library, asks onnxruntime for its version and closes it.
func libraryVersion(path string) (string, error) {
	handle, err := syscall.LoadLibrary(path)
	if err != nil {
		return "", err
	}
	defer syscall.FreeLibrary(handle)
	entry, err := syscall.GetProcAddress(handle, "OrtGetApiBase")
	if err != nil {
		return "", errors.New("no OrtGetApiBase in it: not an onnxruntime library")
	}
	version := C.call_version(C.uintptr_t(entry))
	if version == nil {
		return "", errors.New("it reports no version")
	}
	return C.GoString(version), nil
}

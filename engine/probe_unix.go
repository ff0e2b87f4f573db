//go:build cgo && !windows

package engine

/*
#cgo linux LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

// The head of onnxruntime's OrtApiBase, which is the same in every release.
struct api_base {
	const void *(*get_api)(uint32_t version);
	const char *(*version_string)(void);
};

static const char *call_version(void *get_api_base) {
	const struct api_base *base = ((const struct api_base *(*)(void))get_api_base)();
	return base == NULL ? NULL : base->version_string();
}
*/
import "C"

import (
	"errors"
	"runtime"
	"unsafe"
)

// libraryVersion opens a shared library, asks onnxruntime for its version and closes it.
func libraryVersion(path string) (string, error) {
	if truncated(path) {
		return "", errTruncated
	}
	runtime.LockOSThread() // dlerror speaks of what the same thread did
	defer runtime.UnlockOSThread()
	cPath, cName := C.CString(path), C.CString("OrtGetApiBase")
	defer C.free(unsafe.Pointer(cPath))
	defer C.free(unsafe.Pointer(cName))
	handle := C.dlopen(cPath, C.RTLD_LAZY|C.RTLD_LOCAL)
	if handle == nil {
		return "", errors.New(C.GoString(C.dlerror()))
	}
	defer C.dlclose(handle)
	entry := C.dlsym(handle, cName)
	if entry == nil {
		return "", errors.New("no OrtGetApiBase in it: not an onnxruntime library")
	}
	version := C.call_version(entry)
	if version == nil {
		return "", errors.New("it reports no version")
	}
	return C.GoString(version), nil
}

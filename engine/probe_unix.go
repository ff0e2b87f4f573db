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
	"debug/elf"
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"unsafe"
)

// libraryVersion opens a shared library, asks onnxruntime for its version and closes it.
func libraryVersion(path string) (string, error) {
	if truncated(path) {
		return "", errors.New("the file is truncated")
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

// truncated reports whether an ELF file ends before what it says is to be mapped into memory: the
// loader maps what is not there all the same, and touching it kills the program.
func truncated(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false // which the loader says better
	}
	defer f.Close()
	head := make([]byte, len(elf.ELFMAG))
	if _, err := io.ReadFull(f, head); err != nil || string(head) != elf.ELFMAG {
		return false
	}
	library, err := elf.NewFile(f)
	if err != nil {
		return true // the section headers are at the end
	}
	size, err := f.Seek(0, io.SeekEnd)
	return err == nil && slices.ContainsFunc(library.Progs, func(p *elf.Prog) bool {
		return p.Type == elf.PT_LOAD && p.Off+p.Filesz > uint64(size)
	})
}

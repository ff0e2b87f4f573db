//go:build unix && !linux

package memory

import (
	"errors"
	"runtime"
	"syscall"
)

// Peak is the most memory that this process, onnxruntime included, has held at once so far, in
// bytes: the high-water mark of its resident set.
func Peak() (int64, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, err
	}
	peak := int64(usage.Maxrss)
	if runtime.GOOS != "darwin" && runtime.GOOS != "ios" {
		peak <<= 10 // the BSDs count in KiB, macOS in bytes
	}
	return peak, nil
}

// Free is not known on these systems.
func Free() (int64, error) { return 0, errors.ErrUnsupported }

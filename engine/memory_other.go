//go:build !unix && !windows

package engine

import "errors"

// PeakMemory is not known on this system.
func PeakMemory() (int64, error) { return 0, errors.ErrUnsupported }

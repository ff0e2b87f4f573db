//go:build !unix && !windows

package memory

import "errors"

// Peak is not known on this system.
func Peak() (int64, error) { return 0, errors.ErrUnsupported }

// Free is not known on this system.
func Free() (int64, error) { return 0, errors.ErrUnsupported }

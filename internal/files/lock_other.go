//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package files

import (
	"errors"
	"os"
)

// tryLock fails: what an earlier run has left stays there.
func tryLock(*os.File) error { return errors.ErrUnsupported }

func taken(error) bool { return false }

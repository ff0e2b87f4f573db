//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package files

import (
	"os"
	"syscall"
)

// tryLock locks a file or folder until it is closed, or fails where another process has locked it,
// or the file system knows no locks.
func tryLock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != syscall.EINTR {
			return err
		}
	}
}

// taken reports whether an error of tryLock says that another has the lock.
func taken(err error) bool { return err == syscall.EWOULDBLOCK }

//go:build unix

package engine

import (
	"fmt"
	"os"
	"syscall"
)

// ownedAlone says what keeps a file or folder from being the user's, or the administrator's, alone.
func ownedAlone(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s can be written by others (its mode is %04o)", path, info.Mode().Perm())
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && s.Uid != 0 && int(s.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to another user (%d)", path, s.Uid)
	}
	return nil
}

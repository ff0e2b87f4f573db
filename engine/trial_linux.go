package engine

import "golang.org/x/sys/unix"

// boundMemory bounds what this program may take, in bytes: more than that is not given to it, and
// the library says so.
func boundMemory(bytes int64) error {
	limit := unix.Rlimit{Cur: uint64(bytes), Max: uint64(bytes)}
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_DATA, &now); err != nil {
		return err
	}
	if now.Cur < limit.Cur {
		return nil // less is given already
	}
	return unix.Setrlimit(unix.RLIMIT_DATA, &limit)
}

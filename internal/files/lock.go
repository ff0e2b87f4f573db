package files

import (
	"context"
	"os"
	"time"
)

// How long a lock is waited for, and how often it is tried. Whoever holds one renames two files.
const (
	lockWait = 30 * time.Second
	lockTry  = 5 * time.Millisecond
)

// LockFolder waits until no other process has the lock of a folder, and takes it. held is false
// where the file system has none for folders (NFS, Windows), or somebody else does not give it
// back: then two processes may do at once what should come one after the other. The lock ends with
// unlock, or with the process. The only error is that of ctx.
func LockFolder(ctx context.Context, dir string) (unlock func(), held bool, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return func() {}, false, nil
	}
	for end := time.Now().Add(lockWait); ; {
		err := tryLock(d)
		if err == nil {
			return func() { d.Close() }, true, nil
		}
		if ctx.Err() != nil || !taken(err) || time.Now().After(end) {
			d.Close()
			return func() {}, false, ctx.Err()
		}
		select {
		case <-ctx.Done():
		case <-time.After(lockTry):
		}
	}
}

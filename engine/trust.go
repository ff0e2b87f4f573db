package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// formerHashes are the SHA-256 of libraries that earlier versions of Install have put into the
// cache.
var formerHashes = map[string]bool{}

// trustCached says what speaks against opening a file of the cache. Whatever can write to the file,
// or to a folder on the way to it, decides what runs when a model does.
func trustCached(root, file string) error {
	info, err := os.Lstat(file)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("not an ordinary file")
	}
	for _, path := range []string{file, filepath.Dir(file), root, filepath.Dir(root)} {
		if err := ownedAlone(path); err != nil {
			return err
		}
	}
	sum, err := hashFile(file)
	if err != nil {
		return err
	}
	p := pins[runtime.GOOS+"/"+runtime.GOARCH]
	switch {
	case sum == p.npmHash || sum == p.pipHash || formerHashes[sum]:
		return nil
	case truncated(file):
		return errTruncated
	}
	return fmt.Errorf("damaged, or not what \"monge runtime install\" fetches: its SHA-256 is %s", sum)
}

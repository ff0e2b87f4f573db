package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// formerHashes are the SHA-256 of libraries that earlier versions of Install have put into the
// cache.
var formerHashes = map[string]bool{
	"d8aff4aa8abee8fb2abb2f2f2459ffc94461e781e41b9f7c072829dd0d470221": true, // 1.27.0, linux/amd64, npm
	"b5c9d4f124d24707f514dad926dc181820807178855df1c528e3addb2dd0e6f7": true, // 1.27.0, linux/amd64, pip
	"c36bc200e7e6c093b8abb0b34590fbdd8c52fd3fb5e33795b9523ffdde2fce0f": true, // 1.27.0, linux/arm64, npm
	"9275ef52956228686ae47b0219f67476a1148505084bdc5571e7bf1bf69b11f2": true, // 1.27.0, linux/arm64, pip
	"89f692a3a1a224e4ad0b796b0e7c0bd81113b0741bfe84211eceef14d05a9e59": true, // 1.27.0, darwin/arm64, npm
	"49422a138fff12d7fcbd544373aefbffd510e473e08e18af28a8ecc3581029bf": true, // 1.27.0, darwin/arm64, pip
	"273f9ef9cf755c6a0f342226a80448156c10ceb74db2ae8c8370dc98e75af0eb": true, // 1.27.0, windows/amd64, npm
	"bbb4ff18db820c24ad6d9196ecdc7a62d6099268eaadf264813a23591d4d15cc": true, // 1.27.0, windows/amd64, pip
	"908ce63e73f375e90daabe24c52486b42392c19df3d63973a26f871cfeab5453": true, // 1.27.0, windows/arm64, npm
	"85a25defdaafc74ee540c98d8eff5f9bbfe0f1260141f369b3e0f4f7ee4261f2": true, // 1.27.0, windows/arm64, pip
}

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

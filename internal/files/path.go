package files

import (
	"fmt"
	"os"
	"path/filepath"
)

// maxLinks is how many symbolic links are followed, as Linux does.
const maxLinks = 40

// Follow returns where a chain of symbolic links that a path may begin ends, whether there is a file
// or not. Links among the folders stay.
func Follow(path string) (string, error) {
	at := path
	for range maxLinks {
		info, err := os.Lstat(at)
		if err != nil || info.Mode()&os.ModeSymlink == 0 {
			return at, nil
		}
		to, err := os.Readlink(at)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(to) {
			to = filepath.Dir(at) + string(filepath.Separator) + to // not Join: what .. leads to, links decide
		}
		at = to
	}
	return "", fmt.Errorf("%s: too many symbolic links", path)
}

// SameAs returns the first of some files that a path leads to as well, by whatever name; "" if there
// is none.
func SameAs(path string, list []string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	for _, f := range list {
		if other, err := os.Stat(f); err == nil && os.SameFile(info, other) {
			return f
		}
	}
	return ""
}

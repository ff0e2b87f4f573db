package files

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

// maxLinks is how many symbolic links are followed, as Linux does.
const maxLinks = 40

// Follow returns where a chain of symbolic links that a path may begin ends, whether there is a file
// or not. Links among the folders stay.
func Follow(path string) (string, error) {
	return follow(path, func(string) bool { return false })
}

// follow is Follow that ends where a function says so.
func follow(path string, end func(path string) bool) (string, error) {
	at := path
	for range maxLinks {
		info, err := os.Lstat(at)
		if err != nil || info.Mode()&os.ModeSymlink == 0 || end(at) {
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

// descriptors matches the names that systems give to open files of a process.
var descriptors = regexp.MustCompile(`^/(?:dev|proc/(?:self|thread-self|\d+))/fd/(\d+)$`)

// Descriptor returns the number of the open file of this process that a path is a name of, such as 1
// of /dev/stdout; ok is false for other paths.
func Descriptor(path string) (fd int, ok bool) {
	at, err := follow(path, func(at string) bool { return descriptors.MatchString(filepath.Clean(at)) })
	if err != nil {
		return 0, false
	}
	number := descriptors.FindStringSubmatch(filepath.Clean(at))
	if number == nil {
		return 0, false
	}
	fd, err = strconv.Atoi(number[1])
	return fd, err == nil
}

// SameAs returns the first of some files that a path leads to as well, by whatever name; "" if there
// is none.
func SameAs(path string, list []string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return Among(info, list)
}

// Among returns the first of some paths that lead to a file; "" if none does.
func Among(info fs.FileInfo, list []string) string {
	for _, f := range list {
		if other, err := os.Stat(f); err == nil && os.SameFile(info, other) {
			return f
		}
	}
	return ""
}

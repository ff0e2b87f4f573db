package memory

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Peak is the most memory that this process, onnxruntime included, has held at once so far, in
// bytes: the high-water mark of its resident set.
func Peak() (int64, error) {
	return lineOf("/proc/self/status", "VmHWM")
}

// Free is how much more memory the process could take without making the machine swap, or reaching
// the limit of a group that it belongs to, in bytes.
func Free() (int64, error) {
	free, err := lineOf("/proc/meminfo", "MemAvailable")
	if err != nil {
		return 0, err
	}
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return free, nil // a kernel without groups
	}
	for line := range strings.Lines(string(groups)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			free = min(free, below("/sys/fs/cgroup", path))
		}
	}
	return free, nil
}

// below is how much a group and those around it may take still; very much where nothing limits them.
func below(root, group string) int64 {
	free := int64(1 << 62)
	for group = filepath.Clean("/" + group); ; group = filepath.Dir(group) {
		limit, err := numberIn(filepath.Join(root, group, "memory.max")) // "max", no number, without one
		used, err2 := numberIn(filepath.Join(root, group, "memory.current"))
		if err == nil && err2 == nil {
			free = min(free, max(limit-used, 0))
		}
		if group == "/" {
			return free
		}
	}
}

func numberIn(file string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// lineOf is the size that a line of a file of the kernel tells.
func lineOf(file, name string) (int64, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+":"); ok {
			var kib int64
			if _, err := fmt.Sscanf(value, "%d kB", &kib); err != nil {
				return 0, fmt.Errorf("%s: %s %q: %w", file, name, value, err)
			}
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("%s: no %s", file, name)
}

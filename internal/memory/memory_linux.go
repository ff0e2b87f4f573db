package memory

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// Peak is the most memory that this process, onnxruntime included, has held at once so far, in
// bytes: the high-water mark of its resident set.
func Peak() (int64, error) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			var kib int64
			if _, err := fmt.Sscanf(value, "%d kB", &kib); err != nil {
				return 0, fmt.Errorf("/proc/self/status: VmHWM %q: %w", value, err)
			}
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("/proc/self/status: no VmHWM")
}

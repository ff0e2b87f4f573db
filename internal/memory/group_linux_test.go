package memory

import (
	"os"
	"path/filepath"
	"testing"
)

// The tightest of the groups around a process counts.
func TestBelow(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "a", "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		"a/b/memory.max": "max\n", "a/b/memory.current": "10\n", "a/memory.max": "1000\n", "a/memory.current": "400\n",
	} {
		if err := os.WriteFile(filepath.Join(root, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := below(root, "/a/b"); got != 600 {
		t.Errorf("%d bytes below the limit, want 600", got)
	}
	if got := below(root, "/"); got < 1<<60 {
		t.Errorf("%d bytes without a limit", got)
	}
}

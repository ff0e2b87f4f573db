package memory_test

import (
	"errors"
	"testing"

	"github.com/monge-ml/monge/internal/memory"
)

func TestPeak(t *testing.T) {
	before, err := memory.Peak()
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<20+2*before)
	for i := range block {
		block[i] = byte(i)
	}
	after, err := memory.Peak()
	if err != nil {
		t.Fatal(err)
	}
	if after < int64(len(block)) {
		t.Errorf("peak of %d bytes with a block of %d in use", after, len(block))
	}
}

func TestFree(t *testing.T) {
	free, err := memory.Free()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil || free < 1<<20 || free > 1<<50 {
		t.Errorf("%d bytes are free, %v", free, err)
	}
	if d := memory.Default(); d < 1 || d > 4e9 {
		t.Errorf("%d bytes by default", d)
	}
}

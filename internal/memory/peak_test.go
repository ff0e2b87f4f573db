package memory_test

import (
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

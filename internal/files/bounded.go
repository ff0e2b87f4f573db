package files

import (
	"fmt"
	"io"
)

// Bounded reads no more than so many bytes, beyond which there is an error: a file that should be small
// may be a device without end.
func Bounded(r io.Reader, most int64) io.Reader { return &bounded{r, most, most} }

type bounded struct {
	r          io.Reader
	left, most int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("it has more than %d MiB", b.most>>20)
	}
	return n, err
}

package dataset

import (
	"image"
	"sync"
)

// mostKept bounds, in bytes, the images of a folder that are kept once they were decoded: most
// samples are read dozens of times, and decoding one takes as long as a small network does with it.
// It is enough for 1,700 images of 224×224.
const mostKept = 256 << 20

// A shot is an image as a model takes it, but for scale and mean: one byte for each channel of each
// pixel.
type shot struct {
	size image.Point
	raw  []byte
}

// shots keeps the first images that it is given, as long as there is room. The zero value is ready,
// and it may be used by several goroutines at once.
type shots struct {
	mu   sync.Mutex
	kept map[taken]*shot
	size int
}

// taken says which image it is, and what is shown of it.
type taken struct {
	sample, height, width, channels, resize int
	last, bgr                               bool
}

func (f frame) taken(sample int) taken {
	return taken{sample, f.height, f.width, f.channels, f.pre.Resize, f.last, f.pre.BGR}
}

// get returns an image, or nil.
func (k *shots) get(sample int, f frame) *shot {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.kept[f.taken(sample)]
}

func (k *shots) put(sample int, f frame, s *shot) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.size+len(s.raw) > mostKept {
		return
	}
	if k.kept == nil {
		k.kept = map[taken]*shot{}
	}
	if at := f.taken(sample); k.kept[at] == nil {
		k.kept[at] = s
		k.size += len(s.raw)
	}
}

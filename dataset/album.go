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

// An album keeps the first images that it is given, as long as there is room. The zero value is
// ready, and it may be used by several goroutines at once.
type album struct {
	mu    sync.Mutex
	shots map[view]*shot
	size  int // bytes
}

// A view says which image it is, and what is shown of it.
type view struct {
	sample, height, width, channels, resize int
	last, bgr                               bool
}

func (f frame) view(sample int) view {
	return view{sample, f.height, f.width, f.channels, f.pre.Resize, f.last, f.pre.BGR}
}

// get returns an image, or nil.
func (a *album) get(sample int, f frame) *shot {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.shots[f.view(sample)]
}

func (a *album) put(sample int, f frame, s *shot) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.size+len(s.raw) > mostKept {
		return
	}
	if a.shots == nil {
		a.shots = map[view]*shot{}
	}
	if at := f.view(sample); a.shots[at] == nil {
		a.shots[at] = s
		a.size += len(s.raw)
	}
}

package report

import "github.com/monge-ml/monge/internal/screen"

// Size is what a model costs.
type Size struct {
	// Params is the number of parameters: the elements of floating-point tensors and of integers of
	// at most 16 bits.
	Params int64 `json:"params"`
	// MACs is the number of multiply-accumulates of one sample.
	MACs int64 `json:"macs"`
	// Bytes is the size of the model's files; zero where none is written.
	Bytes int64 `json:"bytes,omitempty"`
	// OpenDims is set where free dimensions were counted as one in MACs.
	OpenDims bool `json:"open_dims"`
}

// A Cost is what it took to make a result.
type Cost struct {
	Seconds float64 `json:"seconds"` // wall-clock time, reading and writing included
	// PeakMemory is the process's high-water mark, onnxruntime included, in bytes; zero where the
	// system does not tell.
	PeakMemory int64 `json:"peak_memory_bytes,omitempty"`
}

func (c Cost) text() string {
	s := "in " + seconds(c.Seconds)
	if c.PeakMemory > 0 {
		s += ", peak memory " + screen.Bytes(c.PeakMemory)
	}
	return s
}

// macs prints multiply-accumulates; with "≥" where free dimensions were counted as one.
func (s Size) macs() string {
	if s.OpenDims {
		return "≥" + screen.Count(s.MACs)
	}
	return screen.Count(s.MACs)
}

const openNote = "MACs: free dimensions were counted as one; --input-shape gives them sizes"

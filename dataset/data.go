package dataset

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/memory"
)

// FileOrder is the seed that means: do not shuffle.
const FileOrder = -1

// Options say which samples of a data set are used. The zero value uses all.
type Options struct {
	// Limit is the largest number of samples. 0: all of them, in file order.
	Limit int

	// Seed chooses which ones, if there are more: the first Limit after a shuffle with this seed.
	// FileOrder (-1): the first ones of the file.
	Seed int64

	// Memory is what the samples of a file may take, in bytes: more is an error before any is read.
	// So is a model that says that a single run takes more. 0: what is free, and 4 GiB for a run.
	// Images are read when they are needed, and may be any number.
	Memory int64
}

// room is what samples may take, as far as that is known.
func (o Options) room() int64 {
	if o.Memory > 0 {
		return o.Memory
	}
	free, err := memory.Free()
	if err != nil {
		return math.MaxInt64
	}
	return free
}

// A Data is a data set: samples for the inputs of a model, perhaps with labels. It is read-only and
// may be used by several goroutines at once.
//
// It keeps what the file holds (uint8 stays uint8, images stay files); samples are converted when a
// batch asks for them.
type Data struct {
	name     string
	files    []string // that it is read from
	columns  []column
	left     map[string]string // arrays that are not columns: name to reason
	labels   []int             // one per sample, or nil
	labelled column            // the array of labels, where it is not called labels
	classes  []string          // names of the classes of an image folder
	memory   int64             // Options.Memory
	rows     []int             // where in the file the rows of the columns were; nil: in the same place
	order    []int             // the samples of this subset, as indices into the columns
	complete bool              // a sample is a whole set of inputs, batch axis and all
	expected [][]*engine.Value // recorded outputs of each sample, if complete
	remarks  []string          // what was left aside, and what was taken for what
	pre      Preprocess
	variants *variants // nil: all samples are as they are stored
	ends     []int     // by sample, how long its sequence is before padding that changes nothing; or nil
	ragged   bool      // batches end where their longest sequence does
}

// A column is one named array of samples.
type column interface {
	name() string // the array's name; "" if it has none, and fits any input
	// bind prepares the column for an input, or says why it does not fit.
	bind(in engine.IOInfo, p Preprocess) (binding, error)
}

// A binding makes values of a column for one input.
type binding struct {
	// whole: each sample is a complete value of the input, to be run alone. Otherwise samples are
	// stacked along a new first axis.
	whole bool
	// finite: no number that comes of the column is NaN or infinite.
	finite bool
	// note says what was done to make the column fit; "" if nothing was.
	note string
	// read returns the value for some samples: one if whole.
	read func(samples []int) (*engine.Value, error)
}

// Open opens a data set. path is one of
//
//   - an .npz file: arrays named like the model's inputs, first axis the
//     sample, and optionally `labels` (integers, one per sample; or label, y,
//     target and the like). A single array besides labels feeds a model with a
//     single input, whatever its name. An array with one axis more than its
//     input holds complete inputs, which are run one by one; an array without
//     axes is fed as it is with every batch. Images whose channels are another
//     axis than the model's are turned, and get the axis of a single channel
//     that they lack.
//   - an .npy file: one array for a model with a single input.
//   - a folder with a file input_0.pb, or with folders that have one
//     (test_data_set_0, ...): onnxruntime's test data. Each folder is one
//     sample with all its inputs, in the model's order.
//   - a folder of images (PNG, JPEG, WebP, GIF, BMP, TIFF): sub-folders are
//     classes, numbered in sorted order or as Preprocess.Classes says. One
//     without images counts as well, as it did when a model was trained on the
//     folders beside it. Images further down are an error, unless
//     Preprocess.Classes says that the sub-folders are the classes.
//
// Errors fit on one line and name the file. What does not fit a model shows when the two are
// brought together.
func Open(path string, p Preprocess, o Options) (_ *Data, err error) {
	defer guard.Recover(&err)
	if err := p.check(); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	var d *Data
	switch ext := strings.ToLower(filepath.Ext(path)); {
	case info.IsDir():
		d, err = openFolder(path, p, o)
	case ext == ".npz":
		d, err = openNPZ(path, o)
	case ext == ".npy":
		d, err = openNPY(path, o)
	default:
		err = errors.New("not a data set: want .npz, .npy, a folder of images, or a test_data_set folder")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	d.name, d.pre, d.memory = path, p, o.Memory
	if !info.IsDir() {
		d.files = []string{path}
	}
	if len(d.order) == 0 {
		return nil, fmt.Errorf("%s: no samples", path)
	}
	return d, nil
}

// openFolder tells test data from images.
func openFolder(path string, p Preprocess, o Options) (*Data, error) {
	sets, err := testDataSets(path)
	if err != nil {
		return nil, err
	}
	if len(sets) > 0 {
		return openTestData(sets, o)
	}
	return openImages(path, p, o)
}

// New makes a data set of values in memory, whose first axis is the sample. labels may be nil.
func New(name string, arrays map[string]*engine.Value, labels []int) (*Data, error) {
	d := &Data{name: name, labels: labels}
	n := -1
	for _, key := range slices.Sorted(maps.Keys(arrays)) {
		v := arrays[key]
		if err := engine.CheckValue(v); err != nil {
			return nil, fmt.Errorf("%s: array %q: %w", name, key, err)
		}
		if len(v.Dims) > 0 && n >= 0 && v.Dims[0] != n {
			return nil, fmt.Errorf("%s: array %q has %d samples, another one %d", name, key, v.Dims[0], n)
		}
		if len(v.Dims) > 0 {
			n = v.Dims[0]
		}
		d.columns = append(d.columns, arrayOf(key, v))
	}
	if n < 1 {
		return nil, fmt.Errorf("%s: no samples", name)
	}
	if labels != nil && len(labels) != n {
		return nil, fmt.Errorf("%s: %d labels for %d samples", name, len(labels), n)
	}
	d.order = FirstShuffled(n, n, FileOrder)
	return d, nil
}

// Name is the path of the data set.
func (d *Data) Name() string { return d.name }

// Files are the paths of all files that it is read from, those of samples that are left out
// included; none if it is in memory.
func (d *Data) Files() []string { return slices.Clone(d.files) }

// Len is the number of samples.
func (d *Data) Len() int { return len(d.order) }

// Labels returns the class of each sample, in the order in which samples are streamed; nil if there
// are none.
func (d *Data) Labels() []int {
	if d.labels == nil {
		return nil
	}
	out := make([]int, len(d.order))
	for i, s := range d.order {
		out[i] = d.labels[s]
	}
	return out
}

// Unlabelled returns the data set without labels and names of classes.
func (d *Data) Unlabelled() *Data {
	c := *d
	c.labels, c.classes = nil, nil
	return &c
}

// Classes returns the names of the classes of an image folder, by label; nil for other data sets.
func (d *Data) Classes() []string { return slices.Clone(d.classes) }

// Remarks says, in a line each, what of the data set was left aside, and what was taken for what.
func (d *Data) Remarks() []string { return slices.Clone(d.remarks) }

// Places returns the number of each sample in the data set as it is stored, counted from 0, in the
// order in which samples are streamed.
func (d *Data) Places() []int {
	out := slices.Clone(d.samplesOf(d.order))
	for i, s := range out {
		if d.rows != nil {
			out[i] = d.rows[s]
		}
	}
	return out
}

// Recorded returns the outputs that a test_data_set folder holds for sample i, in the model's
// order; nil if there are none.
func (d *Data) Recorded(i int) []*engine.Value {
	if d.expected == nil || len(d.expected[d.order[i]]) == 0 {
		return nil
	}
	return d.expected[d.order[i]]
}

// Sample returns the first n samples after a shuffle with seed (FileOrder: as they come); all of
// them, in the order they have, if n is 0 or not less than Len.
func (d *Data) Sample(n int, seed int64) *Data {
	c := *d
	if n > 0 && n < len(d.order) {
		c.order = nil
		for _, i := range FirstShuffled(len(d.order), n, seed) {
			c.order = append(c.order, d.order[i])
		}
	}
	return &c
}

// FirstShuffled returns the first k of the numbers below n after a shuffle with seed, in memory and
// time proportional to k: n may be what a file merely claims. With FileOrder, or if k is not below
// n, the numbers come in order.
//
// It is the Fisher-Yates shuffle, cut short, on an array that holds only the entries that differ
// from their index.
func FirstShuffled(n, k int, seed int64) []int {
	out := make([]int, 0, min(n, k))
	if seed == FileOrder || k >= n {
		for i := range min(n, k) {
			out = append(out, i)
		}
		return out
	}
	rng := rand.New(rand.NewPCG(uint64(seed), 0))
	moved := map[int]int{}
	at := func(i int) int {
		if v, ok := moved[i]; ok {
			return v
		}
		return i
	}
	for i := range k {
		j := i + rng.IntN(n-i)
		out = append(out, at(j))
		moved[j] = at(i)
	}
	return out
}

// Pixels reports whether samples are images, or numbers that look like their pixels: 0…255, not
// scaled.
func (d *Data) Pixels() bool {
	if d.complete {
		return false
	}
	for _, c := range d.columns {
		switch c := c.(type) {
		case *images:
			return true
		case *array:
			if len(c.dims) < 3 {
				continue
			}
			s, err := c.spanOf(d.Sample(mostExamined, 0).order)
			if err == nil && s.low >= 0 && s.high > 16 && s.high <= 255 && s.whole {
				return true
			}
		}
	}
	return false
}

// With returns the data set with other preprocessing. Which folder is which class, and whether
// pictures are turned, was decided when it was opened.
func (d *Data) With(p Preprocess) (*Data, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	c := *d
	c.pre = p
	return &c, nil
}

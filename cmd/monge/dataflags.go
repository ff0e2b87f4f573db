package main

import (
	"errors"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/monge-ml/monge/engine"
)

// dataFlags say which data set is used and how.
type dataFlags struct {
	path    string
	scale   float64
	mean    []float64
	std     []float64
	layout  choice
	resize  int
	crop    int
	bgr     bool
	classes string
	limit   int
	seed    int64
	batch   int
}

// add adds the flags about data, and those about the inputs that they feed.
func (d *dataFlags) add(cmd *cobra.Command, shapes *shapeFlags, use string) {
	f := cmd.Flags()
	f.StringVar(&d.path, "data", "", use)
	f.Float64Var(&d.scale, "scale", 1, "preprocessing is (x·scale − mean)/std")
	f.Float64SliceVar(&d.mean, "mean", nil, "`LIST`: one number, or one per channel, as in 0.485,0.456,0.406")
	f.Float64SliceVar(&d.std, "std", nil, "`LIST`: one number, or one per channel, as in 0.229,0.224,0.225")
	addChoice(cmd, &d.layout, "layout", "axis of the channels in images and for --mean, --std (default: told from the sizes)", "nchw", "nhwc")
	f.IntVar(&d.resize, "resize", 0, "scale images until the shorter side has this many pixels (0: as the crop needs)")
	f.IntVar(&d.crop, "crop", 0, "cut this many pixels, square, out of an image's middle (0: the model's input size)")
	f.BoolVar(&d.bgr, "bgr", false, "images as blue, green, red (default: red, green, blue)")
	f.StringVar(&d.classes, "classes", "", "`LIST` of the folders of an image set in the order of their labels: a,b,c or a text file, one per line (default: sorted)")
	f.IntVar(&d.limit, "limit", 0, "use at most this many samples of the data set (0: all)")
	f.Int64Var(&d.seed, "seed", 0, "of the shuffle before --limit and --samples take the first ones (-1: file order)")
	f.IntVar(&d.batch, "batch", 0, "samples that are run at once (0: 32)")
	f.Lookup("scale").DefValue = "" // help need not print that nothing is changed
	shapes.add(cmd)
	dataGroup.in(cmd)
}

// given reports whether there is a data set; "none" asks for no data.
func (d *dataFlags) given() bool { return d.path != "" && d.path != "none" }

// check finds mistakes that need no file to be seen.
func (d *dataFlags) check() error {
	switch {
	case d.resize < 0:
		return usagef("--resize is %d: want a number of pixels, or 0 for what the crop needs", d.resize)
	case d.crop < 0:
		return usagef("--crop is %d: want a number of pixels, or 0 for the model's input size", d.crop)
	case d.limit < 0:
		return usagef("--limit is %d: want a positive number, or 0 for all", d.limit)
	case d.batch < 0:
		return usagef("--batch is %d: want a positive number, or 0 for 32", d.batch)
	case d.seed < engine.FileOrder:
		return usagef("--seed is %d: want 0 or more, or -1 for file order", d.seed)
	case d.scale == 0:
		return usagef("--scale is 0: every input would be the same")
	}
	return nil
}

func (d *dataFlags) open() (*engine.Data, error) {
	classes, err := d.classList()
	if err != nil {
		return nil, err
	}
	return engine.OpenData(d.path, d.preprocess(classes), engine.DataOptions{Limit: d.limit, Seed: d.seed})
}

func (d *dataFlags) preprocess(classes []string) engine.Preprocess {
	return engine.Preprocess{
		Scale: d.scale, Mean: d.mean, Std: d.std, Layout: engine.Layout(d.layout.value),
		Resize: d.resize, Crop: d.crop, BGR: d.bgr, Classes: classes,
	}
}

func (d *dataFlags) classList() ([]string, error) {
	if d.classes == "" {
		return nil, nil
	}
	text, err := os.ReadFile(d.classes)
	if errors.Is(err, os.ErrNotExist) {
		return strings.Split(d.classes, ","), nil
	}
	if err != nil {
		return nil, err
	}
	var list []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, line)
		}
	}
	return list, nil
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/onnxio"
)

// dataFlags say which data set is used and how.
type dataFlags struct {
	path    string
	preset  choice
	scale   float64
	mean    []float64
	std     []float64
	layout  choice
	resize  int
	crop    int
	bgr     bool
	orient  bool
	classes string
	limit   int
	dropBad bool
	seed    int64
	batch   int
	memory  sizeFlag
	// scaled: the user says how inputs are scaled, and the model is not asked.
	scaled, asked bool
	stated        *dataset.Stated // what the model says
	told          bool            // the user has been told of it
}

// add adds the flags about data, and those about the inputs that they feed.
func (d *dataFlags) add(cmd *cobra.Command, shapes *shapeFlags, use string) {
	f := cmd.Flags()
	f.StringVar(&d.path, "data", "", use)
	addChoice(cmd, &d.preset, "preset", "--scale, --mean and --std of a usual kind (monge --help lists them)", slices.Sorted(maps.Keys(presets))...)
	numberFlag(f, &d.scale, "scale", "`F`, as in 1/255: inputs become (x·scale − mean)/std")
	numbersFlag(f, &d.mean, "mean", "`LIST`: one number, or one per channel, as in 0.485,0.456,0.406")
	numbersFlag(f, &d.std, "std", "`LIST`: one number, or one per channel, as in 0.229,0.224,0.225")
	addChoice(cmd, &d.layout, "layout", "axis of the channels in images and for --mean, --std (default: told from the sizes)", "nchw", "nhwc")
	f.IntVar(&d.resize, "resize", 0, "scale images until the shorter side has this many pixels (0: as the crop needs)")
	f.IntVar(&d.crop, "crop", 0, "cut this many pixels, square, out of an image's middle (0: the model's input size)")
	f.BoolVar(&d.bgr, "bgr", false, "images as blue, green, red (default: red, green, blue)")
	f.BoolVar(&d.orient, "auto-orient", false, "turn images as their EXIF orientation says (default: as stored, as PIL and torchvision do)")
	f.StringVar(&d.classes, "classes", "", "`LIST` of the folders of an image set in the order of their labels: a,b,c or a text file, one per line (default: sorted)")
	f.IntVar(&d.limit, "limit", 0, "use at most this many samples of the data set (0: all)")
	f.BoolVar(&d.dropBad, "drop-bad", false, "leave out samples with NaN or infinite numbers (default: they are an error)")
	f.Int64Var(&d.seed, "seed", 0, "of the shuffle before --limit and --samples take the first ones (-1: file order)")
	f.IntVar(&d.batch, "batch", 0, "samples that are run at once (0: 32)")
	shapes.add(cmd)
	dataGroup.in(cmd)
}

// presets are the preprocessing that networks are usually trained with, of pixels from 0 to 255.
var presets = map[string]dataset.Preprocess{
	"0..1":     {Scale: 1. / 255},
	"-1..1":    {Scale: 1. / 255, Mean: []float64{0.5}, Std: []float64{0.5}},
	"imagenet": {Scale: 1. / 255, Mean: []float64{0.485, 0.456, 0.406}, Std: []float64{0.229, 0.224, 0.225}},
	"cifar10":  {Scale: 1. / 255, Mean: []float64{0.4914, 0.4822, 0.4465}, Std: []float64{0.2470, 0.2435, 0.2616}},
	"mnist":    {Scale: 1. / 255, Mean: []float64{0.1307}, Std: []float64{0.3081}},
}

// given reports whether there is a data set; "none" asks for no data.
func (d *dataFlags) given() bool { return d.path != "" && d.path != "none" }

// check finds mistakes that need no file to be seen.
func (d *dataFlags) check(cmd *cobra.Command) error {
	both := ""
	for _, name := range []string{"scale", "mean", "std"} {
		if cmd.Flags().Changed(name) {
			d.scaled = true
			if d.preset.value != "" {
				both = name
			}
		}
	}
	d.scaled = d.scaled || d.preset.value != ""
	return cmp.Or(
		usageIf(both != "", "give --preset %s or --%s, not both", d.preset.value, both),
		usageIf(d.resize < 0, "--resize is %d: want a number of pixels, or 0 for what the crop needs", d.resize),
		usageIf(d.crop < 0, "--crop is %d: want a number of pixels, or 0 for the model's input size", d.crop),
		usageIf(d.limit < 0, "--limit is %d: want a positive number, or 0 for all", d.limit),
		usageIf(d.batch < 0, "--batch is %d: want a positive number, or 0 for 32", d.batch),
		usageIf(d.seed < dataset.FileOrder, "--seed is %d: want 0 or more, or -1 for file order", d.seed),
		usageIf(cmd.Flags().Changed("scale") && d.scale == 0, "--scale is 0: every input would be the same"),
		usageIf(slices.Contains(d.std, 0), "--std has a 0: nothing can be divided by it"),
	)
}

// leastTrial is what a model may take in its trial, however little memory there is to get by with:
// onnxruntime itself takes some.
const leastTrial = 1 << 30

// bound applies --memory to what is run for the first time.
func (d *dataFlags) bound(a *app) {
	if d.memory.bytes > 0 && a.trial != nil {
		a.trial.Memory = max(d.memory.bytes, leastTrial)
	}
}

// ask looks for what a model says about its pixels, unless the user does.
func (d *dataFlags) ask(a *app, m *onnxio.Model) {
	if d.scaled || d.asked {
		return
	}
	d.asked = true
	var err error
	if d.stated, err = dataset.StatedBy(m); err != nil {
		a.warn("what pixels the model takes is not known: %s", oneLine(err))
	}
}

// tellStated says once what the model says.
func (d *dataFlags) tellStated(a *app) {
	if d.stated != nil && !d.told {
		a.tell("preprocessing: %s", d.stated)
		d.told = true
	}
}

// open opens the data set, to be fed to a model, and onnxruntime, without which it is of no use.
func (d *dataFlags) open(a *app, m *onnxio.Model) (*dataset.Data, error) {
	if _, err := a.runtime(); err != nil {
		return nil, fmt.Errorf("%s cannot be used: %w", d.path, err)
	}
	classes, err := d.classList()
	if err != nil {
		return nil, err
	}
	asGiven := *d
	asGiven.stated = nil
	data, err := dataset.Open(d.path, asGiven.preprocess(classes), dataset.Options{Limit: d.limit, Seed: d.seed, Memory: d.memory.bytes})
	if err != nil {
		return nil, err
	}
	if d.ask(a, m); d.stated != nil && data.Pixels() {
		if data, err = data.With(d.preprocess(classes)); err != nil {
			return nil, err
		}
		d.tellStated(a)
	}
	for _, r := range data.Remarks() {
		a.warn("%s", r)
	}
	return data, nil
}

// whole is a data set as models that are to be run on all of it can read it, and warns of what looks
// wrong.
func (d *dataFlags) whole(ctx context.Context, a *app, models []*onnxio.Model, data *dataset.Data) (_ *dataset.Data, err error) {
	known := len(data.Remarks())
	if data, err = data.Finite(models[0], d.dropBad); err != nil {
		return nil, err
	}
	if data, err = data.Readable(a.stream("reading the data", 0).Progress); err != nil {
		return nil, err
	}
	if err := eval.Admit(ctx, models, eval.AdmitOptions{Data: data, Trial: a.trial}); err != nil {
		return nil, err
	}
	suspect, err := dataset.Examine(ctx, models[0], data, a.threads)
	if err != nil {
		return nil, err
	}
	for _, remark := range append(data.Remarks()[known:], suspect...) {
		a.warn("%s", remark)
	}
	return data, nil
}

func (d *dataFlags) preprocess(classes []string) dataset.Preprocess {
	p := dataset.Preprocess{Scale: d.scale, Mean: d.mean, Std: d.std}
	if d.stated != nil {
		p = d.stated.Preprocess
	}
	if d.preset.value != "" {
		p = presets[d.preset.value]
	}
	p.Layout, p.AutoOrient, p.Classes = dataset.Layout(d.layout.value), d.orient, classes
	if d.crop > 0 || d.resize > 0 {
		p.Resize, p.Crop = d.resize, cmp.Or(d.crop, p.Crop)
	}
	p.BGR = p.BGR || d.bgr
	return p
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
		list = append(list, strings.TrimSpace(line))
	}
	return slices.DeleteFunc(list, func(s string) bool { return s == "" }), nil
}

package page

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"slices"

	"golang.org/x/image/draw"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/diff"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/screen"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/ot"
)

// A Picture is a sample that changed its class.
type Picture struct {
	Image         template.URL // "" where the input is no image
	Small         bool         // it has so few pixels that each shall be seen
	Sample        int          // its number in the data set, counted from 0
	Before, After string
	Label         string // "" where there is none
	Fate          eval.Fate
	Note          string // says which class is right
}

const (
	mostPictures = 12
	mostSide     = 96 // pixels of the longer side of a picture
	smallSide    = 64 // below it pixels are shown as squares, and not packed as photographs are
)

// Samples are those that changed their class.
type Samples struct {
	Changed, Of   int
	Labelled      bool
	Worse, Better int // of those with labels: right before, and right now
	Shown         []Picture
}

// Changed shows samples of a data set that changed their class, of each kind about as many where
// there are too many to be shown, those that became worse first. m is a model that they are fed to.
// It is nil where there are none.
func Changed(changes []eval.Change, m *onnxio.Model, data *dataset.Data) (*Samples, error) {
	if len(changes) == 0 {
		return nil, nil
	}
	inputs, err := engine.Inputs(m)
	if err != nil {
		return nil, err
	}
	s := &Samples{Changed: len(changes), Of: data.Len(), Labelled: data.Labels() != nil}
	for _, c := range changes {
		switch c.Fate() {
		case eval.Worse:
			s.Worse++
		case eval.Better:
			s.Better++
		}
	}
	s.Shown, err = pictures(changes, inputs, data)
	return s, err
}

func pictures(changes []eval.Change, inputs []engine.IOInfo, data *dataset.Data) (out []Picture, err error) {
	kinds := map[eval.Fate]int{}
	turn := make([]int, len(changes)) // of its kind it is so many-th
	at := make([]int, len(changes))
	for i, c := range changes {
		at[i], turn[i] = i, kinds[c.Fate()]
		kinds[c.Fate()]++
	}
	slices.SortStableFunc(at, func(i, j int) int { return turn[i] - turn[j] })
	at = at[:min(len(at), mostPictures)]
	slices.SortFunc(at, func(i, j int) int { return cmp.Or(int(changes[i].Fate())-int(changes[j].Fate()), i-j) })
	for _, i := range at {
		c := changes[i]
		p := Picture{Sample: c.Sample, Before: class(data, c.Before), After: class(data, c.After), Fate: c.Fate()}
		if c.Label >= 0 {
			p.Label = class(data, c.Label)
		}
		if shown, ok := data.Picture(c.Index, inputs); ok {
			if p.Image, p.Small, err = packed(shown); err != nil {
				return nil, err
			}
		}
		out = append(out, p)
	}
	return out, nil
}

// class names a class.
func class(data *dataset.Data, c int) string {
	if names := data.Classes(); c >= 0 && c < len(names) {
		return screen.Name(names[c])
	}
	if c < 0 {
		return "none"
	}
	return fmt.Sprint(c)
}

// packed makes a data URI of an image, which is made smaller if it is large.
func packed(p image.Image) (uri template.URL, small bool, err error) {
	size := p.Bounds().Size()
	if longer := max(size.X, size.Y); longer > mostSide {
		to := image.NewNRGBA(image.Rect(0, 0, max(1, size.X*mostSide/longer), max(1, size.Y*mostSide/longer)))
		draw.CatmullRom.Scale(to, to.Rect, p, p.Bounds(), draw.Src, nil)
		p = to
	}
	var b bytes.Buffer
	if max(size.X, size.Y) <= smallSide {
		err = png.Encode(&b, p)
		return dataURI("image/png", b.Bytes()), true, err
	}
	err = jpeg.Encode(&b, p, &jpeg.Options{Quality: 80})
	return dataURI("image/jpeg", b.Bytes()), false, err
}

func dataURI(kind string, bytes []byte) template.URL {
	return template.URL("data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(bytes))
}

// A HeatMap shows the plan of a space: of which channels of a model (rows) those of the result
// (columns) are made.
type HeatMap struct {
	Title, Alt string
	Image      template.URL
	From       []int  // channels that each model gave
	Given      string // the same in words
}

const (
	mostMaps = 24
	mostCell = 192 // pixels of a side
)

// heatMaps shows the plans of a fusion, those that move most first where there are many. left is the
// number of those that are not shown.
func heatMaps(spaces []fuse.Space, stages []diff.Stage) (out []HeatMap, left int, err error) {
	type one struct {
		space *fuse.Space
		model int
		moved float64
	}
	var list []one
	for i := range spaces {
		for k, p := range spaces[i].Plans {
			if p != nil && len(p.Entries) > 0 {
				list = append(list, one{&spaces[i], k, moved(p)})
			}
		}
	}
	if len(list) > mostMaps {
		left = len(list) - mostMaps
		most := slices.Clone(list)
		slices.SortStableFunc(most, func(a, b one) int { return int(math.Copysign(1, b.moved-a.moved)) })
		least := most[mostMaps-1].moved
		list = slices.DeleteFunc(list, func(o one) bool { return o.moved < least })
		list = list[:min(len(list), mostMaps)]
	}
	for _, o := range list {
		p := o.space.Plans[o.model]
		uri, err := mapImage(p)
		if err != nil {
			return nil, 0, err
		}
		name := called(screen.Name(o.space.Name), stages)
		m := HeatMap{
			Title: fmt.Sprintf("%s, model %d: %s channels → %s", name, o.model+1, grouped(p.N), grouped(p.K)), Image: uri,
			Alt: fmt.Sprintf("plan of %s: %.0f%% of the result's channels are made of another channel or several", name, 100*o.moved),
		}
		if o.space.From != nil && o.model == 0 {
			m.From = o.space.From
			for k, n := range m.From {
				if k > 0 {
					m.Given += ", "
				}
				m.Given += fmt.Sprintf("%s of model %d", grouped(n), k+1)
			}
		}
		out = append(out, m)
	}
	return out, left, nil
}

// moved is the share of a plan's columns that are made of anything but the row in the same place.
func moved(p *ot.Plan) float64 {
	stays := 0
	for _, e := range p.Entries {
		if e.I == e.J && e.Mass > 0.999 {
			stays++
		}
	}
	return 1 - float64(stays)/float64(max(p.K, 1))
}

// mapImage draws a plan: the more of a channel, the less transparent. Of large plans a pixel is the
// largest of what it stands for.
func mapImage(p *ot.Plan) (template.URL, error) {
	w, h := min(p.K, mostCell), min(p.N, mostCell)
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	for _, e := range p.Entries {
		x, y := e.J*w/p.K, e.I*h/p.N
		a := uint8(255 * math.Sqrt(min(max(e.Mass, 0), 1)))
		if a > out.NRGBAAt(x, y).A {
			out.SetNRGBA(x, y, color.NRGBA{31, 95, 191, a})
		}
	}
	var b bytes.Buffer
	err := png.Encode(&b, out)
	return dataURI("image/png", b.Bytes()), err
}

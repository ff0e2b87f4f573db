package dataset

import (
	"image"
	"io"

	"github.com/bep/imagemeta"
)

// metaFormats are the formats, as package image names them, that tell how a camera was held.
var metaFormats = map[string]imagemeta.ImageFormat{
	"jpeg": imagemeta.JPEG, "png": imagemeta.PNG, "tiff": imagemeta.TIFF, "webp": imagemeta.WebP,
}

// orientation reads the EXIF orientation of an image: 1 (upright) where it says nothing that makes
// sense.
func orientation(r io.ReadSeeker, format string) int {
	of, known := metaFormats[format]
	if !known {
		return 1
	}
	upright := 1
	_, err := imagemeta.Decode(imagemeta.Options{
		R: r, ImageFormat: of, Sources: imagemeta.EXIF,
		ShouldHandleTag: func(t imagemeta.TagInfo) bool { return t.Tag == "Orientation" && t.Namespace == "IFD0" },
		HandleTag: func(t imagemeta.TagInfo) error {
			if v, ok := t.Value.(uint16); ok && v >= 1 && v <= 8 {
				upright = int(v)
			}
			return nil
		},
	})
	if err != nil {
		return 1 // the picture is all there; only what is said about it is broken
	}
	return upright
}

// oriented turns and mirrors an image as an EXIF orientation asks for.
func oriented(p *image.NRGBA, orientation int) *image.NRGBA {
	if orientation <= 1 || orientation > 8 {
		return p
	}
	w, h := p.Rect.Dx(), p.Rect.Dy()
	// Orientations above 4 swap the axes; of each four the second and third are mirrored in x, the
	// third and fourth in y.
	swap := orientation > 4
	k := (orientation - 1) % 4
	flipX, flipY := k == 1 || k == 2, k == 2 || k == 3
	size := image.Pt(w, h)
	if swap {
		size = image.Pt(h, w)
	}
	out := image.NewNRGBA(image.Rectangle{Max: size})
	for y := range size.Y {
		for x := range size.X {
			fx, fy := x, y
			if flipX {
				fx = size.X - 1 - x
			}
			if flipY {
				fy = size.Y - 1 - y
			}
			if swap {
				fx, fy = fy, fx
			}
			copy(out.Pix[out.PixOffset(x, y):][:4], p.Pix[p.PixOffset(p.Rect.Min.X+fx, p.Rect.Min.Y+fy):][:4])
		}
	}
	return out
}

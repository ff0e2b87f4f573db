// Scale measures how the time and memory of a compression grow: with the parameters of a network,
// with the resolution of its images, and with their number. The networks and the images are random;
// they are made here, and narrowed by a monge of its own for each row. It prints tables of what
// docs/scale.md explains.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// A row is a network of some width, images of some size, and how many of them.
type row struct{ width, size, images int }

// usual is what stays the same where something else grows.
var usual = row{width: 32, size: 32, images: 200}

func main() {
	log.SetFlags(0)
	monge := flag.String("monge", "bin/monge", "the program that is measured")
	quick := flag.Bool("quick", false, "the smallest row of each table")
	flag.Parse()
	dir, err := os.MkdirTemp("", "scale")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s := &scale{monge: *monge, dir: dir}
	width := func(r *row, n int) { r.width = n }
	size := func(r *row, n int) { r.size = n }
	images := func(r *row, n int) { r.images = n }
	for _, t := range []struct {
		title, column string
		rows          []row
		show          func(row) string
		flags         []string
	}{
		{"Parameters, with images", "channels", grown(width, 8, 16, 32, 64, 128), func(r row) string { return fmt.Sprint(r.width) }, nil},
		{"Parameters, without data", "channels", grown(width, 32, 64, 128, 256, 512), func(r row) string { return fmt.Sprint(r.width) }, []string{"--data", "none"}},
		{"Resolution", "pixels", grown(size, 32, 64, 128, 192), func(r row) string { return fmt.Sprintf("%d×%[1]d", r.size) }, nil},
		{"Images", "images", grown(images, 100, 200, 400, 800, 1600), func(r row) string { return fmt.Sprint(r.images) }, []string{"--refit-samples", "0"}},
	} {
		fmt.Printf("\n%s\n\n| %s | parameters | MACs | time | peak memory |\n|---|---|---|---|---|\n", t.title, t.column)
		for i, r := range t.rows {
			if i > 0 && *quick {
				break
			}
			line, err := s.measure(r, t.flags)
			if err != nil {
				log.Fatal(err)
			}
			fmt.Printf("| %s | %s |\n", t.show(r), line)
		}
	}
}

// grown are rows of which one property takes each of some values.
func grown(set func(r *row, n int), list ...int) (out []row) {
	for _, n := range list {
		r := usual
		set(&r, n)
		out = append(out, r)
	}
	return out
}

// network is a network of six convolutions and a classifier: 12·w² times nine parameters or so.
func network(r row) (*onnxio.Model, error) {
	w := r.width
	return onnxtest.Parse(fmt.Sprintf(`
		x: N 3 %[1]d %[1]d
		a = Conv(x, wa[%[2]d 3 3 3], ba[%[2]d]) pads=1,1,1,1 strides=[2,2]
		b = Relu(a)
		c = Conv(b, wc[%[2]d %[2]d 3 3], bc[%[2]d]) pads=1,1,1,1
		d = Relu(c)
		e = Conv(d, we[%[3]d %[2]d 3 3], be[%[3]d]) pads=1,1,1,1 strides=[2,2]
		f = Relu(e)
		g = Conv(f, wg[%[3]d %[3]d 3 3], bg[%[3]d]) pads=1,1,1,1
		h = Relu(g)
		i = Conv(h, wi[%[4]d %[3]d 3 3], bi[%[4]d]) pads=1,1,1,1 strides=[2,2]
		j = Relu(i)
		k = Conv(j, wk[%[4]d %[4]d 3 3], bk[%[4]d]) pads=1,1,1,1
		l = Relu(k)
		p = GlobalAveragePool(l)
		q = Flatten(p)
		logits = Gemm(q, wq[%[4]d 10], bq[10])`, r.size, w, 2*w, 4*w))
}

// A scale runs monge in a folder of its own.
type scale struct {
	monge, dir string
}

// measure narrows a network to half of its multiply-accumulates, without a distillation, whose
// time is set by --time.
func (s *scale) measure(r row, flags []string) (string, error) {
	m, err := network(r)
	if err != nil {
		return "", err
	}
	model, data := filepath.Join(s.dir, "model.onnx"), filepath.Join(s.dir, "images.npy")
	if err := onnxio.Save(context.Background(), model, m, onnxio.SaveOptions{}); err != nil {
		return "", err
	}
	if err := os.WriteFile(data, photographs(r.images, r.size), 0o666); err != nil {
		return "", err
	}
	args := []string{"compress", model, "-o", filepath.Join(s.dir, "half.onnx"), "--force", "--json", "--macs", "0.5", "--no-latency", "-q"}
	if len(flags) == 0 || flags[0] != "--data" {
		args = append(args, "--data", data, "--preset", "0..1", "--tune", "0")
	}
	cmd := exec.Command(s.monge, append(args, flags...)...)
	var problem bytes.Buffer
	cmd.Stderr = &problem
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, problem.String())
	}
	var report struct {
		Before struct {
			Params, MACs float64
		}
		Seconds float64
		Peak    float64 `json:"peak_memory_bytes"`
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return "", err
	}
	return fmt.Sprintf("%.3g M | %.3g M | %.1f s | %.0f MB", report.Before.Params/1e6, report.Before.MACs/1e6, report.Seconds, report.Peak/1e6), nil
}

// photographs is an .npy file of random images that are smooth as photographs are: bytes
// [n,3,size,size], noise of a few pixels stretched to the size, and a little finer noise.
func photographs(n, size int) []byte {
	const coarse = 8
	header := fmt.Sprintf("{'descr': '|u1', 'fortran_order': False, 'shape': (%d, 3, %d, %d), }", n, size, size)
	header += strings.Repeat(" ", 117-len(header)) + "\n"
	out := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), 0)
	out = append(out, header...)
	rng := rand.New(rand.NewPCG(5, 6))
	for range n * 3 {
		var grid [coarse + 1][coarse + 1]float64
		for y := range grid {
			for x := range grid[y] {
				grid[y][x] = 255 * rng.Float64()
			}
		}
		for y := range size {
			for x := range size {
				fy, fx := float64(y*coarse)/float64(size), float64(x*coarse)/float64(size)
				iy, ix := int(fy), int(fx)
				fy, fx = fy-float64(iy), fx-float64(ix)
				v := (1-fy)*((1-fx)*grid[iy][ix]+fx*grid[iy][ix+1]) + fy*((1-fx)*grid[iy+1][ix]+fx*grid[iy+1][ix+1])
				out = append(out, byte(0.9*v+0.1*255*rng.Float64()))
			}
		}
	}
	return out
}

// Command large writes a multi-layer perceptron with random weights in a data file, of any size: a
// model that does not fit into one protobuf file, or not into memory. Weights are written one at a
// time.
package main

import (
	"bufio"
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

func main() {
	width := flag.Int("width", 8192, "`CHANNELS` of every second layer")
	neck := flag.Int("neck", 512, "`CHANNELS` of the others")
	layers := flag.Int("layers", 140, "`LAYERS` between the first and the last, each a matrix of width × neck")
	flag.Parse()
	if flag.NArg() != 1 || *width < 1 || *neck < 1 || *layers < 1 {
		fmt.Fprintln(os.Stderr, "usage: large [--width N] [--neck N] [--layers N] OUT.onnx")
		os.Exit(2)
	}
	bytes, err := write(flag.Arg(0), *width, *neck, *layers)
	if err != nil {
		fmt.Fprintln(os.Stderr, "large: "+err.Error())
		os.Exit(1)
	}
	fmt.Printf("%s: %d layers of %d × %d, %d bytes of weights\n", flag.Arg(0), *layers, *width, *neck, bytes)
}

// write makes the model: x [N,64] → Gemm "wide0", Relu, Gemm "neck1", Relu, ... → y [N,10].
func write(path string, width, neck, layers int) (int64, error) {
	data := path + ".data"
	f, err := os.Create(data)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	w := &weights{out: bufio.NewWriterSize(f, 1<<20), location: filepath.Base(data), rng: rand.New(rand.NewPCG(1, 2))}
	inputs, outputs := onnxtest.Values(onnxtest.Value("x", "N", 64)), onnxtest.Values(onnxtest.Value("y", "N", 10))
	var parts []onnxtest.Part
	x, n := "x", 64
	for i := range layers + 2 {
		name, out := fmt.Sprint("wide", i), width
		if i%2 == 1 {
			name, out = fmt.Sprint("neck", i), neck
		}
		if i == layers+1 {
			name, out = "last", 10
		}
		t, err := w.add(name, out, n)
		if err != nil {
			return 0, err
		}
		parts = append(parts, onnxtest.RawInitializer(t), onnxtest.Floats(name+".bias", []int{out}, make([]float64, out)...))
		y := "y"
		if i <= layers {
			y = name + ".gemm"
		}
		parts = append(parts, onnxtest.Node("Gemm", x+" "+name+" "+name+".bias", y, onnxtest.Attr("transB", 1)))
		if i <= layers {
			parts = append(parts, onnxtest.Node("Relu", y, name+".relu"))
		}
		x, n = name+".relu", out
	}
	if err := w.out.Flush(); err != nil {
		return 0, err
	}
	raw, err := proto.Marshal(onnxtest.Model(inputs, outputs, parts...).Proto)
	if err != nil {
		return 0, err
	}
	return w.at, os.WriteFile(path, raw, 0o666)
}

// weights is a data file under construction.
type weights struct {
	out      *bufio.Writer
	location string
	at       int64
	rng      *rand.Rand
}

// add writes a matrix of independent normal numbers that keeps the scale of activations under Relu
// (He et al. 2015), and returns the tensor that refers to it.
func (w *weights) add(name string, rows, columns int) (*onnxpb.TensorProto, error) {
	scale := math.Sqrt(2 / float64(columns))
	var b [4]byte
	for range rows * columns {
		binary.LittleEndian.PutUint32(b[:], math.Float32bits(float32(scale*w.rng.NormFloat64())))
		if _, err := w.out.Write(b[:]); err != nil {
			return nil, err
		}
	}
	length := 4 * int64(rows) * int64(columns)
	t := &onnxpb.TensorProto{Name: &name, Dims: []int64{int64(rows), int64(columns)}, DataLocation: onnxpb.TensorProto_EXTERNAL.Enum()}
	typ := int32(onnxio.Float)
	t.DataType = &typ
	for _, e := range [...][2]string{
		{"location", w.location}, {"offset", strconv.FormatInt(w.at, 10)}, {"length", strconv.FormatInt(length, 10)},
	} {
		t.ExternalData = append(t.ExternalData, &onnxpb.StringStringEntryProto{Key: &e[0], Value: &e[1]})
	}
	w.at += length
	return t, nil
}

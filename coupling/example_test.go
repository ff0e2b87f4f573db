package coupling_test

import (
	"fmt"
	"log"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// A residual block: the channels of both its ends are one space, since they are added, and those
// inside it are another. Inputs and outputs of the model stay.
func ExampleAnalyze() {
	m, err := onnxtest.Parse(`
		x: N 3 8 8
		stem = Conv(x, w1[16 3 3 3], b1[16]) pads=1,1,1,1
		inside = Conv(stem, w2[32 16 3 3]) pads=1,1,1,1
		act = Relu(inside)
		back = Conv(act, w3[16 32 3 3]) pads=1,1,1,1
		sum = Add(stem, back)
		pool = GlobalAveragePool(sum)
		flat = Flatten(pool)
		y = Gemm(flat, w4[16 10])`)
	if err != nil {
		log.Fatal(err)
	}
	a, err := coupling.Analyze(m, coupling.Options{})
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range a.Spaces {
		fmt.Printf("%s: %d channels", s.Name, s.Width)
		if s.Frozen {
			fmt.Printf(", frozen: %s", s.Reason)
		}
		fmt.Println()
		for _, u := range s.Uses {
			fmt.Printf("\t%s axis %d of %s\n", u.Role, u.Axis, u.Tensor)
		}
	}
	// Output:
	// Conv_stem (in): 3 channels, frozen: graph input "x"
	// 	consumed axis 1 of w1
	// Conv_stem: 16 channels
	// 	produced axis 0 of w1
	// 	carried axis 0 of b1
	// 	consumed axis 1 of w2
	// 	produced axis 0 of w3
	// 	consumed axis 0 of w4
	// Conv_inside: 32 channels
	// 	produced axis 0 of w2
	// 	consumed axis 1 of w3
	// Gemm_y: 10 channels, frozen: graph output "y"
	// 	produced axis 1 of w4
}

// Half of the channels, spread over the pieces of each space that may get fewer.
func ExampleWidths() {
	m, err := onnxtest.Parse(`
		x: N 784
		h = Gemm(x, w1[784 64], b1[64])
		r = Relu(h)
		y = Gemm(r, w2[64 10], b2[10])`)
	if err != nil {
		log.Fatal(err)
	}
	a, err := coupling.Analyze(m, coupling.Options{})
	if err != nil {
		log.Fatal(err)
	}
	half := coupling.Widths{}
	for _, s := range a.Spaces {
		if s.Narrowable() {
			half.Set(s, s.Width/2)
		}
	}
	for _, w := range []coupling.Widths{nil, half} {
		macs, _ := a.MACs(w)
		first := a.Weights["w1"].Axes
		fmt.Printf("w1 is %d×%d, %d parameters, %d multiply-accumulates\n", w.Size(first[0]), w.Size(first[1]), a.Params(w), macs)
	}
	// Output:
	// w1 is 784×64, 50890 parameters, 50816 multiply-accumulates
	// w1 is 784×32, 25450 parameters, 25408 multiply-accumulates
}

package onnxio_test

import (
	"strings"
	"testing"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// Attributes that onnxruntime divides by, or reads beside its memory for, are refused, by the node's
// name; what is unusual but can be computed is not.
func TestCheckAttributes(t *testing.T) {
	for text, want := range map[string]string{
		"y = Conv(x, w[4 3 3 3]) pads=1,1,1,1 strides=2,2":               "",
		"y = Conv(x, w[4 3 3 3]) strides=0,1":                            `Conv "Conv_y": strides is [0 1]: want 1 to 2147483647`,
		"y = Conv(x, w[4 3 3 3]) strides=1,-1":                           "strides is [1 -1]",
		"y = Conv(x, w[4 3 3 3]) pads=-1,0,0,0":                          "pads is [-1 0 0 0]: want 0",
		"y = Conv(x, w[4 3 3 3]) pads=0,0,0,4294967296":                  "pads is [0 0 0 4294967296]",
		"y = Conv(x, w[4 3 3 3]) pads=1,1":                               "want 4 numbers",
		"y = Conv(x, w[4 3 3 3]) dilations=0,0":                          "dilations is [0 0]",
		"y = Conv(x, w[4 3 3 3]) dilations=1,1,1":                        "want 2 numbers",
		"y = Conv(x, w[4 3 3 3]) kernel_shape=3,2":                       "kernel_shape is [3 2]",
		"y = Conv(x, w[4 3]) kernel_shape=3,2":                           `weight "w" has 2 axes`,
		"y = Conv(x, w[4 3 3 3]) group=0":                                "group is [0]",
		"y = Conv(x, w[4 3 3 3]) group=-1":                               "group is [-1]",
		"y = Conv(x, w[4 1 3 3]) group=3":                                "does not divide the 4 channels",
		"y = Conv(x, w[0 3 3 3])":                                        `weight "w" is empty`,
		"y = ConvTranspose(x, w[3 4 3 3]) group=2":                       "does not divide the 3 channels",
		"y = ConvTranspose(x, w[3 4 3 3]) output_padding=-1,0":           "output_padding is [-1 0]",
		"y = ConvInteger(x, uint8_w[4 3 3 3]) strides=0,0":               "strides is [0 0]",
		"y = com.microsoft.NhwcConv(x, w[4 3 3 3]) strides=0,0":          "strides is [0 0]",
		"y = my.domain.Conv(x, w[4 3 3 3]) strides=0,0":                  "",
		"y = MaxPool(x) kernel_shape=2,2 strides=0,2":                    "strides is [0 2]",
		"y = MaxPool(x) kernel_shape=0,2":                                "kernel_shape is [0 2]",
		"y = AveragePool(x) kernel_shape=2,2 pads=0,-2,0,0":              "pads is [0 -2 0 0]",
		"y = LpPool(x) kernel_shape=2,2 p=0":                             "p is [0]",
		"y = Pad(x) pads=0,0,-1,-1,0,0,-1,-1":                            "",
		"y = LRN(x) size=0":                                              "size is [0]",
		"y = DepthToSpace(x) blocksize=0":                                "blocksize is [0]",
		"y = Split(x) num_outputs=0":                                     "num_outputs is [0]",
		"y = Softmax(x) axis=3":                                          "",
		"y = Softmax(x) axis=4":                                          `Softmax "Softmax_y": axis is [4]: "x" has 4 axes`,
		"y = Softmax(x) axis=-5":                                         "axis is [-5]",
		"y = Flatten(x) axis=4":                                          "",
		"y = Concat(x, x) axis=7":                                        "axis is [7]",
		"y = ReduceMean(x) axes=1,9":                                     "axes is [1 9]",
		"r = Relu(x)\ny = Softmax(r) axis=9":                             "", // what a file says of inner tensors may be wrong
		"y = Transpose(x) perm=0,1,1,3":                                  "perm is [0 1 1 3]",
		"y = Transpose(x) perm=0,1,2,7":                                  "perm is [0 1 2 7]",
		"y = Transpose(x) perm=0,3,1,2":                                  "",
		"y z = LSTM(x, w[1 8 3], r[1 8 2]) hidden_size=0":                "hidden_size is [0]",
		"y = com.microsoft.MultiHeadAttention(x, x, x) num_heads=0":      "num_heads is [0]",
		"y = com.microsoft.MultiHeadAttention(x, x, x) num_heads=999999": "",
	} {
		m, err := onnxtest.Parse("x: N 3 6 6\n" + text)
		if err != nil {
			t.Fatal(err)
		}
		g, err := m.Graph()
		if err != nil {
			t.Fatal(err)
		}
		if err := g.CheckAttributes(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// Bodies are looked at as well.
func TestCheckAttributesInside(t *testing.T) {
	x, y := onnxtest.Values(onnxtest.Value("x", "N", 3, 6, 6)), onnxtest.Values(onnxtest.Value("y"))
	body := onnxtest.Graph(nil, onnxtest.Values(onnxtest.Value("z")), onnxtest.Node("MaxPool", "x", "z",
		onnxtest.Attr("kernel_shape", 2, 2), onnxtest.Attr("strides", 0, 1)))
	m := onnxtest.Model(append(x, onnxtest.TypedValue("c", onnxio.Bool)), y,
		onnxtest.Node("If", "c", "y", onnxio.NewAttr("then_branch", body), onnxio.NewAttr("else_branch", body)))
	g, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	if err := g.CheckAttributes(); err == nil || !strings.Contains(err.Error(), `MaxPool "MaxPool_z": strides is [0 1]`) {
		t.Errorf("error %v", err)
	}
}

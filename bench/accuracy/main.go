// Accuracy runs `monge compress` on the cases of a table, evaluates the results and prints
// accuracy, drop, wall time and peak memory of each next to what is asked for. The cases are those
// of a folder, or the usual budgets of any model with data of its own. See README.md.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"text/tabwriter"
)

// A task is a data set and how its inputs are prepared.
type task struct {
	calib, test string
	flags       []string
}

var (
	mnist = task{"mnist_calib.npz", "mnist_test.npz", []string{"--scale", "0.00392156862745098", "--mean", "0.1307", "--std", "0.3081"}}
	cifar = task{"cifar10_calib.npz", "cifar10_dev.npz", []string{"--scale", "0.00392156862745098", "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"}}
	// The public model takes pixels as they are.
	pixels = task{"mnist_calib.npz", "mnist_test.npz", nil}
)

// A run is one row. Bounds are drops in points against the dense model, or top-1 itself where
// accuracy is set; zero asks for nothing.
type run struct {
	name          string
	task          task
	model, into   string
	flags         []string
	atLeast, goal float64
	accuracy      bool
}

var runs = []run{
	{"hetero wide → narrow", mnist, "otfusion/hetero_wide", "otfusion/hetero_narrow", flags(1000), 96.45, 96.80, true},
	{"resnet20 inner ×0.75", cifar, "cifar10/resnet20_a", "", flags(1000, "--keep", "0.75", "--keep-residual"), -2.6, -0.5, false},
	{"resnet20 inner ×0.5", cifar, "cifar10/resnet20_a", "", flags(1000, "--keep", "0.5", "--keep-residual"), -11, -4, false},
	{"resnet20 MACs 0.5, allocated", cifar, "cifar10/resnet20_a", "", flags(1000, "--macs", "0.5"), -11, -3, false},
	{"vgg11q ×0.75", cifar, "cifar10/vgg11q_a", "", flags(2000, "--keep", "0.75"), -2, -0.7, false},
	{"vgg11q ×0.5", cifar, "cifar10/vgg11q_a", "", flags(2000, "--keep", "0.5"), -10.5, -4, false},
	{"vgg11h → vgg11q", cifar, "cifar10/vgg11h_w", "cifar10/vgg11q_a", flags(2000), -4, -2, false},
	{"vgg11h MACs 0.5, uniform", cifar, "cifar10/vgg11h_w", "", flags(2000, "--macs", "0.5", "--uniform"), -1.2, -0.3, false},
	{"mnist-8 MACs 0.5", pixels, "zoo/mnist-8", "", flags(1000, "--macs", "0.5"), 0, -0.1, false},
	{"mnist-8 MACs 0.25", pixels, "zoo/mnist-8", "", flags(1000, "--macs", "0.25"), 0, -0.3, false},
	{"resnet20 all ×0.75", cifar, "cifar10/resnet20_a", "", flags(1000, "--keep", "0.75"), -6.7, -2.5, false},
	{"resnet20 all ×0.5", cifar, "cifar10/resnet20_a", "", flags(1000, "--keep", "0.5"), -24, -9, false},
}

// sweep is the table over the number of calibration images.
func sweep() (out []run) {
	for _, n := range []int{16, 64, 256, 1000, 4000} {
		for _, r := range []run{runs[2], runs[5]} {
			r.name = fmt.Sprintf("%s, %d images", r.name, n)
			r.flags = append(r.flags[:len(r.flags)-2:len(r.flags)-2], "--refit-samples", fmt.Sprint(n))
			r.atLeast, r.goal = 0, 0
			out = append(out, r)
		}
	}
	return out
}

// budgets are the cases of one model.
func budgets(model string, t task) (out []run) {
	for _, share := range []string{"0.75", "0.5"} {
		for _, more := range [][]string{{"--uniform", "--tune", "0"}, {"--tune", "0"}, nil} {
			f := append([]string{"--macs", share}, more...)
			out = append(out, run{name: strings.Join(f, " "), task: t, model: model, flags: f})
		}
	}
	return out
}

// in is a path in a folder of the given one; as it is without one.
func in(folder, kind, path string) string {
	if folder == "" {
		return path
	}
	return filepath.Join(folder, kind, path)
}

func flags(samples int, more ...string) []string {
	return append(more, "--refit-samples", fmt.Sprint(samples))
}

func main() {
	folder := flag.String("folder", "", "folder with data/ and models/")
	binary := flag.String("monge", "monge", "the command")
	only := flag.String("run", "", "regular expression of the cases to run")
	images := flag.Bool("images", false, "run the table over the number of calibration images")
	extra := flag.String("flags", "", "more flags for compress, separated by spaces")
	model := flag.String("model", "", "a model to run the usual budgets on, in place of the folder's cases")
	data := flag.String("data", "", "what it is compressed with")
	test := flag.String("test", "", "what it is judged on, with labels; flags about the inputs follow after --")
	flag.Parse()
	cases := runs
	switch {
	case *model != "":
		cases = budgets(strings.TrimSuffix(*model, ".onnx"), task{*data, *test, flag.Args()})
	case *images:
		cases = sweep()
	}
	if err := table(*folder, *binary, *only, cases, strings.Fields(*extra)); err != nil {
		fmt.Fprintln(os.Stderr, "accuracy:", err)
		os.Exit(1)
	}
}

func table(folder, binary, only string, all []run, extra []string) error {
	pick, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "accuracy")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "case\tdense\tresult\tdrop\tat least\taim\tMACs left\tseconds\tpeak MB\t")
	dense := map[string]float64{}
	for _, r := range all {
		if !pick.MatchString(r.name) {
			continue
		}
		model := in(folder, "models", r.model+".onnx")
		if _, known := dense[r.model]; !known {
			if dense[r.model], err = r.top1(binary, folder, model); err != nil {
				return err
			}
		}
		out := filepath.Join(scratch, "out.onnx")
		args := append([]string{"compress", model, "-o", out, "--force", "--json", "--data", in(folder, "data", r.task.calib)}, r.task.flags...)
		args = append(append(args, r.flags...), extra...)
		if r.into != "" {
			args = append(args, "--into", in(folder, "models", r.into+".onnx"))
		}
		var done struct {
			Before, After struct{ MACs float64 }
			Seconds       float64
			Peak          float64 `json:"peak_memory_bytes"`
		}
		if err := call(&done, binary, args...); err != nil {
			return err
		}
		got, err := r.top1(binary, folder, out)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%+.2f\t%s\t%s\t%.1f%%\t%.1f\t%.0f\t\n", r.name, dense[r.model], got, got-dense[r.model],
			bound(r.atLeast), bound(r.goal), 100*done.After.MACs/done.Before.MACs, done.Seconds, done.Peak/1e6)
		fmt.Fprintf(os.Stderr, "%s: %.2f → %.2f (%+.2f) in %.1f s\n", r.name, dense[r.model], got, got-dense[r.model], done.Seconds)
	}
	return w.Flush()
}

func bound(v float64) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", v)
}

// top1 evaluates a model, in percent.
func (r run) top1(binary, folder, model string) (float64, error) {
	var e struct{ Models []struct{ Top1 float64 } }
	args := append([]string{"eval", model, "--no-latency", "--json", "--data", in(folder, "data", r.task.test)}, r.task.flags...)
	if err := call(&e, binary, args...); err != nil {
		return 0, err
	}
	return 100 * e.Models[0].Top1, nil
}

func call(into any, name string, args ...string) error {
	c := exec.Command(name, args...)
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return fmt.Errorf("%s: %w", strings.Join(c.Args, " "), err)
	}
	return json.Unmarshal(out, into)
}

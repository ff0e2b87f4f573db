package main

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/monge-ml/monge/dataset"
	"github.com/spf13/cobra"
)

// parseData reads the flags of a data set.
func parseData(t *testing.T, args ...string) (dataset.Preprocess, error) {
	t.Helper()
	var f dataFlags
	cmd := &cobra.Command{Use: "test", SilenceErrors: true, SilenceUsage: true, RunE: func(cmd *cobra.Command, _ []string) error { return f.check(cmd) }}
	f.add(cmd, &shapeFlags{}, "")
	cmd.SetArgs(args)
	err := cmd.Execute()
	return f.preprocess(nil), err
}

func TestNumbers(t *testing.T) {
	for text, want := range map[string]float64{"1/255": 1. / 255, "0.5": .5, "1e-3": 1e-3, "-1": -1, "127.5/255": .5, " 1 / 4 ": .25, "2/-4": -.5} {
		if p, err := parseData(t, "--scale", text); err != nil || p.Scale != want {
			t.Errorf("--scale %q is %g, want %g (%v)", text, p.Scale, want, err)
		}
	}
	p, err := parseData(t, "--mean", "127.5/255,0.5, 1/2", "--std", "1/4")
	if err != nil || !slices.Equal(p.Mean, []float64{.5, .5, .5}) || !slices.Equal(p.Std, []float64{.25}) {
		t.Errorf("%+v, %v", p, err)
	}
	for _, text := range []string{"", "x", "1/0", "0/0", "1/2/3", "NaN", "Inf", "1/", "/255", "1e999"} {
		for _, name := range []string{"--scale", "--mean", "--std"} {
			_, err := parseData(t, name, text)
			if err == nil || !strings.Contains(err.Error(), `"`+name+`"`) || strings.Contains(err.Error(), "strconv") {
				t.Errorf("%s %q: %v", name, text, err)
			}
		}
	}
	for _, args := range [][]string{{"--scale", "0"}, {"--scale", "0/3"}, {"--std", "0.2,0"}} {
		if _, err := parseData(t, args...); err == nil || !strings.Contains(err.Error(), args[0]) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// A preset gives what the flags would, and does not mix with them.
func TestPresets(t *testing.T) {
	for name, flags := range map[string][]string{
		"0..1":     {"--scale", "1/255"},
		"-1..1":    {"--scale", "1/255", "--mean", "0.5", "--std", "0.5"},
		"imagenet": {"--scale", "1/255", "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"},
		"cifar10":  {"--scale", "1/255", "--mean", "0.4914,0.4822,0.4465", "--std", "0.2470,0.2435,0.2616"},
		"mnist":    {"--scale", "1/255", "--mean", "0.1307", "--std", "0.3081"},
	} {
		got, err := parseData(t, "--preset", name, "--crop", "32")
		want, err2 := parseData(t, append(flags, "--crop", "32")...)
		if err != nil || err2 != nil || got.Scale != want.Scale || !slices.Equal(got.Mean, want.Mean) || !slices.Equal(got.Std, want.Std) || got.Crop != 32 {
			t.Errorf("%s: %+v, want %+v (%v, %v)", name, got, want, err, err2)
		}
		for _, other := range []string{"--scale", "--mean", "--std"} {
			if _, err := parseData(t, "--preset", name, other, "1"); err == nil || !strings.Contains(err.Error(), other) || !strings.Contains(err.Error(), "--preset "+name) {
				t.Errorf("%s beside %s: %v", name, other, err)
			}
		}
		if !strings.Contains(rootHelp, "\n  "+name+" ") {
			t.Errorf("monge --help does not say what %s is", name)
		}
	}
	if _, err := parseData(t, "--preset", "mnsit"); err == nil || !strings.Contains(err.Error(), "imagenet") {
		t.Errorf("an unknown preset: %v", err)
	}
	if p, err := parseData(t, "--preset", "-1..1"); err != nil || math.Abs(255*p.Scale-p.Mean[0]-p.Std[0]) > 1e-15 {
		t.Errorf("-1..1 makes of 255: %v, %v", p, err)
	}
}

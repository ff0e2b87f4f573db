package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
)

// widthFlags say which spaces may get narrower, and to what widths.
type widthFlags struct {
	exclude      []string
	keepResidual bool
	multiple     multipleFlag
}

func (f *widthFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringArrayVar(&f.exclude, "exclude", nil, "keep the width of spaces made by nodes or weights whose name matches the `GLOB`, as in 'layer4*' (may be repeated)")
	fs.BoolVar(&f.keepResidual, "keep-residual", false, "leave every residual stream whole")
	fs.Var(&f.multiple, "multiple", "round widths to multiples of `N`; auto: what is fast, under --latency; else what suits the kernels of convolutions, 4 to 16, and 1 for other layers")
}

// A multipleFlag is what widths are multiples of; 0 is auto.
type multipleFlag int

func (m *multipleFlag) String() string {
	if *m == 0 {
		return "auto"
	}
	return strconv.Itoa(int(*m))
}
func (m *multipleFlag) Type() string { return "multiple" }
func (m *multipleFlag) Set(text string) error {
	if text == "auto" {
		*m = 0
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return fmt.Errorf("want 1 or more, or auto")
	}
	*m = multipleFlag(n)
	return nil
}

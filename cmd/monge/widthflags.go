package main

import "github.com/spf13/cobra"

// widthFlags say which spaces may get narrower, and to what widths.
type widthFlags struct {
	exclude      []string
	keepResidual bool
	multiple     int
}

func (f *widthFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringArrayVar(&f.exclude, "exclude", nil, "keep the width of spaces made by nodes or weights whose name matches the `GLOB`, as in 'layer4*' (may be repeated)")
	fs.BoolVar(&f.keepResidual, "keep-residual", false, "leave every residual stream whole")
	fs.IntVar(&f.multiple, "multiple", 0, "round widths to multiples of this; onnxruntime is often faster with 8 or 16 (default: 16 or 8 where a depthwise convolution carries a space, else 1)")
}

// check finds mistakes that need no file to be seen.
func (f *widthFlags) check(cmd *cobra.Command) error {
	return usageIf(f.multiple < 0 || f.multiple == 0 && cmd.Flags().Changed("multiple"), "--multiple is %d: want 1 or more", f.multiple)
}

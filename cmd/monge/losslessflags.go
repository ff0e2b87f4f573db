package main

import "github.com/spf13/cobra"

// losslessFlags say whether what does not matter is removed first.
type losslessFlags struct{ yes, no bool }

func (f *losslessFlags) add(cmd *cobra.Command, use string) {
	cmd.Flags().BoolVar(&f.yes, "lossless", true, use)
	cmd.Flags().BoolVar(&f.no, "no-lossless", false, "the same as --lossless=false")
}

func (f *losslessFlags) on() bool { return f.yes && !f.no }

// asked reports whether the pass was asked for by name.
func (f *losslessFlags) asked(cmd *cobra.Command) bool {
	return cmd.Flags().Changed("lossless") && f.on()
}

// contradict reports whether it is both asked for and refused.
func (f *losslessFlags) contradict(cmd *cobra.Command) bool {
	return cmd.Flags().Changed("lossless") && f.yes && f.no
}

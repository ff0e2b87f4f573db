package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/report"
)

type convertFlags struct {
	external, inline bool
	output           outputFlags
}

func (a *app) convertCommand() *cobra.Command {
	var f convertFlags
	cmd := &cobra.Command{
		Use:               "convert MODEL -o OUT [--external-data | --inline]",
		Short:             "Rewrite a model file without changing it: weights out to a data file, or in",
		Long:              convertHelp,
		Example:           "  monge convert model.onnx -o moved.onnx --external-data\n  monge convert moved.onnx -o whole.onnx --inline",
		Args:              takes(1, 1, "one model"),
		ValidArgsFunction: completeModels,
		RunE: running(func(cmd *cobra.Command, args []string) error {
			if f.external && f.inline {
				return usagef("give one of --external-data and --inline")
			}
			return a.convert(cmd.Context(), args[0], &f)
		}),
	}
	f.output.addFile(cmd)
	fs := cmd.Flags()
	fs.BoolVar(&f.external, "external-data", false, "move weights of 1 KiB and more into a data file beside OUT")
	fs.BoolVar(&f.inline, "inline", false, "move all weights into the model file (up to 2 GiB)")
	outputGroup.in(cmd)
	return cmd
}

func (a *app) convert(ctx context.Context, path string, f *convertFlags) error {
	if err := f.output.check(a, path); err != nil {
		return err
	}
	m, err := onnxio.Load(path)
	if err != nil {
		return in(path, err)
	}
	if err := f.output.readsAll(ctx, a, []*onnxio.Model{m}); err != nil {
		return err
	}
	r := &report.Conversion{Model: path, Output: f.output.path}
	if r.Before, err = report.StorageOf(m); err != nil {
		return in(path, err)
	}
	o := onnxio.SaveOptions{External: onnxio.Auto}
	switch {
	case f.external:
		o.External = onnxio.Always
	case f.inline:
		o.External = onnxio.Never
	}
	// Reading the result back is a check as well: what was written is a model.
	err = f.output.write(ctx, a, m, o, func(path string) error {
		written, err := onnxio.Load(path)
		if err != nil {
			return in(path, err)
		}
		r.After, err = report.StorageOf(written)
		return in(path, err)
	})
	if err != nil {
		return err
	}
	r.Cost = a.cost()
	return a.done(r)
}

package main

import (
	"github.com/spf13/cobra"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/qdq"
	"github.com/monge-ml/monge/lossless"
	"github.com/monge-ml/monge/report"
)

func (a *app) inspectCommand() *cobra.Command {
	var shapes shapeFlags
	cmd := &cobra.Command{
		Use:               "inspect MODEL",
		Short:             "Show layers and spaces: what can be narrowed, what is frozen and why",
		Long:              inspectHelp,
		Example:           "  monge inspect model.onnx\n  monge inspect model.onnx --json | jq '.spaces[] | select(.frozen) | .name'",
		Args:              takes(1, 1, "one model"),
		ValidArgsFunction: completeModels,
		RunE: running(func(cmd *cobra.Command, args []string) error {
			models, given, err := shapes.load(args)
			if err != nil {
				return err
			}
			m, form, err := qdq.Expand(models[0])
			if err != nil {
				return in(args[0], err)
			}
			if m, err = lossless.Compute(cmd.Context(), m, lossless.Options{InputShapes: given}); err != nil {
				return in(args[0], err)
			}
			s, err := edit.NewSubject(m, coupling.Options{InputShapes: given})
			if err != nil {
				return in(args[0], err)
			}
			return a.show(report.Inspect(models[0], s.Analysis, sizeOf(models[0], s.Analysis), form.Operator))
		}),
	}
	shapes.add(cmd)
	dataGroup.in(cmd)
	return cmd
}

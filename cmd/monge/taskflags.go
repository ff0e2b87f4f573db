package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/onnxio"
)

// taskFlags say what outputs are for.
type taskFlags struct {
	list []string
}

func (f *taskFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.list, "task", nil, "what the outputs are for, `TASK` or OUTPUT=TASK: classify, regress or embed; may be repeated (default: decided by evidence, and said)")
}

// tasks reads the flags for outputs of a model.
func (f *taskFlags) tasks(m *onnxio.Model) (eval.Tasks, error) {
	given := eval.Tasks{}
	var names []string
	for _, v := range m.Proto.GetGraph().GetOutput() {
		names = append(names, v.GetName())
	}
	for _, s := range f.list {
		name, text := "", s
		if i := strings.LastIndex(s, "="); i >= 0 {
			if name, text = s[:i], s[i+1:]; !slices.Contains(names, name) {
				return nil, usagef("--task %s: %s has no output %q; it has %s", s, m.Path, name, strings.Join(names, ", "))
			}
		}
		task, err := eval.ParseTask(text)
		if err != nil {
			return nil, usagef("--task %s: %s", s, err)
		}
		if _, twice := given[name]; twice {
			return nil, usagef("--task %s: there are two for the same outputs", s)
		}
		given[name] = task
	}
	return given, nil
}

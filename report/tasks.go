package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/monge-ml/monge/eval"
)

// mostTasks is the number of outputs up to which each is said to be for something.
const mostTasks = 3

// tasks says in a line what outputs were taken for, and why; "" where nothing was compared.
func tasks(outputs []eval.Output) string {
	var parts []string
	if len(outputs) > mostTasks {
		for _, t := range []eval.Task{eval.Classify, eval.Regress, eval.Embed} {
			n := 0
			for _, o := range outputs {
				if o.Task == t {
					n++
				}
			}
			if n > 0 {
				parts = append(parts, fmt.Sprintf("%d to %s", n, t))
			}
		}
		return fmt.Sprintf("outputs: %s (--json says which; --task sets it)\n", strings.Join(parts, ", "))
	}
	for _, o := range outputs {
		parts = append(parts, fmt.Sprintf("%s to %s (%s)", o.Name, o.Task, o.Reason))
	}
	if parts == nil {
		return ""
	}
	noun := "outputs"
	if len(outputs) == 1 {
		noun = "output"
	}
	return fmt.Sprintf("%s: %s\n", noun, strings.Join(parts, ", "))
}

// divergence says what candidates of a fusion are compared by.
func divergence(outputs []eval.Output) string {
	var parts []string
	for _, x := range []struct {
		task eval.Task
		text string
	}{{eval.Classify, "in nats"}, {eval.Embed, "one minus the cosine"}, {eval.Regress, "squared, relative to the variance"}} {
		if slices.ContainsFunc(outputs, func(o eval.Output) bool { return o.Task == x.task }) {
			parts = append(parts, x.text)
		}
	}
	if parts == nil {
		return "in nats"
	}
	return strings.Join(parts, " and ")
}

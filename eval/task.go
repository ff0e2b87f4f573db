package eval

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
)

// A Task is what an output of a model is for. It says how the outputs of two models are compared,
// and what several models that become one agree on.
type Task string

const (
	// Classify says that the numbers along one axis are scores of classes: probabilities, their
	// logarithms or logits. Only which is highest counts in the end; several models' opinions are
	// mixed as probabilities.
	Classify Task = "classify"
	// Regress says that every number counts for itself: coordinates, amounts, images. Of several
	// models the mean counts.
	Regress Task = "regress"
	// Embed says that the numbers along one axis are a vector of which the direction counts. Of
	// several models the mean counts.
	Embed Task = "embed"
)

// Tasks are the tasks of outputs by name, as a user gives them; that of "" holds for all others.
type Tasks map[string]Task

// An Output says what an output is for, and why that is thought.
type Output struct {
	Name   string `json:"name"`
	Task   Task   `json:"task"`
	Reason string `json:"reason"`

	// Axis is the axis of the classes or of the vectors, counted from 0.
	Axis int `json:"-"`
}

// Classes is the number of classes of an output of these sizes, where the scores of one decision
// lie side by side; 0 where they do not, or where there are no classes.
func (o Output) Classes(dims []int) int { return o.sideBySide(Classify, dims) }

// Vector is the number of numbers of a vector of an output of these sizes, where they lie side by
// side; 0 where they do not, or where there are no vectors.
func (o Output) Vector(dims []int) int { return o.sideBySide(Embed, dims) }

func (o Output) sideBySide(task Task, dims []int) int {
	if o.Task != task || o.Axis >= len(dims) || engine.Count(dims[o.Axis+1:]) != 1 {
		return 0
	}
	return dims[o.Axis]
}

// FindTasks decides what the outputs of models of one kind are for, by evidence: what makes an
// output, what it is called, whether labels of the data tell that its highest score is right, and
// how its numbers behave on the data. The evidence of any of the models counts; outputs go by
// position and are named as in the first one. Without data (nil) no model is run.
//
// A task that is given for an output that does not exist, or that has no two numbers to choose
// between, is an error.
func FindTasks(ctx context.Context, models []*onnxio.Model, data *dataset.Data, given Tasks, o dataset.StreamOptions) ([]Output, error) {
	if len(models) == 0 {
		return nil, nil
	}
	if data != nil {
		o.Batch = batchOf(models, data, o.Batch)
	}
	var all [][]*evidence // by output, by model
	for k, m := range models {
		list, err := gather(ctx, m, data, o)
		if err != nil {
			return nil, err
		}
		for i, e := range list {
			switch {
			case k == 0:
				all = append(all, []*evidence{e})
			case i < len(all):
				all[i] = append(all[i], e)
			}
		}
	}
	out := make([]Output, len(all))
	for i, list := range all {
		out[i] = decide(list)
	}
	return out, given.apply(models[0], all, out)
}

// apply replaces what was found by what is given.
func (t Tasks) apply(m *onnxio.Model, all [][]*evidence, out []Output) error {
	for name := range t {
		if name != "" && !slices.ContainsFunc(out, func(o Output) bool { return o.Name == name }) {
			var names []string
			for _, o := range out {
				names = append(names, fmt.Sprintf("%q", o.Name))
			}
			return m.InFile(fmt.Errorf("there is no output %q to give a task; there are %s", name, strings.Join(names, ", ")))
		}
	}
	fits := false
	for i := range out {
		o, e := &out[i], all[i][0]
		task, named := t[o.Name]
		if !named {
			task = t[""]
		}
		if task == "" {
			continue
		}
		axis, ok := o.Axis, o.Task == task
		if !ok {
			axis, ok = e.rowAxis()
		}
		if task != Regress && !ok {
			if named {
				return m.InFile(fmt.Errorf("output %q: task %s needs an axis of two numbers or more", o.Name, task))
			}
			continue
		}
		*o = Output{Name: o.Name, Task: task, Reason: "given", Axis: axis}
		fits = true
	}
	if task := t[""]; task != "" && !fits && len(t) == 1 && len(out) > 0 {
		return m.InFile(fmt.Errorf("task %s needs an output with an axis of two numbers or more", task))
	}
	return nil
}

// ParseTask reads the name of a task.
func ParseTask(s string) (Task, error) {
	switch t := Task(s); t {
	case Classify, Regress, Embed:
		return t, nil
	}
	return "", fmt.Errorf("task %q: want %s, %s or %s", s, Classify, Regress, Embed)
}

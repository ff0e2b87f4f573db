package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/child"
	"github.com/monge-ml/monge/internal/screen"
	"github.com/monge-ml/monge/report"
)

// metricFlags name a program of the user's that says how good a model is.
type metricFlags struct {
	command string
	lower   bool
	limit   time.Duration
	told    *report.Metric // nil where there is no program
}

// modelWord stands for the path of a model in the command.
const modelWord = "{model}"

func (f *metricFlags) add(cmd *cobra.Command, use string) {
	fs := cmd.Flags()
	fs.StringVar(&f.command, "metric", "", "a `COMMAND` of your own, such as 'python map.py {model}', that prints a number last: "+use+"; {model} stands for the path of a model, and larger is better")
	fs.BoolVar(&f.lower, "metric-lower", false, "of the numbers that --metric prints smaller ones are better, as of error rates")
	fs.DurationVar(&f.limit, "metric-time", time.Hour, "`TIME` that one call of --metric may take")
}

// given reports whether there is such a program.
func (f *metricFlags) given() bool { return f.command != "" }

func (f *metricFlags) check(cmd *cobra.Command) error {
	return cmp.Or(
		usageIf(f.given() && !strings.Contains(f.command, modelWord), "--metric %q: where is the model? Write %s where its path belongs", f.command, modelWord),
		usageIf(cmd.Flags().Changed("metric") && !f.given(), "--metric has no value: want a command"),
		misplaced(cmd, !f.given(), "without --metric", "metric-lower", "metric-time"),
		usageIf(f.limit <= 0, "--metric-time is %s: want a positive one", f.limit),
	)
}

// metric runs the program. After the first call, about a model that is called of, a line says what that
// took, and how many may follow: more.
func (f *metricFlags) metric(a *app, of, more string) eval.Metric {
	if !f.given() {
		return eval.Metric{}
	}
	f.told = &report.Metric{Command: f.command, Lower: f.lower}
	return eval.Metric{Lower: f.lower, Measure: func(ctx context.Context, path string) (float64, error) {
		began := time.Now()
		x, err := f.call(ctx, path)
		took := time.Since(began)
		f.told.Calls, f.told.Seconds = f.told.Calls+1, f.told.Seconds+took.Seconds()
		if err == nil && f.told.Calls == 1 && more != "" && !a.quiet {
			a.say(fmt.Sprintf("the metric is %.6g for %s, and took %.2g s; %s", x, of, took.Seconds(), more))
		}
		return x, err
	}}
}

// call runs the program on one model.
func (f *metricFlags) call(ctx context.Context, path string) (float64, error) {
	late := fmt.Errorf("it took longer than %s (--metric-time)", screen.Duration(f.limit))
	ctx, stop := context.WithTimeoutCause(ctx, f.limit, late)
	defer stop()
	said, err := child.Shell(ctx, strings.ReplaceAll(f.command, modelWord, child.Quote(path)))
	switch {
	case errors.Is(err, late), err == nil:
	case ctx.Err() != nil:
		return 0, err
	}
	if err != nil {
		text := fmt.Sprintf("--metric: %v", err)
		if last := lastLines(cmp.Or(strings.TrimSpace(said.Err), said.Out)); last != "" {
			text += ": " + last
		}
		return 0, errors.New(text)
	}
	x, err := lastNumber(said.Out)
	if err != nil {
		return 0, fmt.Errorf("--metric: %w", err)
	}
	return x, nil
}

// colours are what programs write to a terminal for these.
var colours = regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]")

// lastLines are the last lines of what a program printed, on one, with no more text than a person
// reads.
func lastLines(text string) string {
	const mostLines, mostText = 6, 600
	lines := strings.FieldsFunc(colours.ReplaceAllString(text, ""), func(r rune) bool { return r == '\n' || r == '\r' })
	var out []string
	for _, l := range lines[max(0, len(lines)-mostLines):] {
		if l = strings.TrimSpace(l); l != "" {
			out = append(out, l)
		}
	}
	joined := []rune(strings.Join(out, " / "))
	if len(joined) > mostText {
		return "… " + string(joined[len(joined)-mostText:])
	}
	return string(joined)
}

// number is one at the end of a line, perhaps with a percent sign or brackets behind it.
var number = regexp.MustCompile(`(?i)(?:^|[\s:=(\[{,'"])([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?(?:nan|inf|infinity))\s*%?[\s)\]},.;'"]*$`)

// lastNumber is the number that a program printed last, at the end of its last line.
func lastNumber(text string) (float64, error) {
	text = strings.TrimSpace(colours.ReplaceAllString(text, ""))
	line := text[strings.LastIndexAny(text, "\r\n")+1:]
	found := number.FindStringSubmatch(line)
	switch {
	case text == "":
		return 0, errors.New("the command printed nothing, where a number should be")
	case found == nil:
		return 0, fmt.Errorf("the command printed no number last: %s", lastLines(line))
	}
	return strconv.ParseFloat(found[1], 64)
}

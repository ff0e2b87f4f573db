package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/monge-ml/monge/internal/screen"
)

// A group is a heading of --help with the flags beneath it.
type group string

// The groups stand in the order in which a command adds them; flags of all commands come last.
const (
	outputGroup    group = "Output"
	budgetGroup    group = "Budget"
	widthGroup     group = "Widths"
	modelsGroup    group = "Models"
	dataGroup      group = "Data"
	refitGroup     group = "Refit and distillation"
	transportGroup group = "Transport"
	measureGroup   group = "Measurement"
	generalGroup   group = "General"
)

// in puts the flags of a command that have no group yet into this one.
func (g group) in(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if groupOf(f) == generalGroup {
			f.Annotations = map[string][]string{groupKey: {string(g)}}
		}
	})
}

const groupKey = "group"

func groupOf(f *pflag.Flag) group {
	if g := f.Annotations[groupKey]; len(g) > 0 {
		return group(g[0])
	}
	return generalGroup
}

// Help fits the terminal, but no more than mostHelp columns, which read badly; where there is no
// terminal it has defaultHelp, and never less than leastHelp.
const leastHelp, defaultHelp, mostHelp = 40, 80, 100

func helpWidth(columns int) int {
	if columns <= 0 {
		return defaultHelp
	}
	return min(max(columns, leastHelp), mostHelp)
}

// help prints what a command does, its usage and its flags.
func (a *app) help(cmd *cobra.Command) {
	w, width := a.stdout, helpWidth(a.columns)
	about := cmd.Long
	if about == "" {
		about = cmd.Short + "."
	}
	fmt.Fprintln(w, screen.Reflow(strings.TrimSpace(about), width))
	fmt.Fprintln(w, "\nUsage")
	if cmd.Runnable() {
		fmt.Fprintln(w, screen.Wrap("  "+usageLine(cmd), width, 6))
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(w, "  %s COMMAND\n", cmd.CommandPath())
		printCommands(w, cmd, width)
	}
	if cmd.Example != "" {
		fmt.Fprintln(w, "\nExamples\n"+cmd.Example)
	}
	printFlags(w, cmd, width)
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(w, "\n%s COMMAND --help describes a command.\n", cmd.CommandPath())
	}
}

// usageLine is how a command is written.
func usageLine(cmd *cobra.Command) string {
	line := cmd.Use
	if cmd.HasParent() {
		line = cmd.Parent().CommandPath() + " " + line
	}
	if cmd.HasAvailableLocalFlags() {
		line += " [flags]"
	}
	return line
}

func printCommands(w io.Writer, cmd *cobra.Command, width int) {
	fmt.Fprintln(w, "\nCommands")
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() || c.Name() == "help" {
			fmt.Fprintln(w, screen.WrapTerm("  "+c.Name(), c.Short, width, 14))
		}
	}
}

// printFlags lists a command's flags by groups.
func printFlags(w io.Writer, cmd *cobra.Command, width int) {
	var order []group
	lists := map[group][]*pflag.Flag{}
	list := func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		g := groupOf(f)
		if lists[g] == nil && g != generalGroup {
			order = append(order, g)
		}
		lists[g] = append(lists[g], f)
	}
	cmd.LocalFlags().VisitAll(list)
	cmd.InheritedFlags().VisitAll(list)
	for _, g := range append(order, generalGroup) {
		fmt.Fprintf(w, "\n%s\n", g)
		for _, f := range lists[g] {
			term, text := describe(f)
			fmt.Fprintln(w, screen.WrapTerm(term, text, width, flagColumn))
		}
	}
}

// flagColumn is where descriptions of flags begin.
const flagColumn = 26

// describe returns a flag with its value as help shows it, and what it does.
func describe(f *pflag.Flag) (term, text string) {
	value, text := pflag.UnquoteUsage(f)
	switch value {
	case "int":
		value = "N"
	case "float":
		value = "X"
	}
	term = "      --" + f.Name
	if f.Shorthand != "" {
		term = "  -" + f.Shorthand + ", --" + f.Name
	}
	if value != "" {
		term += " " + value
	}
	switch f.DefValue {
	case "", "0", "false", "[]":
		// Where that is not plain, the description tells.
	case "true":
		text += " (default: on)"
	default:
		text += fmt.Sprintf(" (default: %s)", f.DefValue)
	}
	return term + "  ", text
}

package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manCommand writes man pages, one for each command, for those who package the program.
func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write man pages into a folder",
		Hidden: true,
		Args:   takes(1, 1, "one folder"),
		RunE: running(func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			cmd.Root().DisableAutoGenTag = true
			for _, c := range append(cmd.Root().Commands(), cmd.Root()) {
				c.Long = tables(c.Long)
			}
			return doc.GenManTree(cmd.Root(), &doc.GenManHeader{Section: "1", Source: "Monge " + a.version, Manual: "Monge"}, args[0])
		}),
	}
}

// tables marks what is indented in a help text, as a table or an example is, as what Markdown leaves
// as it is.
func tables(text string) string {
	var out strings.Builder
	inside := false
	for line := range strings.Lines(text) {
		if now := strings.HasPrefix(line, "  "); now != inside && strings.TrimSpace(line) != "" {
			inside = now
			out.WriteByte('\n')
		}
		if inside {
			out.WriteString("    ")
		}
		out.WriteString(line)
	}
	return out.String()
}

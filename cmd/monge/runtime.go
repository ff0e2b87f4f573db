package main

import (
	"github.com/spf13/cobra"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/report"
)

func (a *app) runtimeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "runtime",
		Short: "Show which onnxruntime is used, and where it was looked for",
		Long:  runtimeHelp,
		Args:  takes(0, 0, "no arguments; perhaps you mean monge runtime install"),
		RunE: running(func(*cobra.Command, []string) error {
			lib, candidates := engine.Find()
			r := &report.Runtime{MinVersion: engine.MinVersion, Candidates: candidates}
			if lib.Path != "" {
				r.Used = &lib
			}
			if err := a.show(r); err != nil {
				return err
			}
			_, err := a.runtime()
			return err
		}),
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "install",
		Short: "Fetch onnxruntime into the user's cache with npm or pip",
		Args:  takes(0, 0, "no arguments"),
		RunE: running(func(cmd *cobra.Command, _ []string) error {
			lib, err := engine.Install(cmd.Context(), func(message string) {
				if !a.quiet {
					a.say(message)
				}
			})
			if err != nil {
				return err
			}
			return a.show(report.Installed(lib))
		}),
	})
	return cmd
}

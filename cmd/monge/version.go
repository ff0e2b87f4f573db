package main

import (
	"runtime"

	"github.com/spf13/cobra"

	"github.com/monge-ml/monge/report"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  takes(0, 0, "no arguments"),
		RunE: running(func(*cobra.Command, []string) error {
			return a.show(&report.Version{Version: a.version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH})
		}),
	}
}

package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/monge-ml/monge/report/page"
)

// pageFlags say where the result is shown as a page for a browser.
type pageFlags struct{ besideFlag }

func (p *pageFlags) add(cmd *cobra.Command) {
	p.flag = "report"
	cmd.Flags().StringVar(&p.out.path, p.flag, "", "also write a page for a browser to `FILE`: the verdict, the network drawn, plots, tables; one file, without scripts, nothing is fetched")
}

// about says how a page came about.
func (a *app) about() page.About { return page.About{Command: commandLine(a.args), Version: a.version} }

// render writes the page.
func (p *pageFlags) render(ctx context.Context, a *app, content *page.Page) error {
	return p.write(ctx, a, func(w io.Writer) error { return page.Render(w, content) })
}

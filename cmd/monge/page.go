package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/files"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/report/page"
)

// pageFlags say where the result is shown as a page for a browser.
type pageFlags struct{ out outputFlags }

func (p *pageFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.out.path, "report", "", "also write a page for a browser to `FILE`: the verdict, the network drawn, plots, tables; one file, without scripts, nothing is fetched")
}

// given reports whether there is to be a page.
func (p *pageFlags) given() bool { return p.out.path != "" }

// check finds out, before the work begins, whether the page can be written. other is where the
// command writes its result, "" for nowhere; inputs are files that are read.
func (p *pageFlags) check(a *app, other string, inputs ...string) error {
	if !p.given() {
		return nil
	}
	if p.out.path == other || other != "" && same(p.out.path, other) {
		return usagef("--report and -o both name %s", other)
	}
	p.out.final = true
	return p.out.check(a, inputs...)
}

// reads is told of models and data sets that are read.
func (p *pageFlags) reads(a *app, models []*onnxio.Model, data ...*dataset.Data) error {
	if !p.given() {
		return nil
	}
	list, err := filesOf(models...)
	if err != nil {
		return err
	}
	for _, d := range data {
		if d != nil {
			list = append(list, d.Files()...)
		}
	}
	return p.out.reads(a, list...)
}

// same reports whether two paths lead to one file.
func same(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// about says how a page came about.
func (a *app) about() page.About { return page.About{Command: commandLine(a.args), Version: a.version} }

// write writes the page. A file appears whole or not at all.
func (p *pageFlags) write(ctx context.Context, a *app, content *page.Page) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if p.out.streams() {
		return p.stream(a, content)
	}
	path, err := files.Follow(p.out.path)
	if err != nil {
		return cannotWrite(p.out.path, err)
	}
	to, err := files.Create(files.OS{}, filepath.Dir(path), 0o666)
	if err != nil {
		return cannotWrite(p.out.path, err)
	}
	defer to.Abort()
	err = page.Render(to, content)
	if err == nil {
		err = to.Sync()
	}
	if err == nil {
		err = to.Place(path)
	}
	if err != nil {
		return cannotWrite(p.out.path, err)
	}
	return nil
}

// stream writes the page to what is no file.
func (p *pageFlags) stream(a *app, content *page.Page) error {
	dir, err := files.NewFolder()
	if err != nil {
		return err
	}
	defer dir.Remove()
	whole, err := os.Create(filepath.Join(dir.Path, "page.html"))
	if err != nil {
		return err
	}
	defer whole.Close()
	if err := page.Render(whole, content); err != nil {
		return err
	}
	if _, err := whole.Seek(0, 0); err != nil {
		return err
	}
	if err := p.out.send(a, whole); err != nil {
		return cannotWrite(p.out.path, err)
	}
	return nil
}

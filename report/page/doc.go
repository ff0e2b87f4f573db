// Package page presents results as a page for a browser: the report of a command and its models go
// in, one self-contained HTML file comes out, without scripts and without anything that has to be
// fetched.
//
//	stages, err := page.Stages(ctx, before, after, nil)
//	p, err := page.Compression(r, stages, nil, page.About{Command: "monge compress ...", Version: "1.0.0"})
//	err = page.Render(w, p)
//
// The page begins with the verdict. The network is drawn with the widths before and after. Tables
// are those that a command prints ([report.Parts]), plots are made by gonum/plot. It is readable in
// light and dark, on a phone and on paper, and says nothing by colour alone.
package page

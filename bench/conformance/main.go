//go:build cgo

// Command conformance shows, for all ONNX files in some folders, that package onnxio loses nothing:
// a model that is read and written is the same model, with its weights inside or in a data file,
// and onnxruntime computes the same bits from it. See README.md.
package main

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/monge-ml/monge/engine"
)

func main() {
	o := options{}
	jsonFile := flag.String("json", "", "write all results to `FILE`")
	quiet := flag.Bool("quiet", false, "no progress")
	flag.Float64Var(&o.keep, "compress", 0, "also compress every model to this share of its channels, without data")
	flag.Func("shape", "`NAME=1x3`: sizes of an input with free dimensions (may be repeated)", o.addShape)
	flag.Func("value", "`NAME=V`: fill an input with a number instead of random ones (may be repeated)", o.addValue)
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: conformance [flags] FOLDER...")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	progress := io.Writer(os.Stderr)
	if *quiet {
		progress = io.Discard
	}
	failures, err := run(flag.Args(), o, *jsonFile, os.Stdout, progress)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance: "+err.Error())
		os.Exit(1)
	}
	if failures > 0 {
		os.Exit(1)
	}
}

// run checks all models below the folders and returns the number of failures.
func run(folders []string, o options, jsonFile string, out, progress io.Writer) (int, error) {
	lib, err := engine.Available()
	if err != nil {
		return 0, err
	}
	r := report{Runtime: lib.Version}
	for _, folder := range folders {
		files, err := models(folder)
		if err != nil {
			return 0, err
		}
		if len(files) == 0 {
			return 0, fmt.Errorf("%s: no ONNX files", folder)
		}
		for i, file := range files {
			fmt.Fprintf(progress, "%s: %d of %d\n", folder, i+1, len(files))
			x, err := check(file, o)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", file, err)
			}
			x.Group = folder
			r.Models = append(r.Models, x)
		}
	}
	r.summarize()
	r.print(out)
	if jsonFile != "" {
		text, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return 0, err
		}
		if err := os.WriteFile(jsonFile, append(text, '\n'), 0o644); err != nil {
			return 0, err
		}
	}
	return len(r.Failures), nil
}

// models lists the .onnx files below a folder, sorted.
func models(folder string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Ext(path) == ".onnx" {
			files = append(files, path)
		}
		return err
	})
	slices.Sort(files)
	return files, err
}

// report is everything that was found out.
type report struct {
	Runtime string    `json:"onnxruntime"`
	Groups  []group   `json:"groups"`
	Models  []*result `json:"models"`
	// Failures are the models with a failed check, with the reason.
	Failures []string `json:"failures"`
	// Reasons counts why models were not run.
	Reasons map[string]int `json:"not_run"`
	// LoadErrors counts what onnxruntime says about originals that it refuses.
	LoadErrors map[string]int `json:"load_errors"`
}

// group counts the models of one folder.
type group struct {
	Name       string `json:"folder"`
	Models     int    `json:"models"`
	Equal      int    `json:"equal"`         // read, written and read again
	Identical  int    `json:"identical"`     // the same bytes
	Moved      int    `json:"moved"`         // the same with weights out and in again
	Loads      int    `json:"loads"`         // the original loads in onnxruntime
	LoadsToo   int    `json:"loads_written"` // so do both copies
	Runs       int    `json:"runs"`          // the original runs
	Same       int    `json:"same_outputs"`  // so do both copies, with the same bits
	Random     int    `json:"random"`        // no two runs of the original agree
	Narrowed   int    `json:"narrowed"`      // compressed, and the result loads
	NoNarrower int    `json:"nothing_to_narrow"`
}

func (r *report) summarize() {
	r.Reasons, r.LoadErrors = map[string]int{}, map[string]int{}
	at := map[string]int{}
	for _, x := range r.Models {
		if _, ok := at[x.Group]; !ok {
			at[x.Group] = len(r.Groups)
			r.Groups = append(r.Groups, group{Name: x.Group})
		}
		g := &r.Groups[at[x.Group]]
		g.Models++
		for _, c := range []struct {
			is bool
			n  *int
		}{
			{x.Equal, &g.Equal}, {x.Identical, &g.Identical}, {x.Moved, &g.Moved}, {x.Loads, &g.Loads}, {x.LoadsWritten, &g.LoadsToo},
			{x.Runs, &g.Runs}, {x.Same, &g.Same}, {x.Random, &g.Random}, {x.Narrowed, &g.Narrowed}, {x.NothingToNarrow, &g.NoNarrower},
		} {
			if c.is {
				*c.n++
			}
		}
		if x.Failure != "" {
			r.Failures = append(r.Failures, x.Model+": "+x.Failure)
		}
		if x.NotRun != "" {
			r.Reasons[x.NotRun]++
		}
		if x.LoadError != "" {
			r.LoadErrors[kind(x.LoadError)]++
		}
	}
}

func (r *report) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "models\tequal\tidentical\tmoved\tload\tcopies load\trun\tsame bits\trandom\tnarrowed\tnothing to narrow\t  folder")
	for _, g := range r.Groups {
		fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t  %s\n", g.Models, g.Equal, g.Identical, g.Moved,
			g.Loads, g.LoadsToo, g.Runs, g.Same, g.Random, g.Narrowed, g.NoNarrower, g.Name)
	}
	w.Flush()
	counted(out, "not run", r.Reasons)
	counted(out, "what onnxruntime says about originals that it does not load", r.LoadErrors)
	fmt.Fprintf(out, "\nonnxruntime %s; %d failures\n", r.Runtime, len(r.Failures))
	for _, f := range r.Failures {
		fmt.Fprintln(out, "  "+f)
	}
}

// counted prints what occurred how often, the most frequent first.
func counted(out io.Writer, title string, n map[string]int) {
	if len(n) == 0 {
		return
	}
	fmt.Fprintf(out, "\n%s:\n", title)
	keys := slices.SortedFunc(maps.Keys(n), func(a, b string) int {
		return cmp.Or(n[b]-n[a], strings.Compare(a, b))
	})
	for _, k := range keys {
		fmt.Fprintf(out, "%5d  %s\n", n[k], k)
	}
}

// kind cuts names of nodes and files out of a message of onnxruntime.
func kind(message string) string {
	message = strings.TrimPrefix(message, "Error creating C session from file: ")
	for _, k := range []struct{ has, means string }{
		{"Could not find an implementation for", "it has no kernel for an operator in this version or type"},
		{"is not a registered function/op", "it does not know an operator"},
	} {
		if strings.Contains(message, k.has) {
			return k.means
		}
	}
	// Exceptions name a file and a line of onnxruntime, and a method, first.
	if i := strings.LastIndex(message, "onnxruntime_src"); i >= 0 {
		if _, rest, ok := strings.Cut(message[i:], " "); ok {
			return rest
		}
	}
	return message
}

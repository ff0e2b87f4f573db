package latency

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/monge-ml/monge/internal/files"
	"github.com/monge-ml/monge/internal/guard"
)

// A Table holds what the operators of a model take, at several widths. The fields up to MS say what
// was measured on what; they are empty where that is not known.
type Table struct {
	Runtime string `json:"onnxruntime"` // its version
	CPU     string `json:"cpu"`
	Threads int    `json:"threads"` // that worked on one operator
	// MS is what one run of the model takes as it is, in milliseconds; one in ten takes less.
	MS float64 `json:"ms"`
	// Error is by how much what the table says of the models that it was made from is off, relative
	// to what they took as a whole: the mean over them.
	Error     float64 `json:"error"`
	Operators []Row   `json:"operators"`

	fits *fits
}

// doubtful is an Error from which on a table is of little use.
const doubtful = 0.3

// Doubtful reports whether a table is far off even for the models that it was made from, as where a
// machine had much else to do.
func (t *Table) Doubtful() bool { return t.Error > doubtful }

// A Row is what an operator took once.
type Row struct {
	Op string `json:"op"`
	// Node is the name of the node, or where it has none its first output; "" where the row is for
	// all operators of its kind and shapes.
	Node string `json:"node,omitempty"`
	// Inputs and Outputs are the shapes of what the operator reads, weights included, and makes;
	// null where one is not known.
	Inputs  [][]int `json:"inputs"`
	Outputs [][]int `json:"outputs"`
	// MS is in milliseconds; 0 where the operator is part of another one.
	MS float64 `json:"ms"`
}

// mostTable is how many bytes a table may have: more than a hundred thousand operators.
const mostTable = 16 << 20

// Read reads a table from a file: the JSON that [Table.Save] writes, or, where the name ends in
// .csv, a line for each row with the columns op, inputs, outputs, ms and, optionally, node, which the
// first line names in any order. Shapes are written as 1x16x32x32, several with semicolons between
// them; lines that begin with # are left out.
func Read(path string) (_ *Table, err error) {
	defer guard.Recover(&err)
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t, text := &Table{}, files.Bounded(f, mostTable)
	if strings.EqualFold(filepath.Ext(path), ".csv") {
		t.Operators, err = readCSV(text)
	} else {
		d := json.NewDecoder(text)
		d.DisallowUnknownFields()
		err = d.Decode(t)
	}
	if err == nil {
		err = t.check()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: latency table: %w", path, err)
	}
	return t, nil
}

// check finds what no table has.
func (t *Table) check() error {
	if len(t.Operators) == 0 {
		return errors.New("there are no operators in it")
	}
	if !(t.MS >= 0) || t.Threads < 0 {
		return fmt.Errorf("%g ms on %d threads: want positive numbers", t.MS, t.Threads)
	}
	for i, r := range t.Operators {
		switch {
		case r.Op == "":
			return fmt.Errorf("row %d has no operator", i+1)
		case !(r.MS >= 0 && r.MS < 1e9):
			return fmt.Errorf("row %d: %s takes %g ms: want a number from 0", i+1, r.Op, r.MS)
		}
		for _, dims := range slices.Concat(r.Inputs, r.Outputs) {
			if slices.ContainsFunc(dims, func(n int) bool { return n < 0 || n > 1<<31 }) {
				return fmt.Errorf("row %d: %s has the shape %v", i+1, r.Op, dims)
			}
		}
	}
	return nil
}

// readCSV reads rows.
func readCSV(f io.Reader) ([]Row, error) {
	r := csv.NewReader(f)
	r.Comment, r.TrimLeadingSpace = '#', true
	lines, err := r.ReadAll()
	if err != nil {
		return nil, err
	}
	if len(lines) == 0 {
		return nil, errors.New("it is empty")
	}
	column := map[string]int{}
	for i, name := range lines[0] {
		column[strings.ToLower(strings.TrimSpace(name))] = i
	}
	for _, name := range []string{"op", "inputs", "outputs", "ms"} {
		if _, ok := column[name]; !ok {
			return nil, fmt.Errorf("its first line names no column %q", name)
		}
	}
	var rows []Row
	for i, line := range lines[1:] {
		row := Row{Op: strings.TrimSpace(line[column["op"]])}
		if k, ok := column["node"]; ok {
			row.Node = line[k]
		}
		for _, x := range []struct {
			to   *[][]int
			text string
		}{{&row.Inputs, line[column["inputs"]]}, {&row.Outputs, line[column["outputs"]]}} {
			if *x.to, err = parseShapes(x.text); err != nil {
				return nil, fmt.Errorf("row %d: %w", i+1, err)
			}
		}
		if row.MS, err = strconv.ParseFloat(strings.TrimSpace(line[column["ms"]]), 64); err != nil {
			return nil, fmt.Errorf("row %d: %q is no number of milliseconds", i+1, line[column["ms"]])
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// parseShapes reads 1x16x32x32;16x16x3x3.
func parseShapes(text string) (shapes [][]int, err error) {
	for part := range strings.SplitSeq(text, ";") {
		var dims []int
		for size := range strings.SplitSeq(part, "x") {
			if strings.TrimSpace(part) == "" {
				break // a number without axes, or not known
			}
			n, err := strconv.Atoi(strings.TrimSpace(size))
			if err != nil {
				return nil, fmt.Errorf("shape %q: want one as in 1x16x32x32", part)
			}
			dims = append(dims, n)
		}
		shapes = append(shapes, dims)
	}
	return shapes, nil
}

// Save writes the table to a file, as JSON with a line for each operator; the file appears whole or
// not at all.
func (t *Table) Save(path string) (err error) {
	defer guard.Recover(&err)
	path, err = files.Follow(path)
	if err != nil {
		return err
	}
	f, err := files.Create(files.OS{}, filepath.Dir(path), 0o666)
	if err != nil {
		return err
	}
	defer f.Abort()
	if err := t.write(f); err != nil {
		return err
	}
	if err := f.Flush(); err != nil {
		return err
	}
	return f.Place(path)
}

// write prints the table.
func (t *Table) write(w io.Writer) error {
	head := *t
	head.Operators = nil
	text, err := json.MarshalIndent(&head, "", "  ")
	if err != nil {
		return err
	}
	at := strings.LastIndex(string(text), "null") // in the place of the operators
	before, after := string(text[:at]), string(text[at+len("null"):])
	if _, err := io.WriteString(w, before+"["); err != nil {
		return err
	}
	for i, r := range t.Operators {
		line, err := json.Marshal(r)
		if err != nil {
			return err
		}
		comma := ","
		if i == 0 {
			comma = ""
		}
		if _, err := fmt.Fprintf(w, "%s\n    %s", comma, line); err != nil {
			return err
		}
	}
	_, err = io.WriteString(w, "\n  ]"+after+"\n")
	return err
}

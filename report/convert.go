package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/monge-ml/monge/internal/screen"
	"github.com/monge-ml/monge/onnxio"
)

// A Conversion is the result of rewriting a model file.
type Conversion struct {
	Model  string  `json:"model"`  // path of the input
	Output string  `json:"output"` // path of the result
	Before Storage `json:"before"`
	After  Storage `json:"after"`
	Cost
}

// Storage says where a model's weights lie.
type Storage struct {
	FileBytes       int64    `json:"file_bytes"`       // size of the model file
	ExternalBytes   int64    `json:"external_bytes"`   // size of the weights in data files, without padding
	Tensors         int      `json:"tensors"`          // all stored tensors
	ExternalTensors int      `json:"external_tensors"` // those in data files
	DataFiles       []string `json:"data_files"`       // paths
}

// StorageOf describes a model.
func StorageOf(m *onnxio.Model) (Storage, error) {
	s, err := m.Storage()
	if s.DataFiles == nil {
		s.DataFiles = []string{}
	}
	return Storage{s.FileBytes, s.ExternalBytes, s.Tensors, s.External, s.DataFiles}, err
}

// Print writes the result for a person.
func (r *Conversion) Print(w io.Writer) {
	t := newTable("<", "model file", "data files", "weights inside", "outside")
	for _, row := range []struct {
		name string
		s    Storage
	}{{"before", r.Before}, {"after", r.After}} {
		t.add(row.name, screen.Bytes(row.s.FileBytes), screen.Bytes(row.s.ExternalBytes),
			grouped(int64(row.s.Tensors-row.s.ExternalTensors)), grouped(int64(row.s.ExternalTensors)))
	}
	t.print(w)
	fmt.Fprintf(w, "\n%s written %s\n", strings.Join(append([]string{r.Output}, r.After.DataFiles...), " and "), r.Cost.text())
}

package screen

import (
	"bytes"
	"io"
)

// A Writer prints on a terminal. It wraps lines that take more columns than there are, and escapes
// characters that are not printable, so that no name can move the cursor.
type Writer struct {
	w       io.Writer
	columns int
	line    []byte // not complete yet

	// Shortened is set where something was cut to fit.
	Shortened bool
}

// NewWriter returns a writer for a terminal of so many columns; 0 where there is no terminal, and
// lines may be as long as they are.
func NewWriter(w io.Writer, columns int) *Writer { return &Writer{w: w, columns: columns} }

// Columns is the number of columns that lines written to w may take; 0 where they may be as long as
// they are.
func Columns(w io.Writer) int {
	if s, ok := w.(*Writer); ok {
		return s.columns
	}
	return 0
}

// hang is the indentation of lines that continue another one.
const hang = 2

// Write prints the lines that are complete.
func (s *Writer) Write(p []byte) (int, error) {
	s.line = append(s.line, p...)
	end := bytes.LastIndexByte(s.line, '\n') + 1
	if end == 0 {
		return len(p), nil
	}
	var out []byte
	for line := range bytes.Lines(s.line[:end]) {
		text := Escape(string(bytes.TrimSuffix(line, []byte("\n"))))
		out = append(append(out, Wrap(text, s.columns, hang)...), '\n')
	}
	s.line = append(s.line[:0], s.line[end:]...)
	_, err := s.w.Write(out)
	return len(p), err
}

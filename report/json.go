package report

import (
	"encoding/json"
	"io"
)

// JSON writes a result as indented JSON and a newline.
func JSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

package report

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// JSON writes a result as indented JSON and a newline. Numbers that are not finite, for which JSON
// has no word, become null. Characters of names that are not printable are escaped. Nothing is
// written if there is an error.
func JSON(w io.Writer, v any) error {
	text, err := json.Marshal(v, jsonv1.DefaultOptionsV1(), jsontext.WithIndent("  "), jsontext.EscapeForHTML(false), json.WithMarshalers(finite))
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, escaped(string(text))+"\n")
	return err
}

// finite marshals numbers that are not as null, and leaves the others to the encoder.
var finite = json.JoinMarshalers(
	json.MarshalToFunc(func(e *jsontext.Encoder, x float64) error { return nullUnlessFinite(e, x) }),
	json.MarshalToFunc(func(e *jsontext.Encoder, x float32) error { return nullUnlessFinite(e, float64(x)) }),
)

func nullUnlessFinite(e *jsontext.Encoder, x float64) error {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return e.WriteToken(jsontext.Null)
	}
	return errors.ErrUnsupported
}

// escaped writes what terminals might take for commands, which JSON allows, as \u escapes. Such
// characters are in strings only.
func escaped(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n' || strconv.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

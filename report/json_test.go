package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// results are all types that commands print.
func results() []any {
	return []any{&Inspection{}, &Compression{}, &Fusion{}, &Evaluation{}, &Conversion{}, &Runtime{}, &Installed{}, &Version{}}
}

// fill sets everything that v holds: numbers to x, and two elements wherever there may be any
// number.
func fill(v reflect.Value, x float64) {
	switch v.Kind() {
	case reflect.Float32, reflect.Float64:
		v.SetFloat(x)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString("name <\x1b[2J\u009b>")
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), x)
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() {
				fill(f, x)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), x)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), x)
		}
	case reflect.Map:
		key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, x)
		fill(elem, x)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, elem)
	default:
		panic(fmt.Sprintf("a result holds a %s", v.Type()))
	}
}

// numbers counts the floating-point numbers that v holds.
func numbers(v reflect.Value) int {
	n := 0
	switch v.Kind() {
	case reflect.Float32, reflect.Float64:
		return 1
	case reflect.Pointer:
		return numbers(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); (f.IsExported() || f.Anonymous) && f.Tag.Get("json") != "-" {
				n += numbers(v.Field(i))
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			n += numbers(v.Index(i))
		}
	}
	return n
}

// No number that a result may hold keeps its JSON from being written.
func TestJSONOfNumbersThatAreNotFinite(t *testing.T) {
	for _, r := range results() {
		for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			fill(reflect.ValueOf(r).Elem(), x)
			var b bytes.Buffer
			if err := JSON(&b, r); err != nil {
				t.Fatalf("%T of %g: %v", r, x, err)
			}
			if !json.Valid(b.Bytes()) {
				t.Fatalf("%T of %g is no JSON: %s", r, x, &b)
			}
			if nulls, want := strings.Count(b.String(), "null"), numbers(reflect.ValueOf(r)); nulls != want {
				t.Errorf("%T of %g has %d nulls for %d numbers: %s", r, x, nulls, want, &b)
			}
			if strings.ContainsAny(b.String(), "\x1b\u009b") {
				t.Errorf("%T writes escape sequences as they are", r)
			}
		}
	}
}

// Of all else the JSON is that of the standard library.
func TestJSONIsTheStandardOne(t *testing.T) {
	for _, r := range results() {
		for _, x := range []float64{0, 0.1, 1e-9, 1e21, -2.5} {
			fill(reflect.ValueOf(r).Elem(), x)
			for _, v := range []any{r, reflect.New(reflect.TypeOf(r).Elem()).Interface()} {
				var got, want bytes.Buffer
				if err := JSON(&got, v); err != nil {
					t.Fatalf("%T: %v", v, err)
				}
				e := json.NewEncoder(&want)
				e.SetEscapeHTML(false)
				e.SetIndent("", "  ")
				if err := e.Encode(v); err != nil {
					t.Fatalf("%T: %v", v, err)
				}
				if diff := cmp.Diff(strings.ReplaceAll(want.String(), "\u009b", `\u009b`), got.String()); diff != "" {
					t.Fatalf("%T: %s", v, diff)
				}
			}
		}
	}
}

package report

import (
	"encoding"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// A Schema is a JSON Schema (draft 2020-12) of what a command prints with --json, as far as types and
// names go; docs/json.md says what they mean.
type Schema struct {
	Draft      string             `json:"$schema,omitempty"`
	Title      string             `json:"title,omitempty"`
	Type       any                `json:"type,omitempty"` // a name, or several
	Properties map[string]*Schema `json:"properties,omitempty"`
	// Required are the names that are there in any case. Further names may be added to an object.
	Required []string `json:"required,omitempty"`
	Items    *Schema  `json:"items,omitempty"`
	Values   *Schema  `json:"additionalProperties,omitempty"` // of objects whose names are data
}

// Schemas returns the schema of every command that has JSON, by the command's name.
func Schemas() map[string]*Schema {
	out := map[string]*Schema{}
	for name, v := range map[string]any{
		"inspect": Inspection{}, "compress": Compression{}, "fuse": Fusion{}, "eval": Evaluation{}, "latency": Latency{},
		"sensitivity": Sensitivity{}, "explore": Exploration{}, "diff": Difference{}, "convert": Conversion{}, "runtime": Runtime{}, "version": Version{},
	} {
		s := schemaOf(reflect.TypeOf(v))
		s.Draft, s.Title = "https://json-schema.org/draft/2020-12/schema", "monge "+name+" --json"
		out[name] = s
	}
	return out
}

// A shower is a type that shows itself in JSON as another one.
type shower interface{ Shown() any }

// schemaOf describes a type as the encoder writes it. Numbers that are none, and lists and pointers
// that are nil, are null.
func schemaOf(t reflect.Type) *Schema {
	if s, ok := reflect.New(t).Interface().(shower); ok && t.Kind() == reflect.Struct {
		return schemaOf(reflect.TypeOf(s.Shown()))
	}
	if t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return &Schema{Type: "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem()).orNull()
	case reflect.Struct:
		return schemaOfStruct(t)
	case reflect.Slice, reflect.Array:
		return (&Schema{Type: "array", Items: schemaOf(t.Elem())}).orNull()
	case reflect.Map:
		return (&Schema{Type: "object", Values: schemaOf(t.Elem())}).orNull()
	case reflect.String:
		return &Schema{Type: "string"}
	case reflect.Bool:
		return &Schema{Type: "boolean"}
	case reflect.Float32, reflect.Float64:
		return (&Schema{Type: "number"}).orNull()
	case reflect.Interface:
		return &Schema{}
	}
	return &Schema{Type: "integer"}
}

// orNull lets null stand for a value.
func (s *Schema) orNull() *Schema {
	if name, ok := s.Type.(string); ok {
		s.Type = []string{name, "null"}
	}
	return s
}

// schemaOfStruct lists the fields that are written, those of embedded structs among them: of several
// with one name the outermost.
func schemaOfStruct(t reflect.Type) *Schema {
	s := &Schema{Type: "object", Properties: map[string]*Schema{}}
	depth, always := map[string]int{}, map[string]bool{}
	for _, f := range reflect.VisibleFields(t) {
		tag, tagged := f.Tag.Lookup("json")
		name, options, _ := strings.Cut(tag, ",")
		if f.Anonymous && name == "" || !f.IsExported() || tag == "-" || !promoted(t, f.Index) {
			continue
		}
		if !tagged || name == "" {
			name = f.Name
		}
		if d, known := depth[name]; known && d <= len(f.Index) {
			continue
		}
		depth[name] = len(f.Index)
		omits := strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
		p := schemaOf(f.Type)
		if list, several := p.Type.([]string); several && omits && f.Type.Kind() != reflect.Float64 {
			p.Type = list[0] // where there is none the name is missing
		}
		s.Properties[name], always[name] = p, !omits
	}
	for _, name := range slices.Sorted(maps.Keys(always)) {
		if always[name] {
			s.Required = append(s.Required, name)
		}
	}
	return s
}

// promoted reports whether a field is one of the struct's own, or of structs that are embedded
// without a name in the JSON.
func promoted(t reflect.Type, index []int) bool {
	for _, i := range index[:len(index)-1] {
		f := t.Field(i)
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			return false
		}
		if t = f.Type; t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
	}
	return true
}

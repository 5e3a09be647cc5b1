// Package strictjson reads JSON from strangers: one RFC 8259 text, checked
// whole before any of it is believed, then decoded member by member so that
// everything wrong with it is reported at once.
//
// The standard decoder accepts duplicate names, case-folded names and invalid
// UTF-8; this package is built on the json/v2 tokenizer, which does not.
package strictjson

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxDepth is how deep arrays and objects may nest in one text.
const MaxDepth = 64

// Check reports why data is not exactly one acceptable JSON text: a syntax
// error, nothing at all, trailing data, a duplicate name, invalid UTF-8 or a
// lone surrogate, or nesting beyond MaxDepth. The error is fit for the client.
func Check(data []byte) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return errors.New("the body is empty")
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(data)) // a Buffer is read in place
	if _, err := d.ReadValue(); err != nil {
		return explain(err)
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return fmt.Errorf("there is data after the JSON text at byte %d", d.InputOffset())
	}
	if at := tooDeep(data); at >= 0 {
		return fmt.Errorf("nesting is deeper than %d at byte %d", MaxDepth, at)
	}
	return nil
}

// tooDeep returns where a JSON text that is known to be valid nests beyond
// MaxDepth, or -1.
func tooDeep(data []byte) int {
	depth, inString := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '[' || c == '{':
			if depth++; depth > MaxDepth {
				return i
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return -1
}

// explain keeps the decoder's reason and place, without its package prefix.
func explain(err error) error {
	var syntactic *jsontext.SyntacticError
	if !errors.As(err, &syntactic) {
		return errors.New("the JSON text ends too early")
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return fmt.Errorf("duplicate name at %q", string(syntactic.JSONPointer))
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the JSON text ends too early")
	}
	return fmt.Errorf("%v at byte %d", syntactic.Err, syntactic.ByteOffset)
}

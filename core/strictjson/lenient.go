package strictjson

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// Split cuts the elements out of the array that the object in data has as its
// member name. It returns data with an empty array in that place, and the
// elements as they are: neither is checked, and an element may be anything whose
// quotes and brackets match. Where there is no such array, or its elements cannot
// be told apart, Split returns data itself, for [Check] to explain.
func Split(data []byte, name string) (rest []byte, elements []jsontext.Value) {
	s := scanner{data: data}
	if !s.take('{') {
		return data, nil
	}
	for {
		key, ok := s.next(':')
		if !ok || !s.take(':') {
			return data, nil
		}
		text, err := jsontext.AppendUnquote(nil, bytes.TrimSpace(key))
		start := s.at
		if err == nil && string(text) == name && s.take('[') {
			return s.split(start)
		}
		if _, ok := s.next(','); !ok || !s.take(',') {
			return data, nil
		}
	}
}

// split cuts the array that has just been opened; start is where its member's
// value starts.
func (s *scanner) split(start int) (rest []byte, elements []jsontext.Value) {
	first := s.at
	for {
		element, ok := s.next(',')
		element = bytes.TrimSpace(element)
		more := ok && s.take(',')
		if !ok || len(element) == 0 && (more || len(elements) > 0) {
			return s.data, nil
		}
		if len(element) > 0 {
			elements = append(elements, element)
		}
		if more {
			continue
		}
		if !s.take(']') {
			return s.data, nil
		}
		rest = append(bytes.Clone(s.data[:first]), s.data[s.at-1:]...)
		return rest, elements
	}
}

// scanner walks through a text by its quotes and brackets alone.
type scanner struct {
	data []byte
	at   int
}

// take steps over white space and then over c, if it is there.
func (s *scanner) take(c byte) bool {
	at := s.at
	for at < len(s.data) && bytes.IndexByte([]byte(" \t\r\n"), s.data[at]) >= 0 {
		at++
	}
	if at == len(s.data) || s.data[at] != c {
		return false
	}
	s.at = at + 1
	return true
}

// next steps to the delimiter, or to the bracket that closes what is open, and
// returns the text before it. It reports whether the quotes and brackets of that
// text match.
func (s *scanner) next(delimiter byte) (text []byte, ok bool) {
	start := s.at
	var open []byte // the brackets that close what is open
	for inString := false; s.at < len(s.data); s.at++ {
		switch c := s.data[s.at]; {
		case inString && c == '\\':
			s.at++
		case c == '"':
			inString = !inString
		case inString:
		case c == '[' || c == '{':
			open = append(open, c+2) // in ASCII, ] is [ + 2, and } is { + 2
		case len(open) == 0 && (c == delimiter || c == ']' || c == '}'):
			return s.data[start:s.at], true
		case c == ']' || c == '}':
			if open[len(open)-1] != c {
				return nil, false
			}
			open = open[:len(open)-1]
		}
	}
	return nil, false
}

// Mend returns data with U+FFFD in place of lone surrogates and invalid UTF-8 in
// the member name of its object; the other members keep their bytes. Data that
// is well-formed, or that this cannot mend, is returned as it is.
func Mend(data []byte, name string) []byte {
	if jsontext.Value(data).IsValid() {
		return data
	}
	d := jsontext.NewDecoder(bytes.NewReader(data), jsontext.AllowInvalidUTF8(true))
	if token, err := d.ReadToken(); err != nil || token.Kind() != '{' {
		return data
	}
	for d.PeekKind() == '"' {
		key, err := d.ReadToken()
		if err != nil {
			return data
		}
		found := key.String() == name
		value, err := d.ReadValue()
		if err != nil {
			return data
		}
		if !found {
			continue
		}
		end := int(d.InputOffset())
		mended := value.Clone()
		// A canonical string holds U+FFFD where the text is invalid.
		if err := mended.Format(jsontext.AllowInvalidUTF8(true), jsontext.PreserveRawStrings(false)); err != nil {
			return data
		}
		return append(append(bytes.Clone(data[:end-len(value)]), mended...), data[end:]...)
	}
	return data
}

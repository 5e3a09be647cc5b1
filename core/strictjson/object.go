package strictjson

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// FieldError says what is wrong with one value: where it is, as an RFC 6901
// pointer, and the rule that it breaks.
type FieldError struct {
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
}

// A Field decodes the value at a pointer and returns the rules that it breaks.
// Values have been checked by [Check].
type Field func(at string, v jsontext.Value) []FieldError

// Object decodes an object. The function member says how to decode a member;
// nil means that there is none of that name, which is an error. Names match
// exactly. All errors are returned, in the members' order, those that are
// missing last.
func Object(member func(name string) Field, required ...string) Field {
	return func(at string, v jsontext.Value) []FieldError {
		if v.Kind() != '{' {
			return broken(at, "must be an object")
		}
		var errs []FieldError
		missing := slices.Clone(required)
		d := checked(v)
		_, err := d.ReadToken()
		for err == nil && d.PeekKind() != '}' {
			var token jsontext.Token
			if token, err = d.ReadToken(); err != nil {
				break
			}
			name := token.String()
			missing = slices.DeleteFunc(missing, func(s string) bool { return s == name })
			var value jsontext.Value
			if value, err = d.ReadValue(); err != nil {
				break
			}
			if field := member(name); field != nil {
				errs = append(errs, field(Member(at, name), value)...)
			} else {
				errs = append(errs, FieldError{Member(at, name), "is not a known field"})
			}
		}
		if err != nil {
			return broken(at, "%v", err)
		}
		for _, name := range missing {
			errs = append(errs, FieldError{Member(at, name), "is required"})
		}
		return errs
	}
}

// checked decodes a value that [Check] has seen: its names need not be compared
// again.
func checked(v jsontext.Value) *jsontext.Decoder {
	return jsontext.NewDecoder(bytes.NewBuffer(v), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// Member returns the pointer of an object's member or an array's element.
func Member(at, name string) string {
	return string(jsontext.Pointer(at).AppendToken(name))
}

func broken(at, rule string, args ...any) []FieldError {
	return []FieldError{{at, fmt.Sprintf(rule, args...)}}
}

// Array decodes an array's elements one by one.
func Array(element func(i int) Field) Field {
	return func(at string, v jsontext.Value) []FieldError {
		if v.Kind() != '[' {
			return broken(at, "must be an array")
		}
		var errs []FieldError
		d := checked(v)
		_, err := d.ReadToken()
		for i := 0; err == nil && d.PeekKind() != ']'; i++ {
			var value jsontext.Value
			if value, err = d.ReadValue(); err == nil {
				errs = append(errs, element(i)(Member(at, strconv.Itoa(i)), value)...)
			}
		}
		if err != nil {
			return broken(at, "%v", err)
		}
		return errs
	}
}

// Text decodes a string of at most most characters, whatever they are.
func Text(to *string, most int) Field {
	return func(at string, v jsontext.Value) []FieldError {
		if v.Kind() != '"' {
			return broken(at, "must be a string")
		}
		s, err := jsontext.AppendUnquote(nil, v)
		if err != nil {
			return broken(at, "%v", err)
		}
		if utf8.RuneCount(s) > most {
			return broken(at, "must have at most %d characters", most)
		}
		*to = string(s)
		return nil
	}
}

// Name decodes a string that [ValidName] accepts.
func Name(to *string, most int) Field {
	return func(at string, v jsontext.Value) []FieldError {
		var s string
		if errs := Text(&s, most)(at, v); errs != nil {
			return errs
		}
		if s == "" {
			return broken(at, "must have at least 1 character")
		}
		if !ValidName(s, most) {
			return broken(at, "must not contain control characters")
		}
		*to = s
		return nil
	}
}

// ValidName reports whether s has 1 to limit characters, none of them an ASCII
// control character: such a text can be a name, an id or a header's value.
func ValidName(s string, limit int) bool {
	return s != "" && utf8.RuneCountInString(s) <= limit &&
		!strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// Bool decodes true or false.
func Bool(to *bool) Field {
	return func(at string, v jsontext.Value) []FieldError {
		if k := v.Kind(); k != 't' && k != 'f' {
			return broken(at, "must be true or false")
		}
		*to = v.Kind() == 't'
		return nil
	}
}

// Number decodes a number from least to most.
func Number(to *float64, least, most float64) Field {
	return func(at string, v jsontext.Value) []FieldError {
		if v.Kind() != '0' {
			return broken(at, "must be a number")
		}
		f, err := strconv.ParseFloat(string(v), 64)
		if err != nil || f < least || f > most {
			return broken(at, "must be from %s to %s", digits(least), digits(most))
		}
		*to = f
		return nil
	}
}

// digits writes a number without an exponent.
func digits(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// Int decodes a whole number from least to most; as in JSON Schema, 1.0 is one.
func Int(to *int, least, most int) Field {
	return func(at string, v jsontext.Value) []FieldError {
		var f float64
		if errs := Number(&f, float64(least), float64(most))(at, v); errs != nil {
			return errs
		}
		if f != math.Trunc(f) {
			return broken(at, "must be an integer")
		}
		*to = int(f)
		return nil
	}
}

// Raw keeps a value as the bytes it came in, whitespace aside. The kind is '['
// for an array, '{' for an object, or 0 for any value.
func Raw(to *jsontext.Value, kind jsontext.Kind) Field {
	return func(at string, v jsontext.Value) []FieldError {
		switch {
		case kind == '[' && v.Kind() != '[':
			return broken(at, "must be an array")
		case kind == '{' && v.Kind() != '{':
			return broken(at, "must be an object")
		}
		v = v.Clone()
		if err := v.Compact(); err != nil {
			return broken(at, "%v", err)
		}
		*to = v
		return nil
	}
}

// Nullable lets null stand for an absent member.
func Nullable(f Field) Field {
	return func(at string, v jsontext.Value) []FieldError {
		if v.Kind() == 'n' {
			return nil
		}
		return f(at, v)
	}
}

package task

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Time is an instant as it is stored and shown: UTC, whole microseconds. Its
// text is RFC 3339 with exactly six fraction digits and Z, so that texts sort
// as the instants do. The zero Time means that there is none; in JSON it is null.
type Time struct{ time.Time }

const timeLayout = "2006-01-02T15:04:05.000000Z"

// At returns t as a Time. A fraction of a microsecond is rounded up, so that a
// task never runs before the instant that was asked for.
func At(t time.Time) Time {
	if down := t.Truncate(time.Microsecond); down.Before(t) {
		t = down.Add(time.Microsecond)
	}
	return Time{t.UTC().Round(0)}
}

// Plus returns t moved by d.
func (t Time) Plus(d time.Duration) Time { return At(t.Add(d)) }

// String returns the text described at [Time], or "" when there is none.
func (t Time) String() string {
	if t.IsZero() {
		return ""
	}
	return string(t.appendText(make([]byte, 0, len(timeLayout))))
}

// appendText appends what AppendFormat would with timeLayout, which it would
// read anew each time: a task has some eight times written on its way in.
func (t Time) appendText(b []byte) []byte {
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.AppendFormat(b, timeLayout)
	}
	hour, minute, second := t.Clock()
	b = append(digits(b, year, 1000), '-')
	b = append(digits(b, int(month), 10), '-')
	b = append(digits(b, day, 10), 'T')
	b = append(digits(b, hour, 10), ':')
	b = append(digits(b, minute, 10), ':')
	b = append(digits(b, second, 10), '.')
	return append(digits(b, t.Nanosecond()/1000, 100_000), 'Z')
}

// digits appends n, whose first digit counts place.
func digits(b []byte, n, place int) []byte {
	for ; place > 0; place /= 10 {
		b = append(b, byte('0'+n/place%10))
	}
	return b
}

// MarshalText implements encoding.TextMarshaler, for stores.
func (t Time) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText accepts any RFC 3339 timestamp whose year, in UTC, has a text of
// four digits too, and "" for none.
func (t *Time) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*t = Time{}
		return nil
	}
	var parsed time.Time
	if err := parsed.UnmarshalText(text); err != nil {
		return err
	}
	at := At(parsed)
	if year := at.Year(); year < 1 || year > 9999 {
		return fmt.Errorf("the year is %d in UTC", year)
	}
	*t = at
	return nil
}

// MarshalJSONTo writes the text, or null.
func (t Time) MarshalJSONTo(e *jsontext.Encoder) error {
	if t.IsZero() {
		return e.WriteToken(jsontext.Null)
	}
	text := append(t.appendText(append(e.AvailableBuffer(), '"')), '"')
	return e.WriteValue(text)
}

// UnmarshalJSONFrom reads the text, or null.
func (t *Time) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	token, err := d.ReadToken()
	if err != nil {
		return err
	}
	if token.Kind() == 'n' {
		*t = Time{}
		return nil
	}
	return t.UnmarshalText([]byte(token.String()))
}

// later returns the latest of the given instants.
func later(first Time, rest ...Time) Time {
	for _, t := range rest {
		if t.After(first.Time) {
			first = t
		}
	}
	return first
}

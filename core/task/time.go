package task

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Time is an instant in UTC with a precision of one microsecond. Its text is RFC 3339
// with exactly six fraction digits and Z, so that texts sort like the instants. The
// zero Time means that there is none; in JSON it is null.
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

// appendText does what AppendFormat does with timeLayout, but does not parse the
// layout each time: one enqueue writes about eight times.
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

// digits appends n in decimal. place is the power of ten of the first digit.
func digits(b []byte, n, place int) []byte {
	for ; place > 0; place /= 10 {
		b = append(b, byte('0'+n/place%10))
	}
	return b
}

// MarshalText implements encoding.TextMarshaler, for stores.
func (t Time) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// rfc3339 is what the RFC allows, with T and Z in upper case. The standard
// library's parser takes more: a comma, hours of one digit, offsets beyond a day.
var rfc3339 = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// UnmarshalText accepts any RFC 3339 timestamp whose year, in UTC, has a text of
// four digits too, and "" for none.
func (t *Time) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*t = Time{}
		return nil
	}
	if !inOwnLayout(text) && !rfc3339.Match(text) {
		return errors.New("not an RFC 3339 timestamp")
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

// latest returns the latest of the given instants.
func latest(first Time, rest ...Time) Time {
	for _, t := range rest {
		if t.After(first.Time) {
			first = t
		}
	}
	return first
}

// inOwnLayout reports whether text is as String writes it, at a fraction of the
// cost of rfc3339: reading a record parses some eight timestamps.
func inOwnLayout(text []byte) bool {
	if len(text) != len(timeLayout) {
		return false
	}
	for i, c := range text {
		if digit := '0' <= timeLayout[i] && timeLayout[i] <= '9'; digit && (c < '0' || c > '9') || !digit && c != timeLayout[i] {
			return false
		}
	}
	return true
}

// nearMisses are the layouts of timestamps that other tools write instead of RFC
// 3339. Go's parser accepts a fraction of a second with every layout.
var nearMisses = []string{
	"2006-01-02 15:04:05Z07:00",    // Python's str(datetime), SQL
	"2006-01-02T15:04:05Z07:00:00", // an offset with seconds, as local mean time has
	"2006-01-02 15:04:05Z07:00:00",
	"2006-01-02t15:04:05Z07:00",
	"2006-01-02T15:04:05-0700", // ISO 8601 without the colon
	"2006-01-02 15:04:05-0700",
	"2006-01-02T15:04Z07:00",    // without seconds
	time.RFC1123, time.RFC1123Z, // HTTP and mail
}

// timestampHint returns what to write instead of a text that is not a timestamp,
// as the end of a sentence; "" where nobody can tell.
func timestampHint(text string) string {
	for _, layout := range nearMisses {
		if t, err := time.Parse(layout, text); err == nil {
			return ": write " + t.UTC().Format(time.RFC3339Nano)
		}
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05"} {
		if t, err := time.Parse(layout, text); err == nil {
			return ": it has no offset; for UTC write " + t.Format(time.RFC3339Nano)
		}
	}
	if _, err := time.Parse(time.DateOnly, text); err == nil {
		return ": it has no time; for midnight in UTC write " + text + "T00:00:00Z"
	}
	return ""
}

package dynamostore

import (
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/task"
)

// FuzzDecode puts anything into one attribute of an item, or of a map in it: the
// item is refused, or it is a record that is written and read back the same.
func FuzzDecode(f *testing.F) {
	for _, seed := range [][2]string{
		{"enqueued_at", "0000-01-01T00:00:00+14:00"}, {"progress.fraction", "1e999"}, {"priority", "9999999999999999999"},
		{"metadata.a", ""}, {"errors", "x"}, {"revision", "-0"}, {"keyed", ""}, {"worker_ids", "w"}, {"max_attempts", "1.5"},
	} {
		for kind := range byte(6) {
			f.Add(seed[0], kind, seed[1])
		}
	}
	f.Fuzz(func(t *testing.T, name string, kind byte, text string) {
		full := &task.Record{}
		n := 0
		fill(reflect.ValueOf(full).Elem(), &n)
		full.ReturnValue, full.Args, full.Kwargs = `1`, `[]`, `{}`
		item := encoded(t, full, "7", 3)
		at := item
		outer, inner, nested := strings.Cut(name, ".")
		if m, ok := item[outer].(*types.AttributeValueMemberM); nested && ok {
			at, name = m.Value, inner
		}
		at[name] = []types.AttributeValue{
			&types.AttributeValueMemberS{Value: text}, &types.AttributeValueMemberN{Value: text}, &types.AttributeValueMemberBOOL{Value: text != ""},
			&types.AttributeValueMemberL{Value: []types.AttributeValue{&types.AttributeValueMemberS{Value: text}}},
			&types.AttributeValueMemberM{Value: map[string]types.AttributeValue{text: &types.AttributeValueMemberS{Value: text}}},
			&types.AttributeValueMemberNULL{Value: true},
		}[kind%6]
		r, err := decode(item)
		if err != nil {
			if !strings.Contains(err.Error(), "not an item of this store") {
				t.Error(err)
			}
			return
		}
		same, err := decode(encoded(t, r, r.Revision, 3))
		if err != nil || !reflect.DeepEqual(normal(same), normal(r)) {
			t.Errorf("%s = %q of kind %d: %+v is read as %+v, %v", name, text, kind, r, same, err)
		}
	})
}

// normal is the record without what an item does not tell apart.
func normal(r *task.Record) *task.Record {
	if len(r.Metadata) == 0 {
		r.Metadata = nil
	}
	for name, v := range r.Unknown { // a number has one spelling, and what is too small is 0
		if v.Kind() != '0' {
			continue
		}
		f, _ := strconv.ParseFloat(string(v), 64)
		if math.Abs(f) < 1e-130 {
			f = 0
		}
		r.Unknown[name] = jsontext.Value(strconv.FormatFloat(f, 'g', -1, 64))
	}
	if r.Progress != nil && r.Progress.Fraction != r.Progress.Fraction {
		r.Progress.Fraction = 0
	}
	return r
}

package dynamostore

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/task"
)

// An item is the record's JSON: its members are the attributes, so that people who
// look into the table find them by name, and so that members of a later version,
// which a record keeps, are kept here too. Beside them are the attributes of the
// table and its index (definition.go).

// encode makes an item of a record.
func encode(r *task.Record, revision string, shard int) (map[string]types.AttributeValue, error) {
	data, err := json.Marshal(r, jsontext.AllowDuplicateNames(true))
	if err != nil {
		return nil, &task.Error{Kind: task.Internal, Msg: "cannot encode the record", Err: err}
	}
	item, err := newReader(data).object(24)
	if err != nil {
		return nil, &task.Error{Kind: task.Internal, Msg: "cannot encode the record", Err: err}
	}
	item[revisionAttribute] = &types.AttributeValueMemberN{Value: revision}
	item[shardAttribute] = number(int64(shard))
	item[positionAttribute] = &types.AttributeValueMemberS{Value: position(r.Position())}
	item[TTLAttribute] = number(r.DeleteAfter.Add(time.Second - 1).Unix())
	return item, nil
}

// decode makes a record of an item, which it takes apart.
func decode(item map[string]types.AttributeValue) (*task.Record, error) {
	revision, ok := item[revisionAttribute].(*types.AttributeValueMemberN)
	if !ok {
		return nil, unreadable(fmt.Errorf("the revision is a %T", item[revisionAttribute]))
	}
	for _, own := range [...]string{revisionAttribute, shardAttribute, positionAttribute, TTLAttribute} {
		delete(item, own)
	}
	var data bytes.Buffer
	if err := write(jsontext.NewEncoder(&data, jsontext.AllowDuplicateNames(true)), &types.AttributeValueMemberM{Value: item}); err != nil {
		return nil, unreadable(err)
	}
	r := &task.Record{Revision: revision.Value}
	if err := json.Unmarshal(data.Bytes(), r, jsontext.AllowDuplicateNames(true)); err != nil {
		return nil, unreadable(err)
	}
	return r, nil
}

func unreadable(err error) error {
	return &task.Error{Kind: task.Unavailable, Msg: "the store has an item that cannot be read", Err: fmt.Errorf("not an item of this store: %w", err)}
}

// reader turns JSON into attributes. Texts are parts of one copy of the JSON, and
// share their memory: an enqueue must not allocate for each attribute.
type reader struct {
	*jsontext.Decoder
	text  string
	texts []types.AttributeValueMemberS
}

func newReader(data []byte) *reader {
	return &reader{
		Decoder: jsontext.NewDecoder(bytes.NewBuffer(data), jsontext.AllowDuplicateNames(true)),
		text:    string(data), texts: make([]types.AttributeValueMemberS, 0, 24),
	}
}

func (r *reader) object(size int) (map[string]types.AttributeValue, error) {
	if _, err := r.ReadToken(); err != nil { // {
		return nil, err
	}
	item := make(map[string]types.AttributeValue, size)
	for r.PeekKind() != '}' {
		name, err := r.ReadValue()
		if err != nil {
			return nil, err
		}
		key := r.unquote(name)
		if item[key], err = r.value(); err != nil {
			return nil, err
		}
	}
	_, err := r.ReadToken()
	return item, err
}

func (r *reader) value() (types.AttributeValue, error) {
	switch r.PeekKind() {
	case '{':
		m, err := r.object(4)
		return &types.AttributeValueMemberM{Value: m}, err
	case '[':
		return r.list()
	}
	raw, err := r.ReadValue()
	if err != nil {
		return nil, err
	}
	switch raw.Kind() {
	case '"':
		r.texts = append(r.texts, types.AttributeValueMemberS{Value: r.unquote(raw)})
		return &r.texts[len(r.texts)-1], nil
	case '0':
		return &types.AttributeValueMemberN{Value: smallest(string(raw))}, nil
	case 'n':
		return &types.AttributeValueMemberNULL{Value: true}, nil
	}
	return &types.AttributeValueMemberBOOL{Value: raw.Kind() == 't'}, nil
}

func (r *reader) list() (types.AttributeValue, error) {
	if _, err := r.ReadToken(); err != nil { // [
		return nil, err
	}
	var values []types.AttributeValue
	for r.PeekKind() != ']' {
		value, err := r.value()
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	_, err := r.ReadToken()
	return &types.AttributeValueMemberL{Value: values}, err
}

// unquote returns the text of the JSON string that was just read.
func (r *reader) unquote(raw jsontext.Value) string {
	if !bytes.ContainsRune(raw, '\\') {
		end := int(r.InputOffset())
		return r.text[end-len(raw)+1 : end-1]
	}
	text, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		return "" // the decoder has read it
	}
	return string(text)
}

// smallest returns a number as DynamoDB takes it: what is below its smallest
// number is 0.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
func smallest(number string) string {
	if !strings.ContainsAny(number, "eE") {
		return number
	}
	if f, err := strconv.ParseFloat(number, 64); err == nil && f < 1e-130 && f > -1e-130 {
		return "0"
	}
	return number
}

// hasJSON reports whether JSON has the type of an attribute. Sets and binary values
// are not this store's: an operator may have added them to an item.
func hasJSON(value types.AttributeValue) bool {
	switch value.(type) {
	case *types.AttributeValueMemberB, *types.AttributeValueMemberBS, *types.AttributeValueMemberNS, *types.AttributeValueMemberSS:
		return false
	}
	return true
}

// write writes an attribute as JSON.
func write(e *jsontext.Encoder, value types.AttributeValue) error {
	switch v := value.(type) {
	case *types.AttributeValueMemberS:
		return e.WriteToken(jsontext.String(v.Value))
	case *types.AttributeValueMemberN:
		return e.WriteValue(jsontext.Value(v.Value))
	case *types.AttributeValueMemberBOOL:
		return e.WriteToken(jsontext.Bool(v.Value))
	case *types.AttributeValueMemberL:
		if err := e.WriteToken(jsontext.BeginArray); err != nil {
			return err
		}
		for _, value := range v.Value {
			if err := write(e, value); err != nil {
				return err
			}
		}
		return e.WriteToken(jsontext.EndArray)
	case *types.AttributeValueMemberM:
		if err := e.WriteToken(jsontext.BeginObject); err != nil {
			return err
		}
		for name, value := range v.Value {
			if !hasJSON(value) {
				continue
			}
			if err := errors.Join(e.WriteToken(jsontext.String(name)), write(e, value)); err != nil {
				return err
			}
		}
		return e.WriteToken(jsontext.EndObject)
	}
	return e.WriteToken(jsontext.Null)
}

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

// position returns a record's place as the index sorts it: timestamps in text sort
// as the instants do.
func position(p task.Position) string { return p.EnqueuedAt.String() + "#" + p.ID }

// parsePosition reads a place from an index key.
func parsePosition(key map[string]types.AttributeValue) (p task.Position, err error) {
	text, ok := key[positionAttribute].(*types.AttributeValueMemberS)
	if !ok {
		return p, fmt.Errorf("the position is a %T", key[positionAttribute])
	}
	at, id, _ := strings.Cut(text.Value, "#")
	p.ID = id
	return p, p.EnqueuedAt.UnmarshalText([]byte(at))
}

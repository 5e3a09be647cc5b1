package dynamostore

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/taskgate/taskgate/core/task"
)

// encoder fills an item or a map within one.
type encoder struct {
	item  map[string]types.AttributeValue
	texts []types.AttributeValueMemberS // the texts' own memory, allocated together
}

func (e *encoder) always(name, value string) {
	e.texts = append(e.texts, types.AttributeValueMemberS{Value: value})
	e.item[name] = &e.texts[len(e.texts)-1]
}

func (e *encoder) text(name, value string) {
	if value != "" {
		e.always(name, value)
	}
}

func (e *encoder) time(name string, t task.Time) { e.text(name, t.String()) }

func (e *encoder) bool(name string, b bool) {
	if b {
		e.item[name] = &types.AttributeValueMemberBOOL{Value: true}
	}
}

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

// fraction writes a number so that it is read back exactly. What is below the
// smallest number that DynamoDB has is 0.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
func fraction(f float64) string {
	if f < 1e-130 && f > -1e-130 {
		f = 0
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

func (e *encoder) nested(name string) *encoder {
	in := &encoder{item: make(map[string]types.AttributeValue, 4)}
	e.item[name] = &types.AttributeValueMemberM{Value: in.item}
	return in
}

func (e *encoder) list(name string, values []string) {
	if len(values) == 0 {
		return
	}
	list := make([]types.AttributeValue, len(values))
	for i, v := range values {
		list[i] = &types.AttributeValueMemberS{Value: v}
	}
	e.item[name] = &types.AttributeValueMemberL{Value: list}
}

func (e *encoder) metadata(name string, values map[string]string) {
	if len(values) == 0 {
		return
	}
	in := e.nested(name)
	for k, v := range values {
		in.always(k, v)
	}
}

func (e *encoder) errors(name string, errs []task.TaskError) {
	if len(errs) == 0 {
		return
	}
	list := make([]types.AttributeValue, len(errs))
	for i, err := range errs {
		in := encoder{item: make(map[string]types.AttributeValue, 2)}
		in.always("exception_class_path", err.ExceptionClassPath)
		in.always("traceback", err.Traceback)
		list[i] = &types.AttributeValueMemberM{Value: in.item}
	}
	e.item[name] = &types.AttributeValueMemberL{Value: list}
}

// decoder reads an item or a map within one. What is absent is zero; what is of
// another type is an error, noted in errs.
type decoder struct {
	item map[string]types.AttributeValue
	errs *[]error
}

func (d decoder) note(err error) {
	if err != nil {
		*d.errs = append(*d.errs, err)
	}
}

// read returns the attribute as the type that it must have, or nil.
func read[T types.AttributeValue](d decoder, name string) (a T) {
	value, there := d.item[name]
	if !there {
		return a
	}
	a, ok := value.(T)
	if !ok {
		d.note(fmt.Errorf("%s is a %T", name, value))
	}
	return a
}

func (d decoder) text(name string) string {
	if a := read[*types.AttributeValueMemberS](d, name); a != nil {
		return a.Value
	}
	return ""
}

func (d decoder) number(name string) string {
	if a := read[*types.AttributeValueMemberN](d, name); a != nil {
		return a.Value
	}
	return ""
}

func (d decoder) int(name string) int {
	text := d.number(name)
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	d.note(err)
	return n
}

func (d decoder) bool(name string) bool {
	a := read[*types.AttributeValueMemberBOOL](d, name)
	return a != nil && a.Value
}

func (d decoder) time(name string) (t task.Time) {
	d.note(t.UnmarshalText([]byte(d.text(name))))
	return t
}

func (d decoder) nested(name string) decoder {
	in := decoder{errs: d.errs}
	if a := read[*types.AttributeValueMemberM](d, name); a != nil {
		in.item = a.Value
	}
	return in
}

// elements returns a list's elements, each as the member "" of an item.
func (d decoder) elements(name string) (all []decoder) {
	if a := read[*types.AttributeValueMemberL](d, name); a != nil {
		for _, v := range a.Value {
			all = append(all, decoder{item: map[string]types.AttributeValue{"": v}, errs: d.errs})
		}
	}
	return all
}

func (d decoder) list(name string) (values []string) {
	for _, e := range d.elements(name) {
		values = append(values, e.text(""))
	}
	return values
}

func (d decoder) metadata(name string) map[string]string {
	in := d.nested(name)
	if in.item == nil {
		return nil
	}
	m := make(map[string]string, len(in.item))
	for k := range in.item {
		m[k] = in.text(k)
	}
	return m
}

func (d decoder) errors(name string) (errs []task.TaskError) {
	for _, e := range d.elements(name) {
		in := e.nested("")
		errs = append(errs, task.TaskError{ExceptionClassPath: in.text("exception_class_path"), Traceback: in.text("traceback")})
	}
	return errs
}

// position is a record's place as the index sorts it: timestamps in text sort as
// the instants do.
func position(p task.Position) string { return p.EnqueuedAt.String() + "#" + p.ID }

// parsePosition reads it from a key.
func parsePosition(key map[string]types.AttributeValue) (p task.Position, err error) {
	d := decoder{item: key, errs: new([]error)}
	at, id, _ := strings.Cut(d.text(positionAttribute), "#")
	err = p.EnqueuedAt.UnmarshalText([]byte(at))
	p.ID = id
	return p, errors.Join(append(*d.errs, err)...)
}

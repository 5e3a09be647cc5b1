package worker_test

import (
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"github.com/taskgate/taskgate/core/worker"
)

func TestArgumentsAreDecodedByPosition(t *testing.T) {
	tk := worker.Task{RawArgs: json.RawMessage(`["a", 12345678901234567890, {"x": [1]}, null]`)}
	var (
		s   string
		big big.Int
		m   map[string][]int
		p   *int
	)
	if err := tk.Args(&s, &big, &m, &p); err != nil {
		t.Fatal(err)
	}
	if s != "a" || big.String() != "12345678901234567890" || m["x"][0] != 1 || p != nil {
		t.Error(s, &big, m, p)
	}
}

func TestWrongArgumentsAreExplained(t *testing.T) {
	var n int
	var s string
	for _, c := range []struct {
		args string
		dst  []any
		want string
	}{
		{`[1]`, nil, "args: must be 0 positional arguments, not 1"},
		{`[]`, []any{&n}, "args: must be 1 positional arguments, not 0"},
		{`[1,2,3]`, []any{&n, &n}, "args: must be 2 positional arguments, not 3"},
		{`["1"]`, []any{&n}, "args[0]: must be int, not string"},
		{`[1.5]`, []any{&n}, "args[0]: must be int, not number 1.5"},
		{`["a",null]`, []any{&s, &n}, "args[1]: must be int, not null"},
		{`[{"A":{"B":"x"}}]`, []any{&struct{ A struct{ B int } }{}}, "args[0].A.B: must be int, not string"},
	} {
		tk := worker.Task{RawArgs: json.RawMessage(c.args)}
		if err := tk.Args(c.dst...); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.args, err, c.want)
		}
	}
}

type base64Options struct {
	Level int `json:"level"`
}

func TestKeywordArgumentsAreStrict(t *testing.T) {
	type kwargs struct {
		To     string `json:"to"`
		Copies int    `json:"copies,omitempty"`
		Plain  bool
		Hidden string `json:"-"`
		base64Options
	}
	for _, c := range []struct {
		raw, want string
	}{
		{`{}`, ""},
		{`{"to":"a","copies":2,"Plain":true,"level":9}`, ""},
		{`{"to":null}`, ""},
		{`{"copies":"2"}`, "kwargs.copies: must be int, not string"},
		{`{"cc":"a"}`, `kwargs: "cc" is not an argument of send`},
		{`{"TO":"a"}`, `kwargs: "TO" is not an argument of send`},
		{`{"Hidden":"a"}`, `kwargs: "Hidden" is not an argument of send`},
		{`{"base64Options":{}}`, `kwargs: "base64Options" is not an argument of send`},
	} {
		tk := worker.Task{Name: "send", RawKwargs: json.RawMessage(c.raw)}
		k := kwargs{Copies: 1}
		err := tk.Kwargs(&k)
		if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
			t.Errorf("%s: %v, want %q", c.raw, err, c.want)
		}
		if c.raw == `{}` && k.Copies != 1 {
			t.Error("a default was overwritten")
		}
		if strings.Contains(c.raw, "level") && (k.To != "a" || k.Copies != 2 || !k.Plain || k.Level != 9) {
			t.Errorf("%+v", k)
		}
	}
	tk := worker.Task{RawKwargs: json.RawMessage(`{"any":1}`)}
	var all map[string]int
	if err := tk.Kwargs(&all); err != nil || all["any"] != 1 {
		t.Error(all, err)
	}
}

package strictjson_test

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/strictjson"
)

func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

func TestCheckAcceptsOneJSONTextOnly(t *testing.T) {
	for text, why := range map[string]string{
		`{"a":[1,"x"],"b":null}`:         "",
		" [] \n":                         "",
		nested(strictjson.MaxDepth):      "",
		`["` + nested(100) + `"]`:        "",
		`["\"` + nested(100) + `\\",[]]`: "",
		nested(strictjson.MaxDepth + 1):  "nesting is deeper than 64 at byte 64",
		`{"a":` + nested(64) + `}`:       "nesting is deeper than 64 at byte 68",
		``:                               "the body is empty",
		" \n":                            "the body is empty",
		`[1`:                             "ends too early",
		`[1] 2`:                          "after the JSON text",
		`{"a":1,"a":2}`:                  `duplicate name at "/a"`,
		`{"x":{"a":1,"\u0061":2}}`:       `duplicate name at "/x/a"`,
		`[NaN]`:                          "invalid",
		`[01]`:                           "invalid",
		`["\ud800"]`:                     "invalid",
		"[\"\xff\"]":                     "invalid",
		`{a:1}`:                          "invalid",
		`[1,]`:                           "invalid",
	} {
		err := strictjson.Check([]byte(text))
		if why == "" && err != nil || why != "" && (err == nil || !strings.Contains(err.Error(), why)) {
			t.Errorf("%.60q: %v, want %q", text, err, why)
		}
	}
}

func TestValuesKeepTheirBytes(t *testing.T) {
	const text = `{"n": 12345678901234567890, "f": [1.10, -0, 1e400], "s": "\u00e9\/ <&>"}`
	var raw jsontext.Value
	if errs := strictjson.Raw(&raw, '{')("", jsontext.Value(text)); errs != nil {
		t.Fatal(errs)
	}
	if want := `{"n":12345678901234567890,"f":[1.10,-0,1e400],"s":"\u00e9\/ <&>"}`; string(raw) != want {
		t.Errorf("%s, want %s", raw, want)
	}
}

func TestPointersAreEscaped(t *testing.T) {
	none := strictjson.Object(func(string) strictjson.Field { return nil }, "needed")
	errs := none("/tasks/0", jsontext.Value(`{"a/b~c":1}`))
	if len(errs) != 2 || errs[0].Pointer != "/tasks/0/a~1b~0c" || errs[1].Pointer != "/tasks/0/needed" {
		t.Errorf("%+v", errs)
	}
}

func TestRulesShowNumbersWithoutExponents(t *testing.T) {
	var n int
	errs := strictjson.Int(&n, -1<<31, 1<<31-1)("/priority", jsontext.Value("1e400"))
	if len(errs) != 1 || errs[0].Detail != "must be from -2147483648 to 2147483647" {
		t.Errorf("%+v", errs)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte(`{"a":[1.10,"\u00e9",null,true,{"b":{}}]}`))
	f.Add([]byte(nested(65)))
	f.Fuzz(func(t *testing.T, text []byte) {
		if strictjson.Check(text) != nil {
			return
		}
		if !jsontext.Value(text).IsValid() {
			t.Errorf("%q passed", text)
		}
	})
}

package settings

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/strictjson"
)

// checker collects what is wrong with one backend.
type checker struct {
	alias   string
	loaders []string // the main's own
	errs    Errors
	bad     map[string]bool // the names whose values could not be read
}

// broken notes the rule that an option or key breaks; it quotes no value, for
// some are secrets.
func (c *checker) broken(name, rule string, args ...any) {
	c.errs.addf("%s in backend %q %s", name, c.alias, fmt.Sprintf(rule, args...))
}

// object decodes the members of a backend or of its OPTIONS, and returns the
// names that it does not know.
func (c *checker) object(v jsontext.Value, known fields) (strangers []string) {
	wrong := strictjson.Object(func(name string) strictjson.Field {
		if f := known[name]; f != nil {
			return f
		}
		strangers = append(strangers, name)
		return func(string, jsontext.Value) []strictjson.FieldError { return nil }
	})("", v)
	for _, w := range wrong {
		at := strings.TrimPrefix(w.Pointer, "/")
		c.bad[at] = true
		c.broken(at, "%s", w.Detail)
	}
	return strangers
}

// defaultLoader is the credential loader that counts when none is named.
const defaultLoader = "default"

// checkLoader returns the rule that the name of a credential loader breaks, or "".
func checkLoader(loader string, own []string) string {
	known := append([]string{defaultLoader, "managed_identity", "workload_identity", "azure_cli", "environment"}, own...)
	if slices.Contains(known, loader) {
		return ""
	}
	return fmt.Sprintf("must be %s%s", oneOf(known), didYouMean(loader, known))
}

// loader checks the option that names a credential loader, and fills its default.
func (c *checker) loader(name string, value *string) {
	if *value == "" {
		*value = defaultLoader
	}
	if rule := checkLoader(*value, c.loaders); rule != "" {
		c.broken(name, "%s", rule)
	}
}

// required notes a missing option and reports whether it is there; why says
// what asks for it, or is "". One that is there and could not be read is noted
// already.
func (c *checker) required(name, value, why string) bool {
	if value == "" && !c.bad[name] {
		c.broken(name, "%s", strings.TrimSpace("is required "+why))
	}
	return value != ""
}

// connectionString checks that a connection string has the keys that the SDK
// asks for: each of needs is a list of keys joined by +, one of which lists
// must be there whole. Keys are compared whatever their case.
func (c *checker) connectionString(name string, value Secret, needs ...string) {
	var keys []string
	for _, part := range strings.Split(string(value), ";") {
		key, v, ok := strings.Cut(part, "=")
		switch {
		case !ok && part != "":
			c.broken(name, "must be key=value pairs separated by semicolons")
			return
		case v != "":
			keys = append(keys, strings.ToLower(key))
		}
	}
	has := func(need string) bool {
		return !slices.ContainsFunc(strings.Split(need, "+"), func(key string) bool {
			return !slices.Contains(keys, strings.ToLower(key))
		})
	}
	if !slices.ContainsFunc(needs, has) {
		c.broken(name, "must have %s", strings.ReplaceAll(oneOf(needs), "+", " and "))
	}
}

package settings

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/strictjson"
)

// checker collects the mistakes in one backend.
type checker struct {
	alias          string
	main           Main
	errs, warnings Errors
	bad            map[string]bool // the names whose values could not be read
}

// broken notes the rule that an option or a key breaks. The rule may quote a
// value only where it cannot be a secret.
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
	if rule := checkLoader(*value, c.main.Loaders); rule != "" {
		c.broken(name, "%s", rule)
	}
}

// required notes that an option is missing, and reports whether it is there.
// The condition says what asks for it, or is "". An option that could not be
// read has been noted before.
func (c *checker) required(name, value, condition string) bool {
	if value == "" && !c.bad[name] {
		c.broken(name, "%s", strings.TrimSpace("is required "+condition))
	}
	return value != ""
}

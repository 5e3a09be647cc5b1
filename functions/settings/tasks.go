package settings

import (
	"bytes"
	"maps"
	"os"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/strictjson"
)

// Backend is one alias of TASKS.
type Backend struct {
	Alias        string
	Name         string // the last part of BACKEND as written
	Kind         Kind
	Queues       []string // what queue_name may be; empty = anything
	DefaultQueue string   // for requests without queue_name; "" = they must have one
	Plain        bool     // PAYLOAD is "plain": the documented three keys alone
	Options      Options  // the kind's own
}

// Options is one of *[SQSOptions], *[SNSOptions], *[EventBridgeSchedulerOptions],
// *[LambdaOptions], *[ServiceBusOptions], *[StorageQueueOptions] and
// *[LocalOptions], and never nil in a parsed backend.
type Options interface {
	// fields returns how to decode each option, by its name.
	fields() fields
	// check notes the rules that the decoded options break, and fills defaults.
	check(c *checker)
}

// fields is a decoder for each name that may occur.
type fields map[string]strictjson.Field

// The longest of the settings' strings, in characters.
const (
	maxName = 255
	maxText = 4096
)

// djangoQueue is the queue that Django's tasks and backends have by default.
const djangoQueue = "default"

// ParseTasks reads backends in the shape of Django's TASKS, as JSON. Null and
// the empty string count as not set. The loaders are the credential loaders
// that are known beside the built-in ones. The error is [Errors]; of a backend
// that has mistakes, only what is right is returned.
func ParseTasks(data []byte, loaders ...string) ([]Backend, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, Errors{"the TASKS are empty"}
	}
	if err := strictjson.Check(data); err != nil {
		return nil, Errors{"the TASKS cannot be read as JSON: " + err.Error()}
	}
	var backends []Backend
	var errs Errors
	wrong := strictjson.Object(func(alias string) strictjson.Field {
		return func(_ string, v jsontext.Value) []strictjson.FieldError {
			c := &checker{alias: alias, loaders: loaders, bad: map[string]bool{}}
			backends = append(backends, c.backend(v))
			errs = append(errs, c.errs...)
			return nil
		}
	})("", data)
	for _, w := range wrong {
		errs.addf("the TASKS %s", w.Detail)
	}
	if len(backends) == 0 && len(wrong) == 0 {
		errs.addf("the TASKS name no backend")
	}
	return backends, errs.err()
}

// backend reads one alias.
func (c *checker) backend(v jsontext.Value) Backend {
	b := Backend{Alias: c.alias, Queues: []string{djangoQueue}}
	if c.alias == "" || len(c.alias) > maxName {
		c.errs.addf("backend %q must have an alias of 1 to %d bytes", c.alias, maxName)
	}
	if v.Kind() != '{' {
		c.errs.addf("backend %q must be an object", c.alias)
		return b
	}
	var path string
	var options jsontext.Value
	keys := fields{
		"BACKEND": text(&path),
		"QUEUES":  strictjson.Nullable(queues(&b.Queues)),
		"OPTIONS": strictjson.Nullable(strictjson.Raw(&options, '{')),
	}
	strangers := c.object(v, keys)
	var inOptions []string
	if c.required("BACKEND", path, "") {
		if d, wrong := describe(path); wrong == "" {
			b.Name, b.Kind, b.Options = d.name, d.kind, d.options()
			inOptions = c.options(&b, d, options)
		} else {
			c.errs.addf("unknown BACKEND %q in backend %q%s", path, c.alias, wrong)
		}
	}
	for _, name := range strangers {
		hint := didYouMean(name, slices.Collect(maps.Keys(keys)))
		if slices.Contains(inOptions, name) {
			hint = "; it belongs in OPTIONS"
		}
		c.errs.addf("unknown key %s in backend %q%s", name, c.alias, hint)
	}
	return b
}

// options reads OPTIONS: those of the backend's kind, and those that all have.
// It returns the names that there are.
func (c *checker) options(b *Backend, d description, v jsontext.Value) []string {
	payload := ""
	all := b.Options.fields()
	all[d.queueOption] = queueName(&b.DefaultQueue)
	all["PAYLOAD"] = text(&payload)
	names := slices.Collect(maps.Keys(all))
	if c.bad["OPTIONS"] {
		return names
	}
	if v != nil {
		for _, name := range c.object(v, all) {
			c.errs.addf("unknown option %s in backend %q%s", name, c.alias, didYouMean(name, names))
		}
	}
	switch {
	case payload == "plain" && !d.attributes:
		c.broken("PAYLOAD", "cannot be plain: the messages of %s have no attributes to carry the rest", d.name)
	case payload != "" && payload != "plain" && payload != "json":
		c.broken("PAYLOAD", "must be json or plain")
	}
	b.Plain = payload == "plain"
	switch {
	case b.DefaultQueue != "":
	case len(b.Queues) == 1: // there is nothing else that a request could mean
		b.DefaultQueue = b.Queues[0]
	case d.kind == LocalBackend:
		b.DefaultQueue = djangoQueue
	}
	b.Options.check(c)
	return names
}

// backends reads TASKGATE_TASKS or the file that TASKGATE_TASKS_FILE names.
func (e *Env) backends(m Main) []Backend {
	inline, path := e.String("TASKGATE_TASKS", ""), e.String("TASKGATE_TASKS_FILE", "")
	data := []byte(inline)
	switch {
	case inline != "" && path != "":
		e.Failf("TASKGATE_TASKS and TASKGATE_TASKS_FILE are both set; one of them is enough")
		return nil
	case path != "":
		var err error
		if data, err = os.ReadFile(path); err != nil {
			e.Failf("TASKGATE_TASKS_FILE cannot be read: %v", err)
			return nil
		}
	case inline == "" && m.DefaultTasks == "":
		e.Failf("TASKGATE_TASKS or TASKGATE_TASKS_FILE is required")
		return nil
	case inline == "":
		data = []byte(m.DefaultTasks)
	}
	backends, err := ParseTasks(data, m.Loaders...)
	e.add(err)
	e.add(m.Unserved(backends))
	return backends
}

// Unserved reports, as [Errors], the backends that the main does not link, and
// who does.
func (m Main) Unserved(backends []Backend) error {
	var errs Errors
	for _, b := range backends {
		if b.Kind == "" || slices.Contains(m.Serves, b.Kind) {
			continue
		}
		d, _ := describe(b.Name)
		if d.main == m.Name {
			errs.addf("backend %q is %s, which this build of %s leaves out", b.Alias, b.Name, m.Name)
			continue
		}
		errs.addf("backend %q is %s, which %s (%s) serves; this is %s", b.Alias, b.Name, d.product, d.main, m.Name)
	}
	return errs.err()
}

package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/strictjson"
	"github.com/taskgate/taskgate/core/task"
)

// Tasks is what TASKS holds.
type Tasks struct {
	Backends []Backend // at least one, in the order written

	// PassedOver holds the aliases that this main does not serve, and why: a
	// request for one of them is refused with these words.
	PassedOver map[string]string

	Warnings []string // about what has no effect here; one sentence each
}

// Backend is one alias of TASKS.
type Backend struct {
	Alias          string
	Name           string // the last part of BACKEND as written
	Kind           Kind
	Queues         []string                  // what queue_name may be, beside the default queue; empty = anything
	DefaultQueue   string                    // for requests without queue_name; "" = they must have one
	PriorityQueues map[string]map[int]string // by queue and threshold, the queue for tasks of that priority
	Payload        task.Payload              // PAYLOAD
	Options        Options                   // the kind's own
	CheckQueue     CheckQueue                // the target's naming rules, of [Main]
}

// Options is one of *[SQSOptions], *[SNSOptions], *[EventBridgeSchedulerOptions],
// *[LambdaOptions], *[ServiceBusOptions], *[StorageQueueOptions] and
// *[LocalOptions]. It is never nil in a backend that was read without mistakes.
type Options interface {
	// fields returns how to decode each option, by its name.
	fields() fields
	// check notes the rules that the decoded options break, and fills defaults.
	check(c *checker)
}

// fields holds a decoder for each name that may occur.
type fields map[string]strictjson.Field

// The longest strings of the settings, in characters.
const (
	maxName = 255
	maxText = 4096
)

// djangoQueue is the queue that Django's tasks and backends have by default.
const djangoQueue = "default"

// ParseTasks reads backends in the shape of Django's TASKS, as JSON. Null and
// the empty string count as not set. The error is [Errors]; a backend with
// mistakes is returned without the parts that are wrong.
func ParseTasks(data []byte, m Main) (Tasks, error) {
	var errs Errors
	switch err := strictjson.Check(data); {
	case len(bytes.TrimSpace(data)) == 0:
		return Tasks{}, Errors{"TASKS is empty"}
	case bytes.HasPrefix(data, []byte(byteOrderMark)), bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		return Tasks{}, Errors{"TASKS must not begin with a byte order mark: save it as UTF-8 without BOM"}
	case !bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) && reference(string(data)) != "":
		return Tasks{}, Errors{"TASKS " + checkFilledIn(string(data))}
	case err != nil:
		return Tasks{}, Errors{"TASKS is not valid JSON: " + err.Error()}
	}
	t := Tasks{PassedOver: map[string]string{}}
	wrong := strictjson.Object(func(alias string) strictjson.Field {
		return func(_ string, v jsontext.Value) []strictjson.FieldError {
			c := &checker{alias: alias, main: m, bad: map[string]bool{}}
			b, passedOver := c.backend(v)
			if passedOver != "" {
				t.PassedOver[alias] = passedOver
				t.Warnings = append(t.Warnings, fmt.Sprintf("backend %q is passed over: %s", alias, passedOver))
				return nil
			}
			t.Backends = append(t.Backends, b)
			t.Warnings = append(t.Warnings, c.warnings...)
			errs = append(errs, c.errs...)
			return nil
		}
	})("", data)
	for _, w := range wrong {
		errs.addf("TASKS %s", w.Detail)
	}
	if len(t.Backends) == 0 && len(wrong) == 0 {
		errs.addf("%s", strings.Join(append([]string{"TASKS has no backend for this main"}, t.Warnings...), "; "))
	}
	return t, errs.err()
}

// backend reads one alias, or returns why the main passes it over.
func (c *checker) backend(v jsontext.Value) (b Backend, passedOver string) {
	b.Alias = c.alias
	if c.alias == "" || len(c.alias) > maxName {
		c.errs.addf("backend %q must have an alias of 1 to %d bytes", c.alias, maxName)
	}
	if v.Kind() != '{' {
		c.errs.addf("backend %q must be an object", c.alias)
		return b, ""
	}
	var path string
	var options, onCommit jsontext.Value
	keys := fields{
		"BACKEND":           text(&path),
		"QUEUES":            strictjson.Nullable(queues(&b.Queues)),
		"OPTIONS":           strictjson.Nullable(strictjson.Raw(&options, '{')),
		"ENQUEUE_ON_COMMIT": strictjson.Raw(&onCommit, 0),
	}
	strangers := c.object(v, keys)
	var inOptions []string
	if c.required("BACKEND", path, "") {
		d, hint := describe(path)
		if hint != "" {
			c.broken("BACKEND", "is %q, which is an unknown backend%s", path, hint)
		} else if why := c.main.passesOver(d); why != "" {
			return b, why // the mistakes in it, if any, are for its own program to report
		} else {
			b.Name, b.Kind, b.Options, b.CheckQueue = d.name, d.kind, d.options(), c.main.Serves[d.kind]
			inOptions = c.options(&b, d, options)
		}
	}
	if onCommit != nil {
		c.warnings.addf("ENQUEUE_ON_COMMIT in backend %q has no effect: the client decides when it sends a task", c.alias)
	}
	for _, name := range strangers {
		hint := didYouMean(name, slices.Collect(maps.Keys(keys)))
		if slices.Contains(inOptions, name) {
			hint = "; it belongs in OPTIONS"
		}
		c.broken(name, "is an unknown key%s", hint)
	}
	return b, ""
}

// options reads OPTIONS: those of the backend's kind, and those that all
// backends have. It returns the names of all.
func (c *checker) options(b *Backend, d description, v jsontext.Value) []string {
	b.Payload = task.PayloadJSON
	all := b.Options.fields()
	all[d.queueOption] = queueName(&b.DefaultQueue)
	all["PAYLOAD"] = text((*string)(&b.Payload))
	all["PRIORITY_QUEUES"] = strictjson.Nullable(priorityQueues(&b.PriorityQueues))
	names := slices.Collect(maps.Keys(all))
	if c.bad["OPTIONS"] {
		return names
	}
	if v != nil {
		for _, name := range c.object(v, all) {
			c.broken(name, "is an unknown option of %s%s", d.name, didYouMean(name, names))
		}
	}
	switch {
	case b.Payload != task.PayloadJSON && b.Payload != task.PayloadPlain && b.Payload != task.PayloadDjango:
		c.broken("PAYLOAD", "must be %s", oneOf([]string{string(task.PayloadJSON), string(task.PayloadPlain), string(task.PayloadDjango)}))
	case b.Payload != task.PayloadJSON && !d.attributes:
		c.broken("PAYLOAD", "must be %s: the messages of %s have no attributes for the rest", task.PayloadJSON, d.name)
	}
	c.queues(b, d)
	b.Options.check(c)
	return names
}

// queues resolves the default queue, and checks the names of all queues.
//
// Without QUEUES a backend has its default queue alone, which Django's name
// "default" then means.
func (c *checker) queues(b *Backend, d description) {
	given := b.DefaultQueue != ""
	switch {
	case given:
	case b.Queues == nil, len(b.Queues) == 0 && d.kind == LocalBackend:
		b.DefaultQueue = djangoQueue
	case len(b.Queues) == 1: // there is no other queue that a request could mean
		b.DefaultQueue = b.Queues[0]
	}
	for _, queue := range b.Queues {
		c.queue(b, "QUEUES", queue)
	}
	if b.Queues == nil {
		b.Queues = []string{b.DefaultQueue}
	}
	if given {
		c.queue(b, d.queueOption, b.DefaultQueue)
	}
	c.priorityQueues(b)
}

func (c *checker) priorityQueues(b *Backend) {
	const option = "PRIORITY_QUEUES"
	if b.Kind == LocalBackend && len(b.PriorityQueues) > 0 {
		c.broken(option, "must be left out: the embedded queue keeps priorities itself")
	}
	for _, queue := range slices.Sorted(maps.Keys(b.PriorityQueues)) {
		if len(b.Queues) > 0 && !slices.Contains(b.Queues, queue) && queue != b.DefaultQueue {
			c.broken(option, "has the queue %q, which must be one of QUEUES or the default queue", queue)
		}
		byThreshold := b.PriorityQueues[queue]
		for _, threshold := range slices.Sorted(maps.Keys(byThreshold)) {
			c.queue(b, option, byThreshold[threshold])
		}
	}
}

// queue checks the name of a queue, which stands in the named setting.
func (c *checker) queue(b *Backend, setting, name string) {
	if b.CheckQueue == nil {
		return
	}
	if rule := b.CheckQueue(name); rule != "" {
		c.errs.addf("the queue %q in backend %q %s; %s names it", name, b.Alias, rule, setting)
	}
}

// maxTasksFile bounds the file with TASKS, in bytes.
const maxTasksFile = 1 << 20

// tasks reads TASKGATE_TASKS or the file that TASKGATE_TASKS_FILE names.
func (e *Env) tasks(m Main) Tasks {
	e.read["TASKGATE_TASKS"] = true
	inline, path := e.vars["TASKGATE_TASKS"], e.String("TASKGATE_TASKS_FILE", "")
	data := []byte(inline)
	switch {
	case inline != "" && path != "":
		e.Failf("TASKGATE_TASKS and TASKGATE_TASKS_FILE are both set: remove one of them")
		return Tasks{}
	case path != "":
		var err error
		if data, err = readTasksFile(path); err != nil {
			e.Failf("TASKGATE_TASKS_FILE cannot be read: %v", err)
			return Tasks{}
		}
	case inline == "" && m.DefaultTasks == "":
		e.Failf("TASKGATE_TASKS or TASKGATE_TASKS_FILE is required")
		return Tasks{}
	case inline == "":
		data = []byte(m.DefaultTasks)
	}
	t, err := ParseTasks(data, m)
	e.add(err)
	return t
}

// readTasksFile reads a regular file. A pipe or a device could block the start,
// or never end.
func readTasksFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New(path + " is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxTasksFile+1))
	if err == nil && len(data) > maxTasksFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxTasksFile)
	}
	return data, err
}

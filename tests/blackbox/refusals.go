package blackbox

import (
	"compress/gzip"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
)

// badInput sends what no client may, and sees that nothing came of it.
func badInput(c *client) {
	deep := strings.Repeat("[", 64) + strings.Repeat("]", 64)
	for name, bad := range map[string]struct {
		method, path, body string
		status             int
		code               task.Kind
		pointer            string // of the one error; "" = not looked at
		headers            []string
	}{
		"not JSON":             {"POST", "/v1/tasks", `nope`, 400, httpapi.InvalidJSON, "", nil},
		"empty":                {"POST", "/v1/tasks", ``, 400, httpapi.InvalidJSON, "", []string{"Content-Type", "application/json"}},
		"trailing data":        {"POST", "/v1/tasks", c.request() + ` {}`, 400, httpapi.InvalidJSON, "", nil},
		"duplicate key":        {"POST", "/v1/tasks", c.request(`,"task_name":"u"`), 400, httpapi.InvalidJSON, "", nil},
		"duplicate in args":    {"POST", "/v1/tasks", c.request(`,"args":[{"a":1,"a":2}]`), 400, httpapi.InvalidJSON, "", nil},
		"NaN":                  {"POST", "/v1/tasks", c.request(`,"args":[NaN]`), 400, httpapi.InvalidJSON, "", nil},
		"bad UTF-8":            {"POST", "/v1/tasks", c.request(",\"args\":[\"\xff\"]"), 400, httpapi.InvalidJSON, "", nil},
		"lone surrogate":       {"POST", "/v1/tasks", c.request(`,"args":["\ud800"]`), 400, httpapi.InvalidJSON, "", nil},
		"cut short":            {"POST", "/v1/tasks", strings.TrimSuffix(c.request(), "}"), 400, httpapi.InvalidJSON, "", nil},
		"depth 65":             {"POST", "/v1/tasks", c.request(`,"args":` + deep), 400, httpapi.InvalidJSON, "", nil},
		"not an object":        {"POST", "/v1/tasks", `[]`, 422, task.InvalidTask, "", nil},
		"unknown field":        {"POST", "/v1/tasks", c.request(`,"taskname":"t"`), 422, task.InvalidTask, "/taskname", nil},
		"case-folded name":     {"POST", "/v1/tasks", c.request(`,"Args":[]`), 422, task.InvalidTask, "/Args", nil},
		"missing name":         {"POST", "/v1/tasks", `{"args":[]}`, 422, task.InvalidTask, "/task_name", nil},
		"wrong type":           {"POST", "/v1/tasks", c.request(`,"args":{}`), 422, task.InvalidTask, "/args", nil},
		"unknown backend":      {"POST", "/v1/tasks", `{"task_name":"t","backend":"nope"}`, 422, task.UnknownBackend, "/backend", nil},
		"priority 101":         {"POST", "/v1/tasks", c.request(`,"priority":101`), 422, task.InvalidTask, "/priority", nil},
		"run_after, no offset": {"POST", "/v1/tasks", c.request(`,"run_after":"2030-01-01T00:00:00"`), 422, task.InvalidTask, "/run_after", nil},
		"run_after and delay":  {"POST", "/v1/tasks", c.request(`,"run_after":"2030-01-01T00:00:00Z","delay_seconds":1`), 422, task.InvalidTask, "/delay_seconds", nil},
		"expired already":      {"POST", "/v1/tasks", c.request(`,"expires_at":"2020-01-01T00:00:00Z"`), 422, task.InvalidTask, "/expires_at", nil},
		"reserved metadata":    {"POST", "/v1/tasks", c.request(`,"metadata":{"_k":"v"}`), 422, task.InvalidTask, "/metadata/_k", nil},
		"2 MiB body":           {"POST", "/v1/tasks", c.request(`,"args":["` + strings.Repeat("x", 2<<20) + `"]`), 413, httpapi.BodyTooLarge, "", nil},
		"101 in a batch":       {"POST", "/v1/tasks/batch", `{"tasks":[` + strings.Repeat(c.request()+",", 100) + c.request() + `]}`, 422, httpapi.InvalidBatch, "/tasks", nil},
		"empty batch":          {"POST", "/v1/tasks/batch", `{"tasks":[]}`, 422, httpapi.InvalidBatch, "/tasks", nil},
		"no batch":             {"POST", "/v1/tasks/batch", `{}`, 422, httpapi.InvalidBatch, "/tasks", nil},
		"5 MiB batch":          {"POST", "/v1/tasks/batch", `{"tasks":["` + strings.Repeat("x", 5<<20) + `"]}`, 413, httpapi.BodyTooLarge, "", nil},
		"batch with a key":     {"POST", "/v1/tasks/batch", `{"tasks":[` + c.request() + `]}`, 400, httpapi.InvalidHeader, "", []string{keyHeader, "k"}},
		"form media type":      {"POST", "/v1/tasks", c.request(), 415, httpapi.UnsupportedMediaType, "", []string{"Content-Type", "application/x-www-form-urlencoded"}},
		"no media type":        {"POST", "/v1/tasks", c.request(), 415, httpapi.UnsupportedMediaType, "", []string{"Content-Type", ""}},
		"Latin-1":              {"POST", "/v1/tasks", c.request(), 415, httpapi.UnsupportedMediaType, "", []string{"Content-Type", "application/json; charset=latin1"}},
		"gzip":                 {"POST", "/v1/tasks", gzipped(c.request()), 415, httpapi.UnsupportedMediaType, "", []string{"Content-Encoding", "gzip"}},
		"long key":             {"POST", "/v1/tasks", c.request(), 400, httpapi.InvalidHeader, "", []string{keyHeader, strings.Repeat("k", 256)}},
		"unclosed key":         {"POST", "/v1/tasks", c.request(), 400, httpapi.InvalidHeader, "", []string{keyHeader, `"k`}},
		"unknown parameter":    {"GET", "/v1/tasks?page=2", ``, 400, httpapi.InvalidQuery, "", nil},
		"parameter twice":      {"GET", "/v1/tasks?limit=1&limit=2", ``, 400, httpapi.InvalidQuery, "", nil},
		"bad cursor":           {"GET", "/v1/tasks?cursor=xxx", ``, 400, task.InvalidCursor, "", nil},
		"bad limit":            {"GET", "/v1/tasks?limit=101", ``, 400, httpapi.InvalidQuery, "", nil},
		"fractional limit":     {"GET", "/v1/tasks?limit=1.5", ``, 400, httpapi.InvalidQuery, "", nil},
		"bad status":           {"GET", "/v1/tasks?status=ready", ``, 400, httpapi.InvalidQuery, "", nil},
		"bad state":            {"GET", "/v1/tasks?state=LOST", ``, 400, httpapi.InvalidQuery, "", nil},
		"wait too long":        {"GET", "/v1/tasks/" + uuid.NewString() + "?wait=21", ``, 400, httpapi.InvalidQuery, "", nil},
		"malformed id":         {"GET", "/v1/tasks/nope", ``, 404, task.UnknownTask, "", nil},
		"unknown id":           {"GET", "/v1/tasks/01936b5e-0000-7000-8000-000000000001", ``, 404, task.UnknownTask, "", nil},
	} {
		p := c.refused(bad.status, bad.code, bad.method, bad.path, bad.body, bad.headers...)
		if bad.pointer != "" && (len(p.Errors) != 1 || p.Errors[0].Pointer != bad.pointer) {
			c.Errorf("%s: names %v, want %s", name, p.Errors, bad.pointer)
		}
	}
	if docs := c.list(""); len(docs) != 0 {
		c.Errorf("%d tasks were recorded", len(docs))
	}
}

// gzipped is text as a client that compresses sends it.
func gzipped(text string) string {
	var b strings.Builder
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text)) // a Builder takes everything
	_ = z.Close()
	return b.String()
}

func badEvents(c *client) {
	doc, other := c.enqueue(), c.enqueue()
	w, stranger := c.receive(doc.ID), c.receive(other.ID)
	w.isRefused(http.StatusUnprocessableEntity, task.InvalidEvent, false, `{"type":"nope"}`)
	w.isRefused(http.StatusUnprocessableEntity, task.InvalidEvent, false, `{"type":"started"}`)
	w.isRefused(http.StatusBadRequest, httpapi.InvalidJSON, false, `nope`)

	token := w.message.Token
	dot := strings.LastIndexByte(token, '.')
	for name, forged := range map[string]string{
		"none": "", "another task's": stranger.message.Token, "cut": token[:dot],
		"changed": "v1.e30" + token[dot:], "garbage": "nope",
	} {
		w.message.Token = forged
		p := w.isRefused(http.StatusUnauthorized, task.Unauthenticated, false, started, "d")
		if p.TaskID != "" {
			c.Errorf("%s: the problem says %+v", name, p)
		}
	}
	if got := c.wantState(doc.ID, task.StateQueued); got.Attempts != 0 {
		c.Errorf("%+v", got)
	}
}

func refuses(c *client) {
	if c.caps.SupportsGroup {
		c.receive(c.enqueue(`,"group":"g"`).ID)
	} else {
		c.refused(422, task.GroupUnsupported, "POST", "/v1/tasks", c.request(`,"group":"g"`))
	}
	if most := c.caps.MaxDeliveries; most != nil && *most < task.MaxAttempts {
		c.enqueue(fmt.Sprintf(`,"max_attempts":%d`, *most))
		c.refused(422, task.MaxAttemptsTooHigh, "POST", "/v1/tasks", c.request(fmt.Sprintf(`,"max_attempts":%d`, *most+1)))
	}
	if len(c.caps.Queues) > 0 {
		c.refused(422, task.UnknownQueue, "POST", "/v1/tasks", c.request(`,"queue_name":"no-such-queue"`))
	}
}

package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/apitest"
)

// edge is a limit of the wire. send makes a request that is n long, or is n, and
// returns the status and the code, and of what is accepted the text that must
// be found again in it.
type edge struct {
	least, most int
	status      int
	code        task.Kind
	send        func(a *api, ctx context.Context, n int) (answer, string)
}

// text is n characters, of two bytes each.
func text(n int) string { return strings.Repeat("é", n) }

// member is a request with one member more.
func member(format string, value func(n int) string) func(*api, context.Context, int) (answer, string) {
	return func(a *api, ctx context.Context, n int) (answer, string) {
		v := value(n)
		return a.send(ctx, "POST", "/v1/tasks", fmt.Sprintf(`{"task_name":"t",`+format+`}`, v)), v
	}
}

// padded is a body of n bytes.
func padded(body string, n int) string { return body + strings.Repeat(" ", n-len(body)) }

// event reports to a task that has just been started.
func event(format string, value func(n int) string) func(*api, context.Context, int) (answer, string) {
	return func(a *api, ctx context.Context, n int) (answer, string) {
		id := a.enqueue(`{"task_name":"t"}`).ID
		token := a.tokens.Sign(id, task.Time{}, time.Now().Add(time.Hour))
		path, v := "/v1/tasks/"+id+"/events", value(n)
		if !strings.Contains(format, `"started"`) {
			a.good(http.StatusOK, "POST", path, `{"type":"started","worker_id":"w","delivery_id":"d"}`, "Taskgate-Token", token)
		}
		r := a.send(ctx, "POST", path, fmt.Sprintf(format, v), "Taskgate-Token", token)
		if strings.Contains(format, "lease_seconds") || strings.Contains(v, " ") || format == "%s" {
			return r, "" // no answer shows it
		}
		return r, v
	}
}

// blank is n characters that no answer shows.
func blank(n int) string { return strings.Repeat(" ", n) }

func number(n int) string { return fmt.Sprint(n) }

// pairs are n members of metadata.
func pairs(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`"k%02d":"v"`, i))
	}
	return "{" + strings.Join(all, ",") + "}"
}

// TestEachLimitOfTheWireIsExact: at the limit, and one below, what is sent is
// accepted and found again unchanged; one beyond, it is refused as documented.
func TestEachLimitOfTheWireIsExact(t *testing.T) {
	const payload = 300_000
	a := newAPI(t, func(c *httpapi.Config) { c.Service.MaxPayloadBytes = payload })
	a.queue.LimitsOf = func(string, time.Duration) task.Limits {
		return task.Limits{Route: "memory", SupportsDefer: true, GroupMode: task.GroupOrder}
	}
	key := func(a *api, ctx context.Context, n int) (answer, string) {
		return a.send(ctx, "POST", "/v1/tasks", `{"task_name":"t"}`, "Idempotency-Key", `"`+strings.Repeat("k", n)+`"`), ""
	}
	for name, e := range map[string]edge{
		"task_name": {1, 255, 422, task.InvalidTask, func(a *api, ctx context.Context, n int) (answer, string) {
			return a.send(ctx, "POST", "/v1/tasks", fmt.Sprintf(`{"task_name":%q}`, text(n))), text(n)
		}},
		"queue_name":   {1, 255, 422, task.InvalidTask, member(`"queue_name":"%s"`, text)},
		"group":        {1, 128, 422, task.InvalidTask, member(`"group":"%s"`, text)},
		"metadata":     {0, 50, 422, task.InvalidTask, member(`"metadata":%s`, pairs)},
		"a key":        {1, 40, 422, task.InvalidTask, member(`"metadata":{"%s":"v"}`, text)},
		"a value":      {0, 500, 422, task.InvalidTask, member(`"metadata":{"k":"%s"}`, text)},
		"max_attempts": {1, 1000, 422, task.InvalidTask, member(`"max_attempts":%s`, number)},
		"run_after's year": {2, 8999, 422, task.InvalidTask, member(`"run_after":"%s-01-01T00:00:00.000000Z"`, func(n int) string {
			return fmt.Sprintf("%04d", n)
		})},
		"delay_seconds": {0, 3153600000, 422, task.InvalidTask, func(a *api, ctx context.Context, n int) (answer, string) {
			return a.send(ctx, "POST", "/v1/tasks", fmt.Sprintf(`{"task_name":"t","delay_seconds":%d}`, n)), ""
		}},
		"nesting": {2, 64, 400, httpapi.InvalidJSON, member(`"args":%s`, func(n int) string { return strings.Repeat("[", n-1) + strings.Repeat("]", n-1) })},
		"payload": {20, payload, 413, task.PayloadTooLarge, func(a *api, ctx context.Context, n int) (answer, string) {
			args := `["` + strings.Repeat("x", n-len(`[""]{"k":1}{"m":"v"}`)) + `"]`
			return a.send(ctx, "POST", "/v1/tasks", `{"task_name":"t","kwargs":{"k":1},"metadata":{"m":"v"},"args":`+args+`}`), args
		}},
		"body": {17, 1 << 20, 413, httpapi.BodyTooLarge, func(a *api, ctx context.Context, n int) (answer, string) {
			return a.send(ctx, "POST", "/v1/tasks", padded(`{"task_name":"t"}`, n)), ""
		}},
		"Idempotency-Key": {1, 255, 400, httpapi.InvalidHeader, key},
		"batch body": {29, 4 << 20, 413, httpapi.BodyTooLarge, func(a *api, ctx context.Context, n int) (answer, string) {
			return a.send(ctx, "POST", "/v1/tasks/batch", padded(`{"tasks":[{"task_name":"t"}]}`, n)), ""
		}},
		"batch": {1, 100, 422, httpapi.InvalidBatch, func(a *api, ctx context.Context, n int) (answer, string) {
			return a.send(ctx, "POST", "/v1/tasks/batch", `{"tasks":[`+strings.TrimSuffix(strings.Repeat(`{"task_name":"t"},`, n), ",")+`]}`), ""
		}},
		"limit": {1, 100, 400, httpapi.InvalidQuery, func(a *api, ctx context.Context, n int) (answer, string) {
			return a.send(ctx, "GET", fmt.Sprint("/v1/tasks?limit=", n), ""), ""
		}},
		"wait": {0, 20, 400, httpapi.InvalidQuery, func(a *api, ctx context.Context, n int) (answer, string) {
			id := a.enqueue(`{"task_name":"t"}`).ID
			a.good(http.StatusOK, "POST", "/v1/tasks/"+id+"/cancel", "") // finished: nothing is waited for
			return a.send(ctx, "GET", fmt.Sprint("/v1/tasks/", id, "?wait=", n), ""), id
		}},
		"worker_id":          {1, 255, 422, task.InvalidEvent, event(`{"type":"started","worker_id":"%s","delivery_id":"d"}`, text)},
		"delivery_id":        {1, 255, 422, task.InvalidEvent, event(`{"type":"started","worker_id":"w","delivery_id":"%s"}`, blank)},
		"lease_seconds":      {5, 3600, 422, task.InvalidEvent, event(`{"type":"started","worker_id":"w","delivery_id":"d","lease_seconds":%s}`, number)},
		"progress's message": {0, 1000, 422, task.InvalidEvent, event(`{"type":"progress","attempt":1,"progress":{"fraction":1,"message":"%s"}}`, text)},
		"event body": {49, 1 << 20, 413, httpapi.BodyTooLarge, event(`%s`, func(n int) string {
			return padded(`{"type":"succeeded","attempt":1,"return_value":1}`, n)
		})},
	} {
		for _, n := range []int{e.least - 1, e.least, e.least + 1, e.most - 1, e.most, e.most + 1} {
			if n < 0 || n < e.least && e.least > 16 {
				continue
			}
			if testing.Short() && e.code == httpapi.BodyTooLarge && n < e.most {
				continue // megabytes are slow to check there
			}
			good := n >= e.least && n <= e.most
			ctx := t.Context()
			if !good {
				ctx = apitest.Bad(ctx)
			}
			r, carried := e.send(a, ctx, n)
			if good {
				if r.StatusCode >= 300 || !strings.Contains(string(r.body), carried) {
					t.Errorf("%s of %d: %d %.300s", name, n, r.StatusCode, r.body)
				}
				continue
			}
			if r.StatusCode != e.status || r.problem(t).Code != e.code {
				t.Errorf("%s of %d: %d %.300s, want %d %s", name, n, r.StatusCode, r.body, e.status, e.code)
			}
		}
	}
}

package blackbox

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/apitest"
)

const keyHeader = "Idempotency-Key"

func oneKey(c *client) {
	key := uuid.NewString()
	first := c.want(http.StatusAccepted, "POST", "/v1/tasks", c.request(`,"args":[1]`), keyHeader, key)
	again := c.want(http.StatusAccepted, "POST", "/v1/tasks", c.request(`, "kwargs" : {} ,"args": [ 1 ]`), keyHeader, `"`+key+`"`)
	if first.Header.Get("Idempotent-Replayed") != "" || again.Header.Get("Idempotent-Replayed") != "true" {
		c.Error("Idempotent-Replayed is wrong")
	}
	if a, b := first.document(c), again.document(c); a.ID != b.ID {
		c.Errorf("two tasks: %s, %s", a.ID, b.ID)
	}
	c.refused(http.StatusUnprocessableEntity, task.IdempotencyKeyReused, "POST", "/v1/tasks", c.request(`,"args":[2]`), keyHeader, key)
	if n := len(c.list("")); n != 1 {
		c.Errorf("%d tasks", n)
	}
}

func manyAtOnce(c *client) {
	key, body := uuid.NewString(), c.request()
	ids := make([]string, 64)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			for { // a client does as it is told: 409 in-flight is repeated
				r := c.send(c.Context(), "POST", "/v1/tasks", body, keyHeader, key)
				if r.StatusCode == http.StatusAccepted {
					ids[i] = r.document(c).ID
					return
				}
				if after, err := strconv.Atoi(r.Header.Get("Retry-After")); r.StatusCode != http.StatusConflict || err != nil || after < 1 {
					c.Errorf("%d %s, Retry-After %q", r.StatusCode, r.body, r.Header.Get("Retry-After"))
					return
				}
				select {
				case <-time.After(100 * time.Millisecond):
				case <-c.Context().Done():
					return
				}
			}
		})
	}
	wg.Wait()
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) != 1 || ids[0] == "" {
		c.Fatalf("tasks: %q", ids)
	}
	c.receive(ids[0])
}

// batchAnswer is the answer to a batch.
type batchAnswer struct {
	Items []struct {
		Status             int              `json:"status"`
		Task               *task.Document   `json:"task"`
		IdempotentReplayed bool             `json:"idempotent_replayed"`
		Problem            *httpapi.Problem `json:"problem"`
	} `json:"items"`
}

func batches(c *client) {
	tasks := make([]string, 100)
	for i := range tasks {
		tasks[i] = c.request(fmt.Sprintf(`,"args":[%d]`, i))
	}
	tasks[7] = c.request(`,"priority":101`)
	tasks[8] = `{"nope":1}`
	tasks[9] = c.request(`,"args":[9],"idempotency_key":"` + uuid.NewString() + `"`)
	body := `{"tasks":[` + strings.Join(tasks, ",") + `]}`
	var out batchAnswer
	r := c.send(apitest.Bad(c.Context()), "POST", "/v1/tasks/batch", body)
	if r.into(c, &out); r.StatusCode != http.StatusOK || len(out.Items) != 100 {
		c.Fatalf("%d, %d items", r.StatusCode, len(out.Items))
	}
	for i, item := range out.Items {
		switch {
		case i == 7:
			if p := item.Problem; p == nil || item.Status != 422 || p.Code != task.InvalidTask || p.Errors[0].Pointer != "/tasks/7/priority" {
				c.Errorf("item 7: %+v", item)
			}
		case i == 8:
			if p := item.Problem; p == nil || item.Status != 422 || p.Code != task.InvalidTask || p.Errors[0].Pointer != "/tasks/8/nope" {
				c.Errorf("item 8: %+v", item)
			}
		case item.Status != http.StatusAccepted || item.Task == nil || string(item.Task.Args) != fmt.Sprintf("[%d]", i):
			c.Fatalf("item %d: %+v", i, item)
		}
	}
	var wg sync.WaitGroup
	for _, i := range []int{0, 9, 50, 99} {
		wg.Go(func() { c.receive(out.Items[i].Task.ID) })
	}
	wg.Wait()
	c.want(http.StatusOK, "POST", "/v1/tasks/batch", `{"tasks":[`+tasks[9]+`]}`).into(c, &out)
	if !out.Items[0].IdempotentReplayed {
		c.Errorf("repeated: %+v", out.Items[0])
	}
}

func lists(c *client) {
	var want []string
	for range 7 {
		want = append(want, c.enqueue().ID)
	}
	slices.Reverse(want)
	ids := func(docs []task.Document) (ids []string) {
		for _, doc := range docs {
			ids = append(ids, doc.ID)
		}
		return ids
	}
	c.until("the listing to be whole", func() bool { return slices.Equal(ids(c.list("&limit=2")), want) })
	w := c.receive(want[3])
	w.reports(started, "d")
	w.reports(succeeded, 1, "1")
	for _, query := range []string{"&status=SUCCESSFUL", "&state=SUCCEEDED", "&state=SUCCEEDED&status=SUCCESSFUL&backend=" + c.target.Backend} {
		c.until("the filter "+query, func() bool { return slices.Equal(ids(c.list(query)), want[3:4]) })
	}
	c.until("the others", func() bool { return len(c.list("&status=READY")) == 6 })
	if docs := c.list("&status=FAILED"); len(docs) != 0 {
		c.Errorf("%d FAILED", len(docs))
	}

	var page struct {
		NextCursor *string `json:"next_cursor"`
	}
	c.get("/v1/tasks?limit=1&task_name="+c.name).into(c, &struct {
		Items      any      `json:"items"`
		NextCursor **string `json:"next_cursor"`
	}{NextCursor: &page.NextCursor})
	if page.NextCursor == nil {
		c.Fatal("no next_cursor")
	}
	c.refused(http.StatusBadRequest, task.InvalidCursor, "GET", "/v1/tasks?task_name=other&cursor="+*page.NextCursor, "")
}

func owners(c *client) {
	if c.target.OtherKey == "" {
		c.Skip("the target has only one caller")
	}
	id := c.enqueue().ID
	other := *c
	other.target.Key = c.target.OtherKey
	other.refused(http.StatusNotFound, task.UnknownTask, "GET", "/v1/tasks/"+id, "")
	other.refused(http.StatusNotFound, task.UnknownTask, "POST", "/v1/tasks/"+id+"/cancel", "")
	c.until("the owner to see it", func() bool { return len(c.list("")) == 1 })
	if n := len(other.list("")); n != 0 {
		c.Errorf("another caller lists %d", n)
	}
	key := uuid.NewString()
	mine := c.want(http.StatusAccepted, "POST", "/v1/tasks", c.request(), keyHeader, key).document(c)
	if theirs := other.want(http.StatusAccepted, "POST", "/v1/tasks", c.request(), keyHeader, key).document(c); theirs.ID == mine.ID {
		c.Error("two callers share a key")
	}
	c.refused(http.StatusUnauthorized, task.Unauthenticated, "GET", "/v1/tasks/"+id, "", "Authorization", "")
	c.refused(http.StatusUnauthorized, task.Unauthenticated, "GET", "/v1/tasks/"+id, "", "Authorization", "Bearer nope")
}

func etags(c *client) {
	path := "/v1/tasks/" + c.enqueue().ID
	etag := c.get(path).Header.Get("ETag")
	for _, match := range []string{etag, "W/" + etag, `"x", ` + etag, "*"} {
		if r := c.want(http.StatusNotModified, "GET", path, "", "If-None-Match", match); len(r.body) != 0 {
			c.Errorf("304 with a body: %s", r.body)
		}
	}
	c.cancel(strings.TrimPrefix(path, "/v1/tasks/"))
	if changed := c.get(path, "If-None-Match", etag).Header.Get("ETag"); changed == etag {
		c.Error("the document changed and its ETag did not")
	}
}

func waits(c *client) {
	id := c.enqueue().ID
	start := time.Now()
	doc := c.get("/v1/tasks/" + id + "?wait=1.5").document(c)
	if took := time.Since(start); doc.IsFinished || took < 1500*time.Millisecond {
		c.Errorf("%s after %v", doc.State, took)
	}
	w := c.receive(id)
	w.reports(started, "d")
	finished := make(chan task.Document)
	go func() { finished <- c.get("/v1/tasks/" + id + "?wait=20").document(c) }()
	w.reports(succeeded, 1, "1")
	if doc := <-finished; doc.State != task.StateSucceeded || time.Since(start) > 15*time.Second {
		c.Errorf("%s after %v", doc.State, time.Since(start))
	}
}

func secondQueue(c *client) {
	if c.target.Queue == "" {
		c.Skip("the target has only one queue")
	}
	doc := c.enqueue(`,"queue_name":"` + c.target.Queue + `"`)
	if doc.QueueName != c.target.Queue {
		c.Errorf("queue_name %q", doc.QueueName)
	}
	c.receive(doc.ID)
}

func edges(c *client) {
	c.want(http.StatusOK, "GET", "/healthz", "", "Authorization", "")
	if r := c.want(http.StatusOK, "GET", "/openapi.json", "", "Authorization", ""); !strings.Contains(string(r.body), `"openapi"`) {
		c.Errorf("%.100s", r.body)
	}
	c.want(http.StatusOK, "HEAD", "/healthz", "")
	c.refused(http.StatusNotFound, httpapi.UnknownRoute, "GET", "/v1/tasks/x/y", "")
	for _, path := range []string{"/", "/v2/tasks"} {
		c.absent(path)
	}
	r := c.send(apitest.Bad(c.Context()), "DELETE", "/v1/tasks", "")
	if r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "GET, HEAD, POST" {
		c.Errorf("%d, Allow %q", r.StatusCode, r.Header.Get("Allow"))
	}
}

// absent wants a 404 at a path outside the API. A gateway in front may answer
// it in its own words, and so the contract has none for it.
func (c *client) absent(path string) {
	c.Helper()
	req, err := http.NewRequestWithContext(c.Context(), "GET", c.target.BaseURL+path, nil)
	if err != nil {
		c.Fatal(err)
	}
	front := c.target.Front
	if front == nil {
		front = http.DefaultTransport
	}
	resp, err := front.RoundTrip(req)
	if err != nil {
		c.Fatalf("GET %s: %v", path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		c.Errorf("GET %s: %d, want 404", path, resp.StatusCode)
	}
}

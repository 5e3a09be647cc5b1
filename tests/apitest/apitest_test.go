package apitest_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/taskgate/taskgate/tests/apitest"
)

const (
	base = "http://127.0.0.1:8080"
	id   = "01930e7e-8a2b-7c3d-9e4f-5a6b7c8d9e0f"
)

// task is a result document that keeps the contract.
const task = `{"id":"01930e7e-8a2b-7c3d-9e4f-5a6b7c8d9e0f","task_name":"add","status":"READY",` +
	`"enqueued_at":"2026-02-28T12:00:00.000000Z","started_at":null,"finished_at":null,"last_attempted_at":null,` +
	`"args":[1,2],"kwargs":{},"backend":"default","queue_name":"q","priority":0,"run_after":null,"takes_context":false,` +
	`"errors":[],"worker_ids":[],"attempts":0,"is_finished":false,"metadata":{},"state":"QUEUED","progress":null,` +
	`"expires_at":null,"max_attempts":null,"group":null,"cancel_requested":false,` +
	`"dispatch":{"target":"local","route":"local","queue":"q","message_id":null},"attempt_log":[]}`

// done is the task after it has succeeded.
var done = strings.NewReplacer(`"READY"`, `"SUCCESSFUL"`, `"QUEUED"`, `"SUCCEEDED"`, `"is_finished":false`, `"is_finished":true`,
	`"finished_at":null`, `"finished_at":"2026-02-28T12:00:01.000000Z"`, `"metadata":{}`, `"metadata":{},"return_value":null`).Replace(task)

func problem(status, code, more string) string {
	return `{"type":"urn:taskgate:problem:` + code + `","title":"t","status":` + status + `,"detail":"d","code":"` + code + `"` + more + `}`
}

// a round trip: what is asked, and what is answered.
type trip struct {
	method, url string
	ask         map[string]string // headers
	body        string
	bad         bool

	status  int
	headers map[string]string
	answer  string
}

var (
	read    = trip{method: "GET", url: "/v1/tasks/" + id, status: 200, headers: map[string]string{"ETag": `"a"`, "Retry-After": "1"}, answer: task}
	enqueue = trip{method: "POST", url: "/v1/tasks", body: `{"task_name":"add"}`, status: 202, headers: map[string]string{"Location": base + "/v1/tasks/" + id}, answer: task}
	report  = trip{
		method: "POST", url: "/v1/tasks/" + id + "/events", body: `{"type":"heartbeat","attempt":1}`,
		status: 200, answer: `{"acknowledge":false,"attempt":1,"lease_until":null,"cancel_requested":false,"task":` + task + `}`,
	}
)

func with(t trip, change func(*trip)) trip {
	headers := map[string]string{}
	for k, v := range t.headers {
		headers[k] = v
	}
	t.headers = headers
	change(&t)
	return t
}

func answered(t trip, status int, answer string) trip {
	return with(t, func(t *trip) { t.status, t.answer = status, answer })
}

func asked(t trip, body string) trip {
	return with(t, func(t *trip) { t.body = body })
}

func at(t trip, url string) trip {
	return with(t, func(t *trip) { t.url = url })
}

func bad(t trip) trip {
	return with(t, func(t *trip) { t.bad = true })
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// run makes the round trip, and returns what the client gets.
func run(ctx context.Context, t trip) (sent, got string, err error) {
	server := roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Body != nil {
			b, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			sent = string(b)
		}
		h := http.Header{}
		if t.answer != "" {
			h.Set("Content-Type", "application/json")
			if t.status >= 400 {
				h.Set("Content-Type", "application/problem+json")
			}
		}
		for k, v := range t.headers {
			h.Set(k, v)
		}
		return &http.Response{StatusCode: t.status, Header: h, Body: io.NopCloser(strings.NewReader(t.answer)), Request: r}, nil
	})
	if t.bad {
		ctx = apitest.Bad(ctx)
	}
	var body io.Reader
	if t.body != "" {
		body = strings.NewReader(t.body)
	}
	req, err := http.NewRequestWithContext(ctx, t.method, base+t.url, body)
	if err != nil {
		return "", "", err
	}
	if t.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range t.ask {
		req.Header.Set(k, v)
	}
	resp, err := apitest.Transport{Base: server}.RoundTrip(req)
	if err != nil {
		return sent, "", err
	}
	b, err := io.ReadAll(resp.Body)
	return sent, string(b), err
}

func TestWhatKeepsTheContractPassesUnchanged(t *testing.T) {
	head := with(read, func(t *trip) { t.method, t.answer, t.headers["Content-Type"] = "HEAD", "", "application/json" })
	trips := map[string]trip{
		"read":                 read,
		"read, successful":     answered(read, 200, done),
		"read, waiting":        at(read, read.url+"?wait=0.5"),
		"head":                 head,
		"not modified":         with(answered(read, 304, ""), func(t *trip) { t.ask = map[string]string{"If-None-Match": `"a", W/"b"`} }),
		"list":                 answered(at(read, "/v1/tasks?limit=100&status=READY"), 200, `{"items":[`+task+`],"next_cursor":null}`),
		"enqueue":              enqueue,
		"enqueue, bare key":    with(enqueue, func(t *trip) { t.ask = map[string]string{"Idempotency-Key": "a, b=c"} }),
		"enqueue, quoted key":  with(enqueue, func(t *trip) { t.ask = map[string]string{"Idempotency-Key": `"a, \"b"`} }),
		"enqueue, charset":     with(enqueue, func(t *trip) { t.ask = map[string]string{"Content-Type": "application/json; charset=utf-8"} }),
		"enqueue, replayed":    with(enqueue, func(t *trip) { t.headers["Idempotent-Replayed"] = "true" }),
		"enqueue, nulls":       asked(enqueue, `{"task_name":"a","run_after":null,"delay_seconds":1.5,"queue_name":null,"expires_at":null,"group":null,"max_attempts":null}`),
		"enqueue, deep":        asked(enqueue, `{"task_name":"a","args":`+strings.Repeat("[", 60)+strings.Repeat("]", 60)+`}`),
		"enqueue, whole float": asked(enqueue, `{"task_name":"a","max_attempts":3.0}`),
		"cancel, no body":      {method: "POST", url: "/v1/tasks/" + id + "/cancel", status: 200, answer: `{"outcome":"requested","task":` + task + `}`},
		"cancel, empty object": {method: "POST", url: "/v1/tasks/" + id + "/cancel", body: "{}", status: 200, answer: `{"outcome":"requested","task":` + task + `}`},
		"report":               report,
		"report, refused":      answered(report, 409, problem("409", "stale-attempt", `,"acknowledge":false`)),
		"batch": {
			method: "POST", url: "/v1/tasks/batch", body: `{"tasks":[{"task_name":"a","idempotency_key":"k"},{"task_name":"b"}]}`, status: 200,
			answer: `{"items":[{"status":202,"task":` + task + `,"idempotent_replayed":true},{"status":503,"problem":` + problem("503", "unavailable", "") + `}]}`,
		},
		"gateway's 429":        with(answered(read, 429, "slow down"), func(t *trip) { t.headers["Content-Type"] = "text/plain" }),
		"health":               {method: "GET", url: "/healthz", status: 200, answer: `{"status":"ok"}`},
		"bad request":          bad(answered(asked(enqueue, `{`), 400, problem("400", "invalid-json", ""))),
		"bad task":             bad(answered(asked(enqueue, `{"x":1}`), 422, problem("422", "invalid-task", `,"errors":[{"pointer":"/x","detail":"d"}]`))),
		"bad id":               bad(answered(at(read, "/v1/tasks/1"), 404, problem("404", "unknown-task", ""))),
		"no such route":        bad(answered(at(read, "/v2"), 404, problem("404", "unknown-route", ""))),
		"no such method":       bad(with(answered(read, 405, problem("405", "method-not-allowed", "")), func(t *trip) { t.method, t.headers["Allow"] = "PUT", "GET, HEAD" })),
		"no method, not an id": bad(with(answered(at(read, "/v1/tasks/batch"), 405, problem("405", "method-not-allowed", "")), func(t *trip) { t.headers["Allow"] = "POST" })),
		"slash at the end":     bad(answered(at(read, "/v1/tasks/"), 404, problem("404", "unknown-route", ""))),
		"bad, but done right":  bad(enqueue),
	}
	for name, trip := range trips {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent, got, err := run(t.Context(), trip)
			if err != nil {
				t.Fatal(err)
			}
			if sent != trip.body {
				t.Errorf("the server was sent %q, want %q", sent, trip.body)
			}
			if got != trip.answer {
				t.Errorf("the client got %q, want %q", got, trip.answer)
			}
		})
	}
}

func TestWhatBreaksTheContractIsCaught(t *testing.T) {
	replaced := func(t trip, old, new string) trip {
		return answered(t, t.status, strings.Replace(t.answer, old, new, 1))
	}
	gone := problem("410", "finished", `,"acknowledge":true`)
	trips := map[string]struct {
		trip
		want string
	}{
		"undocumented status":          {answered(read, 418, ""), "418"},
		"undocumented success":         {answered(enqueue, 200, task), "200"},
		"extra member":                 {replaced(read, `{"id"`, `{"extra":1,"id"`), "extra"},
		"missing member":               {replaced(read, `"group":null,`, ""), "group"},
		"wrong timestamp":              {replaced(read, "12:00:00.000000Z", "12:00:00.000Z"), "enqueued_at"},
		"impossible timestamp":         {replaced(read, "2026-02-28", "2026-02-31"), "enqueued_at"},
		"null timestamp":               {replaced(read, `"2026-02-28T12:00:00.000000Z"`, "null"), "enqueued_at"},
		"upper-case id":                {replaced(read, "01930e7e-8a2b", "01930E7E-8A2B"), "id"},
		"version 4 id":                 {replaced(read, "-7c3d-", "-4c3d-"), "id"},
		"unknown status":               {replaced(read, "READY", "CANCELLED"), "status"},
		"state of another status":      {replaced(read, "QUEUED", "STALLED"), "state"},
		"early return value":           {replaced(read, `"metadata":{}`, `"metadata":{},"return_value":1`), "not"},
		"no return value":              {answered(read, 200, strings.Replace(done, `,"return_value":null`, "", 1)), "return_value"},
		"finished, but not":            {answered(read, 200, strings.Replace(done, `"is_finished":true`, `"is_finished":false`, 1)), "is_finished"},
		"extra member, deep":           {replaced(read, `"target"`, `"url":"x","target"`), "url"},
		"duplicate name":               {replaced(read, `{"id"`, `{"group":null,"id"`), "duplicate"},
		"invalid UTF-8":                {replaced(read, `"add"`, "\"\xff\""), "UTF-8"},
		"not JSON":                     {answered(read, 200, "ok"), "JSON"},
		"no body":                      {with(answered(read, 200, ""), func(t *trip) { t.headers["Content-Type"] = "application/json" }), "JSON"},
		"another media type":           {with(read, func(t *trip) { t.headers["Content-Type"] = "text/plain" }), "text/plain"},
		"problem as plain JSON":        {with(answered(read, 404, problem("404", "unknown-task", "")), func(t *trip) { t.headers["Content-Type"] = "application/json" }), "application/json"},
		"no Location":                  {with(enqueue, func(t *trip) { delete(t.headers, "Location") }), "Location"},
		"no ETag":                      {with(read, func(t *trip) { delete(t.headers, "ETag") }), "ETag"},
		"bare ETag":                    {with(read, func(t *trip) { t.headers["ETag"] = "a" }), "ETag"},
		"no ETag on HEAD":              {with(read, func(t *trip) { t.method, t.answer, t.headers = "HEAD", "", nil }), "ETag"},
		"Retry-After in words":         {with(read, func(t *trip) { t.headers["Retry-After"] = "soon" }), "Retry-After"},
		"no Retry-After":               {answered(enqueue, 503, problem("503", "unavailable", "")), "Retry-After"},
		"falsely replayed":             {with(enqueue, func(t *trip) { t.headers["Idempotent-Replayed"] = "false" }), "Idempotent-Replayed"},
		"problem without code":         {answered(read, 404, strings.Replace(problem("404", "unknown-task", ""), `"code"`, `"kode"`, 1)), "code"},
		"code of another status":       {answered(read, 404, problem("404", "forbidden", "")), "code"},
		"status of another problem":    {answered(read, 404, problem("400", "unknown-task", "")), "status"},
		"acknowledge where no worker":  {answered(read, 404, problem("404", "unknown-task", `,"acknowledge":true`)), "acknowledge"},
		"event without acknowledge":    {answered(report, 404, problem("404", "unknown-task", "")), "acknowledge"},
		"event wrongly acknowledged":   {answered(report, 410, strings.Replace(gone, "true", "false", 1)), "acknowledge"},
		"args without kwargs":          {replaced(report, `{"acknowledge"`, `{"args":[],"acknowledge"`), "kwargs"},
		"batch item of both":           {answered(trip{method: "POST", url: "/v1/tasks/batch", body: `{"tasks":[{"task_name":"a"}]}`}, 200, `{"items":[{"status":202,"task":`+task+`,"problem":{}}]}`), "items"},
		"unmatched route, other 404":   {bad(answered(at(read, "/v2"), 404, problem("404", "unknown-task", ""))), "code"},
		"unmatched route answered":     {bad(answered(at(read, "/v2"), 200, task)), "200"},
		"unmatched method, no Allow":   {bad(with(answered(read, 405, problem("405", "method-not-allowed", "")), func(t *trip) { t.method = "PUT" })), "Allow"},
		"request: unknown member":      {asked(enqueue, `{"task_name":"a","colour":1}`), "colour"},
		"request: case-folded name":    {asked(enqueue, `{"task_name":"a","Priority":1}`), "Priority"},
		"request: duplicate name":      {asked(enqueue, `{"task_name":"a","task_name":"b"}`), "duplicate"},
		"request: missing member":      {asked(enqueue, `{}`), "task_name"},
		"request: wrong null":          {asked(enqueue, `{"task_name":"a","backend":null}`), "backend"},
		"request: control character":   {asked(enqueue, `{"task_name":"a\u0000"}`), "task_name"},
		"request: no offset":           {asked(enqueue, `{"task_name":"a","run_after":"2026-01-01T00:00:00"}`), "run_after"},
		"request: both times":          {asked(enqueue, `{"task_name":"a","run_after":"2026-01-01T00:00:00Z","delay_seconds":1}`), "not"},
		"request: reserved metadata":   {asked(enqueue, `{"task_name":"a","metadata":{"_x":"y"}}`), "_x"},
		"request: half a try":          {asked(enqueue, `{"task_name":"a","max_attempts":1.5}`), "max_attempts"},
		"request: no body":             {asked(enqueue, ""), "content type"},
		"request: media type":          {with(enqueue, func(t *trip) { t.ask = map[string]string{"Content-Type": "text/plain"} }), "text/plain"},
		"request: long key":            {with(enqueue, func(t *trip) { t.ask = map[string]string{"Idempotency-Key": strings.Repeat("k", 256)} }), "Idempotency-Key"},
		"request: key in a single":     {asked(enqueue, `{"task_name":"a","idempotency_key":"k"}`), "idempotency_key"},
		"request: unknown query":       {at(read, read.url+"?weight=1"), "weight"},
		"request: query on a POST":     {at(enqueue, enqueue.url+"?limit=1"), "limit"},
		"request: wait too long":       {at(read, read.url+"?wait=21"), "wait"},
		"request: limit 0":             {at(read, "/v1/tasks?limit=0"), "limit"},
		"request: unknown state":       {at(read, "/v1/tasks?state=LOST"), "state"},
		"request: malformed id":        {at(read, "/v1/tasks/1"), "id"},
		"request: body on a GET":       {asked(read, "{}"), "body"},
		"request: no such route":       {at(read, "/v2"), "/v2"},
		"request: slash at the end":    {at(read, "/v1/tasks/"), "path"},
		"request: no such method":      {with(read, func(t *trip) { t.method = "PUT" }), "PUT"},
		"request: cancel with members": {trip{method: "POST", url: "/v1/tasks/" + id + "/cancel", body: `{"why":1}`}, "why"},
		"request: unknown event":       {asked(report, `{"type":"paused","attempt":1}`), "type"},
		"request: event of no attempt": {asked(report, `{"type":"succeeded"}`), "attempt"},
		"request: another's member":    {asked(report, `{"type":"succeeded","attempt":1,"lease_seconds":9}`), "lease_seconds"},
		"request: short lease":         {asked(report, `{"type":"heartbeat","attempt":1,"lease_seconds":4}`), "lease_seconds"},
		"request: empty batch":         {trip{method: "POST", url: "/v1/tasks/batch", body: `{"tasks":[]}`}, "tasks"},
	}
	for name, c := range trips {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := run(t.Context(), c.trip)
			if err == nil {
				t.Fatal("it passed")
			}
			rule, _, _ := strings.Cut(err.Error(), "\n{") // without the body that it quotes
			side := "the response"
			if strings.HasPrefix(name, "request: ") {
				side = "the request"
			}
			if !strings.HasPrefix(err.Error(), side) || !strings.Contains(strings.ToLower(rule), strings.ToLower(c.want)) {
				t.Errorf("the error is not about %s and %q: %v", side, c.want, err)
			}
		})
	}
}

func TestCheckHoldsAMessageToItsSchema(t *testing.T) {
	const token = "v1.e30.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	message := `{"task_name":"a","args":[],"kwargs":{},"id":"` + id + `","v":1,"enqueued_at":"2026-02-28T12:00:00.000000Z",` +
		`"events_url":"` + base + `/v1/tasks/` + id + `/events","token":"` + token + `"}`
	if err := apitest.Check("Message", []byte(message)); err != nil {
		t.Errorf("a good message: %v", err)
	}
	for name, broken := range map[string][2]string{
		"extra member":       {`"v":1`, `"v":1,"x":2`},
		"missing kwargs":     {`"kwargs":{},`, ``},
		"args yet offloaded": {`"v":1`, `"v":1,"offloaded":true`},
		"null for absent":    {`"v":1`, `"v":1,"max_attempts":null`},
		"no token":           {token, ""},
		"duplicate name":     {`"v":1`, `"v":1,"v":1`},
	} {
		if apitest.Check("Message", []byte(strings.Replace(message, broken[0], broken[1], 1))) == nil {
			t.Errorf("%s: it passed", name)
		}
	}
	if apitest.Check("Massage", []byte(message)) == nil {
		t.Error("a schema that is not there: it passed")
	}
}

// The contract is built on first use, which may be inside a bubble, and is used
// outside it afterwards.
func TestABubbleMayBeTheFirstToUseTheContract(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if _, _, err := run(t.Context(), read); err != nil {
			t.Error(err)
		}
	})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, _, err := run(t.Context(), enqueue); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/apitest"
)

// through sends a request with any Host and headers, in pairs, straight to the
// handler, and returns the status and the problem's code.
func through(t *testing.T, h http.Handler, ctx context.Context, method, url, body string, headers ...string) (int, task.Kind) {
	t.Helper()
	r := httptest.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code < 400 {
		return w.Code, ""
	}
	return w.Code, answer{&http.Response{StatusCode: w.Code}, w.Body.Bytes()}.problem(t).Code
}

func TestWithoutAuthenticationForeignHostsAndOriginsAreRefused(t *testing.T) {
	var h http.Handler
	newAPI(t, func(c *httpapi.Config) { c.Auth = httpapi.AllowAll; h = httpapi.New(*c) })
	const enqueue = `{"task_name":"t"}`
	for name, c := range map[string]struct {
		method, url, body string
		headers           []string
		foreign           bool
	}{
		"localhost":                        {"POST", "http://localhost:8080/v1/tasks", enqueue, nil, false},
		"a name below localhost":           {"POST", "http://app.localhost:8080/v1/tasks", enqueue, nil, false},
		"a loopback address":               {"POST", "http://127.0.0.2:8080/v1/tasks", enqueue, nil, false},
		"the IPv6 loopback address":        {"GET", "http://[::1]:8080/v1/tasks", "", nil, false},
		"IPv6 without a port":              {"GET", "http://[::1]/v1/tasks", "", nil, false},
		"the public URL":                   {"POST", "http://tasks.example.com/v1/tasks", enqueue, nil, false},
		"another name (DNS rebinding)":     {"GET", "http://evil.example:8080/v1/tasks", "", nil, true},
		"another name, health":             {"GET", "http://evil.example/healthz", "", nil, true},
		"another name, unknown path":       {"GET", "http://evil.example/nope", "", nil, true},
		"a name that starts as localhost":  {"GET", "http://localhost.evil.example/v1/tasks", "", nil, true},
		"an address that is not loopback":  {"GET", "http://192.0.2.1:8080/v1/tasks", "", nil, true},
		"the public host on another port":  {"GET", "http://tasks.example.com:81/v1/tasks", "", nil, true},
		"own origin":                       {"POST", "http://localhost:8080/v1/tasks", enqueue, []string{"Origin", "http://localhost:8080", "Sec-Fetch-Site", "same-origin"}, false},
		"the public URL's origin":          {"POST", "http://localhost:8080/v1/tasks", enqueue, []string{"Origin", "https://tasks.example.com"}, false},
		"foreign origin":                   {"POST", "http://localhost:8080/v1/tasks", enqueue, []string{"Origin", "http://evil.example"}, true},
		"foreign origin, reading":          {"GET", "http://localhost:8080/v1/tasks", "", []string{"Origin", "http://evil.example"}, true},
		"another port of this machine":     {"POST", "http://localhost:8080/v1/tasks", enqueue, []string{"Origin", "http://localhost:3000", "Sec-Fetch-Site", "same-site"}, true},
		"the null origin":                  {"POST", "http://localhost:8080/v1/tasks", enqueue, []string{"Origin", "null"}, true},
		"own and foreign origin":           {"POST", "http://localhost:8080/v1/tasks", enqueue, []string{"Origin", "http://localhost:8080", "Origin", "http://evil.example"}, true},
		"cross-site without an origin":     {"GET", "http://localhost:8080/v1/tasks", "", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, true},
		"cross-site navigation to the API": {"GET", "http://localhost:8080/v1/tasks", "", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, true},
		"typed into the address bar":       {"GET", "http://localhost:8080/v1/tasks", "", []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate"}, false},
		"an event":                         {"POST", "http://localhost:8080/v1/tasks/x/events", enqueue, []string{"Origin", "http://evil.example"}, true},
		"a cancel":                         {"POST", "http://localhost:8080/v1/tasks/x/cancel", "", []string{"Origin", "http://evil.example"}, true},
	} {
		if status, code := through(t, h, t.Context(), c.method, c.url, c.body, c.headers...); (code == httpapi.ForeignOrigin) != c.foreign || c.foreign && status != http.StatusForbidden {
			t.Errorf("%s: %d %s, want foreign: %v", name, status, code, c.foreign)
		}
	}
	navigate := []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}
	if _, code := through(t, h, t.Context(), "GET", "http://localhost/ui/", "", navigate...); code != httpapi.UnknownRoute {
		t.Errorf("a navigation to the dashboard: %s", code)
	}
	if _, code := through(t, h, t.Context(), "POST", "http://localhost/ui/", "", navigate...); code != httpapi.ForeignOrigin {
		t.Errorf("a form that is sent to the dashboard: %s", code)
	}
}

func TestOriginIsCheckedOnlyForBrowserCredentials(t *testing.T) {
	var keys, platform http.Handler
	newAPI(t, func(c *httpapi.Config) {
		keys = httpapi.New(*c)
		c.Auth = httpapi.FromPlatform
		platform = httpapi.New(*c)
	})
	foreign := []string{"Origin", "https://shop.example", "Sec-Fetch-Site", "cross-site", "Authorization", "Bearer " + keyOf("alice")}
	if status, code := through(t, keys, t.Context(), "GET", "http://any.example/v1/tasks", "", foreign...); status != http.StatusOK {
		t.Errorf("with a key: %d %s", status, code)
	}
	for cookie, want := range map[bool]int{false: http.StatusOK, true: http.StatusForbidden} {
		ctx := httpapi.WithGateway(t.Context(), httpapi.Gateway{Caller: "aad:alice", Cookie: cookie})
		if status, code := through(t, platform, ctx, "GET", "http://any.example/v1/tasks", "", foreign...); status != want {
			t.Errorf("authenticated by the platform, by a cookie %v: %d %s", cookie, status, code)
		}
	}
}

func TestContentTypeMustBeJSON(t *testing.T) {
	a := newAPI(t)
	id := a.enqueue(`{"task_name":"t"}`).ID
	token := a.tokens.Sign(id, task.Time{}, time.Now().Add(time.Hour))
	for name, c := range map[string]struct {
		path, body, media string
		status            int
	}{
		"cancel, nothing":              {"/v1/tasks/" + id + "/cancel", "", "", http.StatusOK},
		"cancel, empty JSON":           {"/v1/tasks/" + id + "/cancel", "", "application/json", http.StatusOK},
		"cancel, empty text":           {"/v1/tasks/" + id + "/cancel", "", "text/plain", http.StatusUnsupportedMediaType},
		"cancel, empty form":           {"/v1/tasks/" + id + "/cancel", "", "application/x-www-form-urlencoded", http.StatusUnsupportedMediaType},
		"cancel, text":                 {"/v1/tasks/" + id + "/cancel", "{}", "text/plain", http.StatusUnsupportedMediaType},
		"cancel, JSON":                 {"/v1/tasks/" + id + "/cancel", "{}", "application/json", http.StatusOK},
		"enqueue, nothing":             {"/v1/tasks", "", "", http.StatusBadRequest},
		"enqueue, empty text":          {"/v1/tasks", "", "text/plain", http.StatusUnsupportedMediaType},
		"enqueue, JSON as text":        {"/v1/tasks", `{"task_name":"t"}`, "text/plain", http.StatusUnsupportedMediaType},
		"batch, empty text":            {"/v1/tasks/batch", "", "text/plain", http.StatusUnsupportedMediaType},
		"batch, JSON as text":          {"/v1/tasks/batch", `{"tasks":[]}`, "text/plain", http.StatusUnsupportedMediaType},
		"event, JSON as text":          {"/v1/tasks/" + id + "/events", `{"type":"dead_lettered"}`, "text/plain", http.StatusUnsupportedMediaType},
		"event, empty text":            {"/v1/tasks/" + id + "/events", "", "text/plain", http.StatusUnsupportedMediaType},
		"enqueue, body without a type": {"/v1/tasks", `{"task_name":"t"}`, "", http.StatusUnsupportedMediaType},
	} {
		r := a.send(apitest.Bad(t.Context()), "POST", c.path, c.body, "Content-Type", c.media, "Taskgate-Token", token)
		if r.StatusCode != c.status {
			t.Errorf("%s: %d %s, want %d", name, r.StatusCode, r.body, c.status)
		}
	}
}

func TestInvalidBatchItemDoesNotAffectOtherItems(t *testing.T) {
	a := newAPI(t)
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for name, c := range map[string]struct {
		item string
		code task.Kind
	}{
		"duplicate name":          {`{"task_name":"t","kwargs":{"a":1,"a":2}}`, httpapi.InvalidJSON},
		"duplicate task_name":     {`{"task_name":"t","task_name":"u"}`, httpapi.InvalidJSON},
		"too deep":                {`{"task_name":"t","args":` + deep(64) + `}`, httpapi.InvalidJSON},
		"deeper than any decoder": {`{"task_name":"t","args":` + deep(50_000) + `}`, httpapi.InvalidJSON},
		"lone surrogate":          {`{"task_name":"t","args":["\ud800"]}`, httpapi.InvalidJSON},
		"invalid UTF-8":           {"{\"task_name\":\"t\",\"args\":[\"\xff\"]}", httpapi.InvalidJSON},
		"NaN, as Python writes":   {`{"task_name":"t","args":[NaN]}`, httpapi.InvalidJSON},
		"a comma too many":        {`{"task_name":"t",}`, httpapi.InvalidJSON},
		"two values":              {`{"task_name":"t"} {}`, httpapi.InvalidJSON},
		"no object":               {`7`, task.InvalidTask},
		"null":                    {`null`, task.InvalidTask},
		"unknown member":          {`{"task_name":"t","nope":"]}\"["}`, task.InvalidTask},
	} {
		var got struct {
			Items []struct {
				Status  int              `json:"status"`
				Problem *httpapi.Problem `json:"problem"`
			} `json:"items"`
		}
		r := a.send(apitest.Bad(t.Context()), "POST", "/v1/tasks/batch",
			fmt.Sprintf(`{ "tasks" : [ {"task_name":"t"} , %s , {"task_name":"u","args":["]",{"a":"\"}"}]}] }`, c.item))
		r.decode(t, &got)
		if r.StatusCode != http.StatusOK || len(got.Items) != 3 || got.Items[0].Status != 202 || got.Items[2].Status != 202 ||
			got.Items[1].Problem == nil || got.Items[1].Problem.Code != c.code {
			t.Errorf("%s: %d %.600s", name, r.StatusCode, r.body)
		}
	}
	for name, c := range map[string]struct {
		body string
		code task.Kind
	}{
		"syntax outside the items": {`{"tasks":[{"task_name":"t"}],}`, httpapi.InvalidJSON},
		"an item that never ends":  {`{"tasks":[{"task_name":"t"},{"a":[}]}`, httpapi.InvalidJSON},
		"a string that never ends": {`{"tasks":[{"task_name":"t"},{"a":"}]}`, httpapi.InvalidJSON},
		"an item that is missing":  {`{"tasks":[{"task_name":"t"},,{"task_name":"t"}]}`, httpapi.InvalidJSON},
		"a comma at the end":       {`{"tasks":[{"task_name":"t"},]}`, httpapi.InvalidJSON},
		"tasks twice":              {`{"tasks":[{"task_name":"t"}],"tasks":[]}`, httpapi.InvalidJSON},
		"data after it":            {`{"tasks":[{"task_name":"t"}]} 1`, httpapi.InvalidJSON},
		"another member":           {`{"tasks":[{"task_name":"t"}],"x":1}`, httpapi.InvalidBatch},
		"no array":                 {`{"tasks":{"task_name":"t"}}`, httpapi.InvalidBatch},
		"no tasks":                 {`{"tasks":[]}`, httpapi.InvalidBatch},
		"an array":                 {`[{"task_name":"t"}]`, httpapi.InvalidBatch},
	} {
		if r, p := a.bad("POST", "/v1/tasks/batch", c.body); p.Code != c.code {
			t.Errorf("%s: %d %s, want %s", name, r.StatusCode, r.body, c.code)
		}
	}
}

func TestQueryParametersAreReadStrictly(t *testing.T) {
	a := newAPI(t)
	id := a.enqueue(`{"task_name":"t"}`).ID
	a.good(http.StatusOK, "POST", "/v1/tasks/"+id+"/cancel", "") // nothing to wait for
	for _, query := range []string{
		"/" + id + "?wait=1_0", "/" + id + "?wait=%2B1", "/" + id + "?wait=+1", "/" + id + "?wait=0x1", "/" + id + "?wait=.5", "/" + id + "?wait=5.",
		"/" + id + "?wait=01", "/" + id + "?wait=%D9%A1", "/" + id + "?wait=Inf", "/" + id + "?wait=NaN", "/" + id + "?wait=1&wait=1", "/" + id + "?wait=", "/" + id + "?Wait=1",
		"?limit=1_0", "?limit=%EF%BC%91", "?limit=%2B5", "?limit=1&limit=1", "?limit=0x5", "?limit=5%20", "?limit=%0A5", "?limit=0.5e1x",
		"?task_name=%0F", "?queue_name=a%00", "?backend=%7F", "?task_name=" + strings.Repeat("n", 256), "?task_name=%FF", "?status=READY&status=READY", "?state=queued",
		"?cursor=", "?=1", "?limit=5;state=QUEUED",
	} {
		if r, p := a.bad("GET", "/v1/tasks"+query, ""); r.StatusCode != http.StatusBadRequest || p.Code != httpapi.InvalidQuery {
			t.Errorf("%s: %d %s", query, r.StatusCode, r.body)
		}
	}
	for _, query := range []string{"/" + id + "?wait=20", "/" + id + "?wait=1.5", "/" + id + "?wait=0.0", "/" + id + "?wait=1e-1", "?limit=1e2", "?limit=5.0", "?task_name=" + strings.Repeat("%C3%A9", 255)} {
		a.good(http.StatusOK, "GET", "/v1/tasks"+query, "")
	}
}

// brokenStore panics with a value that quotes what it was given.
type brokenStore struct{ task.Store }

func (brokenStore) Create(_ context.Context, r *task.Record) (*task.Record, error) { panic(r.Kwargs) }

func TestPayloadsAreNotLogged(t *testing.T) {
	a := newAPI(t)
	id := a.enqueue(`{"task_name":"t"}`).ID
	token := a.tokens.Sign(id, task.Time{}, time.Now().Add(time.Hour))
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/v1/tasks", `{"task_name":"t","kwargs":{"CANARY":1,"CANARY":2}}`},
		{"POST", "/v1/tasks", `{"task_name":"t","CANARY":{"CANARY":1}}`},
		{"POST", "/v1/tasks", `{"task_name":"t","metadata":{"CANARY":7}}`},
		{"POST", "/v1/tasks", `{"task_name":"t","backend":"CANARY"}`},
		{"POST", "/v1/tasks", `{"task_name":"t","args":[CANARY]}`},
		{"POST", "/v1/tasks", `{"task_name":"t","run_after":"CANARY"}`},
		{"POST", "/v1/tasks/batch", `{"tasks":[{"task_name":"t","kwargs":{"CANARY":1,"CANARY":2}},{"CANARY":1}]}`},
		{"POST", "/v1/tasks/batch", `{"CANARY":[],"CANARY":[]}`},
		{"GET", "/v1/tasks?CANARY=1", ``},
		{"GET", "/v1/tasks?status=CANARY", ``},
		{"POST", "/v1/tasks/" + id + "/events", `{"type":"CANARY","CANARY":1}`},
		{"POST", "/v1/tasks/" + id + "/events", `{"type":"failed","attempt":1,"error":{"CANARY":1,"CANARY":2}}`},
		{"POST", "/v1/tasks/" + id + "/cancel", `{"CANARY":1}`},
	} {
		r := a.send(apitest.Bad(t.Context()), c.method, c.path, c.body, "Taskgate-Token", token, "Tracestate", "CANARY=CANARY",
			"Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		if r.StatusCode >= 500 {
			t.Errorf("%s %s: %d %s", c.path, c.body, r.StatusCode, r.body)
		}
	}
	broken := newAPI(t, func(c *httpapi.Config) { c.Service.Store = brokenStore{} })
	if r, p := broken.bad("POST", "/v1/tasks", `{"task_name":"t","kwargs":{"CANARY":"CANARY"}}`); r.StatusCode != http.StatusServiceUnavailable || p.Code != task.Internal {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	for _, log := range []string{a.log.String(), broken.log.String()} {
		if at := strings.Index(log, "CANARY"); at >= 0 {
			t.Errorf("…%.200s", log[max(0, at-100):])
		}
	}
	if !strings.Contains(a.log.String(), `"error":"invalid-json"`) || !strings.Contains(broken.log.String(), "brokenStore") {
		t.Errorf("the log does not say what went wrong: %s %s", a.log, broken.log)
	}
}

func TestCapabilitiesShowTheCallerAndItsScopes(t *testing.T) {
	a := newAPI(t)
	for name, scopes := range map[string]string{"alice": "[enqueue read]", "reader": "[read]", "root": fmt.Sprint(httpapi.Scopes())} {
		var got struct {
			Caller struct {
				Name   string   `json:"name"`
				Scopes []string `json:"scopes"`
			} `json:"caller"`
		}
		a.good(http.StatusOK, "GET", "/v1/capabilities", "", "Authorization", "Bearer "+keyOf(name)).decode(t, &got)
		if got.Caller.Name != name || fmt.Sprint(got.Caller.Scopes) != scopes {
			t.Errorf("%s: %+v, want %s", name, got.Caller, scopes)
		}
	}
}

func TestMalformedFailureReportIsStillRecorded(t *testing.T) {
	a := newAPI(t)
	long := strings.Repeat("é", 35_000) + strings.Repeat("z", 35_000)
	for name, c := range map[string]struct {
		report, path string
		traceback    func(string) bool
	}{
		"long traceback": {`{"exception_class_path":"e.E","traceback":"` + long + `"}`, "e.E", func(s string) bool {
			return len([]rune(s)) <= task.MaxTraceback && len([]rune(s)) > task.MaxTraceback-100 && strings.HasPrefix(s, "éé") && strings.HasSuffix(s, "zz") &&
				strings.Contains(s, "\n[taskgate: 45") && strings.Contains(s, " characters are missing here]\n")
		}},
		"traceback at the limit": {`{"exception_class_path":"e.E","traceback":"` + long[:35_000*2] + `"}`, "e.E", func(s string) bool { return s == long[:35_000*2] }},
		"long class path": {`{"exception_class_path":"` + strings.Repeat("p.", 150) + `E","traceback":"boom"}`, "builtins.Exception", func(s string) bool {
			return strings.Contains(s, strings.Repeat("p.", 150)+"E") && strings.HasSuffix(s, "\nboom")
		}},
		"empty class path":         {`{"exception_class_path":"","traceback":"boom"}`, "builtins.Exception", func(s string) bool { return strings.HasSuffix(s, "\nboom") }},
		"line in a class path":     {`{"exception_class_path":"a\nb","traceback":"boom"}`, "builtins.Exception", func(s string) bool { return strings.Contains(s, `"a\nb"`) }},
		"lone surrogate":           {`{"exception_class_path":"e.E","traceback":"a\ud800b\udc00\ud83d\ude00"}`, "e.E", func(s string) bool { return s == "a\ufffdb\ufffd😀" }},
		"lone surrogate in a path": {`{"exception_class_path":"e.\udfff","traceback":""}`, "e.\ufffd", func(s string) bool { return s == "" }},
		"invalid UTF-8":            {"{\"exception_class_path\":\"e.E\",\"traceback\":\"a\xffb\"}", "e.E", func(s string) bool { return s == "a\ufffdb" }},
	} {
		for _, kind := range []string{`"failed","attempt":1`, `"dead_lettered"`} {
			id := a.enqueue(`{"task_name":"t"}`).ID
			token := a.tokens.Sign(id, task.Time{}, time.Now().Add(time.Hour))
			if strings.Contains(kind, "attempt") {
				a.good(http.StatusOK, "POST", "/v1/tasks/"+id+"/events", `{"type":"started","worker_id":"w","delivery_id":"d"}`, "Taskgate-Token", token)
			}
			r := a.send(apitest.Bad(t.Context()), "POST", "/v1/tasks/"+id+"/events", ` { "type" : `+kind+`, "error" : `+c.report+" } ", "Taskgate-Token", token)
			var got task.Answer
			r.decode(t, &got)
			if r.StatusCode != http.StatusOK || !got.Acknowledge || len(got.Task.Errors) != 1 || got.Task.Errors[0].ExceptionClassPath != c.path || !c.traceback(got.Task.Errors[0].Traceback) {
				t.Errorf("%s, %s: %d %.300s", name, kind, r.StatusCode, r.body)
			}
		}
	}
	// What is not a report of a failure is never changed.
	id := a.enqueue(`{"task_name":"t"}`).ID
	token := a.tokens.Sign(id, task.Time{}, time.Now().Add(time.Hour))
	if _, p := a.bad("POST", "/v1/tasks/"+id+"/events", `{"type":"succeeded","attempt":1,"return_value":"\ud800"}`, "Taskgate-Token", token); p.Code != httpapi.InvalidJSON {
		t.Errorf("a lone surrogate in a result: %s", p.Code)
	}
	if _, p := a.bad("POST", "/v1/tasks/"+id+"/events", `{"type":"dead_lettered","error":{"traceback":"\ud800","traceback":""}}`, "Taskgate-Token", token); p.Code != httpapi.InvalidJSON {
		t.Errorf("a duplicate name beside a lone surrogate: %s", p.Code)
	}
}

// TestBatchAnswerLeavesOutReplaysThatDoNotFit: a platform would drop the whole answer.
func TestBatchAnswerLeavesOutReplaysThatDoNotFit(t *testing.T) {
	a := newAPI(t)
	result := `"` + strings.Repeat("x", 800_000) + `"`
	const tasks = 20
	var items []string
	for i := range tasks {
		item := fmt.Sprintf(`{"task_name":"t","idempotency_key":"k%d"}`, i)
		items = append(items, item)
		id := a.enqueue(`{"task_name":"t"}`, "Idempotency-Key", fmt.Sprintf("k%d", i)).ID
		token := a.tokens.Sign(id, task.Time{}, time.Now().Add(time.Hour))
		a.good(http.StatusOK, "POST", "/v1/tasks/"+id+"/events", `{"type":"started","worker_id":"w","delivery_id":"d"}`, "Taskgate-Token", token)
		a.send(apitest.Bad(t.Context()), "POST", "/v1/tasks/"+id+"/events", `{"type":"succeeded","attempt":1,"return_value":`+result+`}`, "Taskgate-Token", token)
	}
	items = append(items, `{"task_name":"new"}`, `{"task_name":"new","idempotency_key":"new"}`)
	var got struct {
		Items []struct {
			Status  int              `json:"status"`
			Problem *httpapi.Problem `json:"problem"`
		} `json:"items"`
	}
	r := a.good(http.StatusOK, "POST", "/v1/tasks/batch", `{"tasks":[`+strings.Join(items, ",")+`]}`)
	r.decode(t, &got)
	replayed := 0
	for i, item := range got.Items {
		switch {
		case item.Status == http.StatusAccepted && i < tasks:
			replayed++
		case item.Status == http.StatusAccepted:
		case i >= tasks || item.Problem.Code != task.Unavailable || item.Problem.TaskID == "":
			t.Errorf("item %d: %d %+v", i, item.Status, item.Problem)
		}
	}
	if replayed != 5 || len(r.body) > 4<<20+64<<10 || len(got.Items) != tasks+2 {
		t.Errorf("%d replays in an answer of %d bytes with %d items", replayed, len(r.body), len(got.Items))
	}
}

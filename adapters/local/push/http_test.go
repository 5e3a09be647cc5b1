package push_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/taskgate/taskgate/adapters/local/embedded"
	"github.com/taskgate/taskgate/adapters/local/push"
	"github.com/taskgate/taskgate/core/task"
)

func message() embedded.Delivery {
	return embedded.Delivery{
		ID: "id", Queue: embedded.Queue{Backend: "é", Name: "mail %"}, Count: 3, Body: []byte(`{"task_name":"é%","args":["\u0000 x"]}`),
		Attributes: map[string]string{
			task.AttributeTaskID: "id", task.AttributeTaskName: "é%\r\n", task.AttributeTraceparent: "00-1-2-01",
			task.AttributeEnvelope: `{"metadata":{"k":"é😀"}}`,
		},
	}
}

func TestMessageIsPostedWithItsAttributesAsHeaders(t *testing.T) {
	var got *http.Request
	var body []byte
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer s.Close()
	o, err := push.NewHTTP(push.NewClient(1), s.URL+"/tasks?x=1", 0).Deliver(t.Context(), message())
	if err != nil || !o.Acknowledge {
		t.Fatalf("%+v: %v", o, err)
	}
	if got.Method != http.MethodPost || got.RequestURI != "/tasks?x=1" || string(body) != string(message().Body) {
		t.Errorf("%s %s %s", got.Method, got.RequestURI, body)
	}
	want := map[string]string{
		"Content-Type": "application/json", "Taskgate-Task-Id": "id", "Taskgate-Task-Name": "%C3%A9%25%0D%0A", "Traceparent": "00-1-2-01",
		"Taskgate-Envelope": `{"metadata":{"k":"\u00e9\ud83d\ude00"}}`, "Taskgate-Delivery-Count": "3",
		"Taskgate-Queue-Name": "mail %25", "Taskgate-Backend": "%C3%A9",
	}
	headers := map[string]string{}
	for name := range want {
		headers[name] = got.Header.Get(name)
	}
	if !reflect.DeepEqual(headers, want) {
		t.Errorf("headers %v\nwant    %v", headers, want)
	}
}

func TestOnlyA2xxAcknowledges(t *testing.T) {
	for _, c := range []struct {
		status     int
		retryAfter string
		want       push.Outcome
	}{
		{200, "", push.Outcome{Acknowledge: true}},
		{299, "5", push.Outcome{Acknowledge: true}},
		{302, "", push.Outcome{}},
		{307, "", push.Outcome{}},
		{409, "7", push.Outcome{Delay: 7 * time.Second}},
		{429, "", push.Outcome{Busy: true}},
		{429, "3600", push.Outcome{Busy: true, Delay: time.Hour}},
		{503, "100000", push.Outcome{Busy: true, Delay: time.Hour}},
		{503, "2147483648", push.Outcome{Busy: true, Delay: time.Hour}},
		{503, "9223372036854775807", push.Outcome{Busy: true, Delay: time.Hour}},
		{503, "99999999999999999999999999", push.Outcome{Busy: true, Delay: time.Hour}},
		{503, "Fri, 31 Dec 9999 23:59:59 GMT", push.Outcome{Busy: true, Delay: time.Hour}},
		{503, "soon", push.Outcome{Busy: true}},
		{503, "-1", push.Outcome{Busy: true}},
		{500, "Mon, 02 Jan 2006 15:04:05 GMT", push.Outcome{}},
		{500, "Fri, 31 Dec 9999 23:59:59 GMT", push.Outcome{Delay: time.Hour}},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/" {
				t.Error("the redirect was followed")
			}
			w.Header().Set("Location", "/elsewhere")
			w.Header().Set("Retry-After", c.retryAfter)
			w.WriteHeader(c.status)
		}))
		o, err := push.NewHTTP(s.Client(), s.URL+"/", 0).Deliver(t.Context(), message())
		if o != c.want || (err == nil) != o.Acknowledge {
			t.Errorf("%d, Retry-After %q: %+v, %v; want %+v", c.status, c.retryAfter, o, err, c.want)
		}
		s.Close()
	}
}

func TestUnresponsiveWorkerEndsTheDelivery(t *testing.T) {
	hang := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	defer hang.Close()
	if o, err := push.NewHTTP(hang.Client(), hang.URL, 20*time.Millisecond).Deliver(t.Context(), message()); err == nil || o.Acknowledge {
		t.Errorf("hangs: %+v %v", o, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if o, err := push.NewHTTP(hang.Client(), hang.URL, 0).Deliver(ctx, message()); err == nil || o.Acknowledge {
		t.Errorf("stopped: %+v %v", o, err)
	}
	away := httptest.NewServer(nil)
	away.Close()
	if o, err := push.NewHTTP(push.NewClient(1), away.URL, 0).Deliver(t.Context(), message()); err == nil || o.Acknowledge {
		t.Errorf("away: %+v %v", o, err)
	}
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, strings.Repeat("x", 1<<10)); err != nil {
				return
			}
		}
	}))
	defer endless.Close()
	if o, err := push.NewHTTP(endless.Client(), endless.URL, time.Minute).Deliver(t.Context(), message()); err != nil || !o.Acknowledge {
		t.Errorf("endless: %+v %v", o, err)
	}
}

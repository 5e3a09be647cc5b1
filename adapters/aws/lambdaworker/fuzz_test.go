package lambdaworker_test

import (
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/taskgate/taskgate/adapters/aws/lambdaworker"
)

// FuzzEvent: an event is refused as a whole, or each of its messages goes to the
// worker, once, and a queue is told of exactly those that are not done.
func FuzzEvent(f *testing.F) {
	f.Add(sqs(queue, "a:1", "a:2", ":fail"))
	f.Add(sqs(dlq, ":1"))
	f.Add(sqs(queue+".fifo", "a:fail", "a:2", "b:3"))
	for _, seed := range []string{
		`{"task_name":"t","args":[]}`, `{}`, `[]`, `{"Records":[]}`, `{"Records":[null]}`,
		`{"Records":[{"EventSource":"aws:sns","Sns":{"Message":"{}","MessageAttributes":{"a":{"Type":"Binary","Value":"AA=="},"b":{"Type":"String","Value":"x"}}}}]}`,
		`{"Records":[{"eventSource":"aws:sqs","body":"{\"TopicArn\":\"t\",\"Message\":\"m\",\"MessageAttributes\":{\"a\":{\"Type\":\"Binary\",\"Value\":\"!\"}}}"}]}`,
		`{"Records":[{"eventSource":"aws:sqs","messageId":"1","body":"{\"requestContext\":{\"condition\":\"RetriesExhausted\"},\"requestPayload\":{\"task_name\":\"t\"}}"},{}]}`,
		`{"Records":[{"eventSource":"aws:sqs","messageId":"1","body":"{\"QueueUrl\":\"q\",\"MessageBody\":\"{}\"}"}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		w := &recording{}
		h := &lambdaworker.Handler{Worker: w, DeadLetterQueues: []string{dlq}}
		out, err := h.Invoke(t.Context(), payload)
		delivered := len(w.got) + len(w.dead)
		var sent struct {
			TaskName string `json:"task_name"`
			Records  []struct {
				ID     string `json:"messageId"`
				Source string `json:"eventSourceARN"`
			} `json:"Records"`
		}
		if delivered == 0 {
			if err == nil {
				t.Errorf("%q: nothing was delivered, and Lambda is told %s", payload, out)
			}
			return
		}
		if err := json.Unmarshal(payload, &sent); err != nil {
			t.Fatalf("%q: %v", payload, err)
		}
		if out == nil {
			if delivered != max(1, len(sent.Records)) {
				t.Errorf("%q: %d deliveries", payload, delivered)
			}
			return
		}
		var answer struct {
			Failures []struct {
				ItemIdentifier string `json:"itemIdentifier"`
			} `json:"batchItemFailures"`
		}
		if err != nil || json.Unmarshal(out, &answer) != nil {
			t.Fatalf("%q: %s, %v", payload, out, err)
		}
		done := 0
		for _, d := range append(w.got, w.dead...) {
			if (&recording{}).note(&w.got, d).Acknowledge {
				done++
			}
		}
		if done+len(answer.Failures) != len(sent.Records) {
			t.Errorf("%q: of %d messages %d are done and %d have failed", payload, len(sent.Records), done, len(answer.Failures))
		}
		for _, failed := range answer.Failures {
			known := false
			for _, r := range sent.Records {
				known = known || r.ID == failed.ItemIdentifier
			}
			if !known {
				t.Errorf("%q: %q has failed", payload, failed.ItemIdentifier)
			}
		}
	})
}

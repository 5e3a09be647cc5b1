package snsdispatch_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/taskgate/taskgate/adapters/aws/snsdispatch"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/awsemu"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
)

// failing refuses the entries of a batch whose message has the mark.
func failing(mark string, sendersFault bool) faultproxy.Fault {
	return func(x *faultproxy.Exchange) {
		form, err := url.ParseQuery(string(x.Body))
		if err != nil {
			panic(err)
		}
		var failed []faultproxy.FailedEntry
		for i := range 10 {
			if strings.Contains(form.Get(fmt.Sprintf("PublishBatchRequestEntries.member.%d.Message", i+1)), mark) {
				failed = append(failed, faultproxy.FailedEntry{Index: i, Code: "KMSAccessDenied", SenderFault: sendersFault})
			}
		}
		faultproxy.PartialBatch(failed...)(x)
	}
}

// TestEveryFailingSubsetOfABatchIsReported: each of the 1,023 ways in which
// some of ten can fail. What is accepted arrives once, and what is not never.
func TestEveryFailingSubsetOfABatchIsReported(t *testing.T) {
	t.Parallel()
	e := emulators.SQS(t)
	createTopic(t, e.URL(), "tasks", nil)
	p := faultproxy.New(t, e.URL())
	d := open(p.URL(), snsdispatch.Options{})
	accepted := map[string]bool{}
	for _, mode := range []string{"the sender's fault", "for good", "once"} {
		step := 37 // those that are sent again are slower, and the same
		if mode == "the sender's fault" && !testing.Short() {
			step = 1
		}
		p.Restore()
		if mode != "once" {
			p.Always(batches, failing("unlucky", mode == "the sender's fault"))
		}
		for subset := 1; subset < 1<<10; subset += step {
			if mode == "once" {
				p.Next(batches, failing("unlucky", false))
			}
			ms := make([]task.Outgoing, 10)
			for i := range ms {
				ms[i] = outgoing("tasks")
				if subset>>i&1 == 1 {
					ms[i].Body = []byte(strings.Replace(string(ms[i].Body), "send", "unlucky", 1))
				}
			}
			for i, r := range d.DispatchBatch(t.Context(), ms) {
				if want := map[bool]task.Kind{true: task.Unavailable}[mode != "once" && subset>>i&1 == 1]; task.KindOf(r.Err) != want {
					t.Fatalf("subset %010b, %s: entry %d: %v, want %q", subset, mode, i, r.Err, want)
				}
				if r.Err == nil {
					accepted[ms[i].ID] = true
				}
			}
		}
	}
	n := len(accepted)
	for _, id := range awsemu.Drain(t, sqs.NewFromConfig(config(e.URL())), "tasks", task.AttributeTaskID) {
		if !accepted[id] {
			t.Fatalf("%s has arrived: it was not accepted, or has arrived before", id)
		}
		delete(accepted, id)
	}
	if len(accepted) > 0 {
		t.Errorf("%d of %d have not arrived", len(accepted), n)
	}
}

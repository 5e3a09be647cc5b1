package histories

import (
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// document holds the members of a result document that the model compares.
type document struct {
	ID              string           `json:"id"`
	Status          string           `json:"status"`
	State           string           `json:"state"`
	Args            []int8           `json:"args"`
	Attempts        int              `json:"attempts"`
	WorkerIDs       []string         `json:"worker_ids"`
	IsFinished      bool             `json:"is_finished"`
	CancelRequested bool             `json:"cancel_requested"`
	Errors          []jsontext.Value `json:"errors"`
	Progress        *struct {
		Message string `json:"message"`
	} `json:"progress"`
	ReturnValue jsontext.Value `json:"return_value"`
}

// shows reports whether the document describes the task in this state.
func (s state) shows(in call, d *document) bool {
	return d != nil &&
		d.Status == s.status() && s.mayShow(d.State, in) &&
		len(d.Args) == 1 && d.Args[0] == s.request &&
		d.Attempts == int(s.attempts) && len(d.WorkerIDs) == d.Attempts &&
		(d.Attempts == 0 || d.WorkerIDs[d.Attempts-1] == workerID(s.delivery)) &&
		d.IsFinished == (s.end != "") && d.CancelRequested == s.asked &&
		len(d.Errors) == int(s.errors) &&
		(d.Progress == nil) == (s.progress == 0) && (d.Progress == nil || d.Progress.Message == strconv.Itoa(int(s.progress))) &&
		string(d.ReturnValue) == s.result()
}

func (s state) status() string {
	switch {
	case s.end == succeeded:
		return "SUCCESSFUL"
	case s.end != "":
		return "FAILED"
	case s.running:
		return "RUNNING"
	}
	return "READY"
}

// mayShow reports whether the document's state fits the task. The service checks
// whether a lease has lapsed when it renders the document, a moment after it read
// the record.
func (s state) mayShow(shown string, in call) bool {
	switch {
	case s.end == succeeded:
		return shown == "SUCCEEDED"
	case s.end == cancelled:
		return shown == "CANCELLED"
	case s.end != "":
		return shown == "FAILED"
	case s.running:
		return shown == "RUNNING" && s.mayBe(false, in) || shown == "STALLED" && s.mayBe(true, in)
	case s.attempts > 0:
		return shown == "RETRYING"
	}
	return shown == "QUEUED" || shown == "SCHEDULED" // the same, but for the message's time
}

func (s state) result() string {
	if s.end != succeeded {
		return ""
	}
	return strconv.Itoa(int(s.value))
}

// shown reports whether an answer describes the task after the operation.
func (s state) shown(in call, out answer) bool {
	const slack = time.Second // of the server's clock
	switch {
	case out.status != 200:
		return true
	case !s.shows(in, out.doc):
		return false
	case out.acknowledge == nil:
		return true // no event
	case out.attempt != int(s.attempts) || out.asked != s.asked:
		return false
	case !s.running:
		return out.lease == 0
	}
	return out.lease >= s.lapse-slack && out.lease <= s.alive+slack
}

func workerID(delivery int32) string { return fmt.Sprintf("worker-%d", delivery) }

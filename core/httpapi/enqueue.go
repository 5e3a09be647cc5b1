package httpapi

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/strictjson"
	"github.com/taskgate/taskgate/core/task"
)

// An enqueue on the HTTP side: Handler.serve has authenticated the caller. The
// functions here read the headers and the body into a task.Request, call the
// service, and write the answer.

func (h *Handler) enqueue(w http.ResponseWriter, r *request) error {
	key, err := idempotencyKey(r.Header)
	if err != nil {
		return err
	}
	body, err := readJSON(r.Request, maxBody)
	if err != nil {
		return err
	}
	req, err := task.ParseRequest(body, false)
	if err != nil {
		return err
	}
	req.Key = key
	ctx, cancel := r.workContext(0)
	defer cancel()
	accepted, err := h.config.Service.Enqueue(ctx, r.call, req)
	if err != nil {
		return err
	}
	r.taskID = accepted.Task.ID
	w.Header().Set("Location", r.call.BaseURL+"/v1/tasks/"+accepted.Task.ID)
	if accepted.Replayed {
		w.Header().Set("Idempotent-Replayed", "true")
	}
	return writeJSON(w, r, http.StatusAccepted, jsonMedia, accepted.Task)
}

// batchItem is the outcome of one task of a batch.
type batchItem struct {
	Status             int            `json:"status"`
	Task               *task.Document `json:"task,omitempty"`
	IdempotentReplayed bool           `json:"idempotent_replayed,omitzero"`
	Problem            *Problem       `json:"problem,omitempty"`
}

func (h *Handler) batch(w http.ResponseWriter, r *request) error {
	if len(r.Header.Values("Idempotency-Key")) > 0 {
		return task.Errorf(InvalidHeader, "a batch has no Idempotency-Key: give each task its own idempotency_key")
	}
	body, err := readBody(r.Request, maxBatchBody)
	if err != nil {
		return err
	}
	texts, err := splitBatch(body)
	if err != nil {
		return err
	}
	items := make([]jsontext.Value, len(texts))
	room := maxBatchAnswer
	var unkeyed, keyed []batchTask
	for i, text := range texts {
		v, err := parse(text)
		t := batchTask{at: i, reserved: len(text) + documentBytes}
		room -= t.reserved
		if err == nil {
			t.request, err = task.ParseRequest(v, true)
		}
		switch {
		case err != nil:
			items[i], err = encode(r.problemItem(i, err))
		case t.request.Key == "" && t.request.ID == "":
			unkeyed = append(unkeyed, t)
		default:
			keyed = append(keyed, t)
		}
		if err != nil {
			return err
		}
	}
	ctx, cancel := r.workContext(0)
	defer cancel()
	parts := slices.Collect(slices.Chunk(keyed, maxReplays))
	if len(unkeyed) > 0 {
		parts = append(parts, unkeyed)
	}
	for _, part := range parts {
		reqs := make([]task.Request, len(part))
		for i, t := range part {
			reqs[i] = t.request
		}
		for i, a := range h.config.Service.EnqueueBatch(ctx, r.call, reqs) {
			t := part[i]
			if items[t.at], err = r.batchItem(t, a, &room); err != nil {
				return err
			}
		}
	}
	return writeJSON(w, r, http.StatusOK, jsonMedia, struct {
		Items []jsontext.Value `json:"items"`
	}{items})
}

// batchTask is one task of a batch.
type batchTask struct {
	request  task.Request
	at       int // the index of the task in the batch
	reserved int // bytes of the answer that are reserved for the task
}

const (
	// maxReplays is how many tasks with keys are enqueued together. Each may be a
	// replay, and the record of a replay may be as large as the store allows.
	maxReplays = 16
	// maxBatchAnswer is the maximum size of the answer to a batch with replayed
	// tasks, in bytes. A platform drops a larger answer; the client would then not
	// learn which tasks were accepted.
	maxBatchAnswer = 4 << 20
	// documentBytes is about how many bytes the document of a new task is longer
	// than the request.
	documentBytes = 1 << 10
)

// batchItem renders the outcome of one task of a batch. room is how many bytes of
// the answer are left. A replayed task may have a result that does not fit; the
// client can repeat such a task in a smaller batch. New tasks always fit, because
// their documents are not much longer than their requests.
func (r *request) batchItem(t batchTask, a task.Outcome, room *int) (jsontext.Value, error) {
	if a.Err != nil {
		return encode(r.problemItem(t.at, a.Err))
	}
	body, err := encode(batchItem{Status: http.StatusAccepted, Task: &a.Task, IdempotentReplayed: a.Replayed})
	if err != nil || !a.Replayed {
		return body, err
	}
	if *room += t.reserved; len(body) > *room {
		return encode(r.problemItem(t.at, &task.Error{
			Kind: task.Unavailable, TaskID: a.Task.ID,
			Msg: "an earlier request enqueued this task, and it does not fit into this answer: repeat it in a smaller batch, or read it by its task_id",
		}))
	}
	*room -= len(body)
	return body, nil
}

// splitBatch returns the JSON texts of a batch's tasks. It does not check the texts,
// so that a task whose JSON is not valid gets a problem of its own and the other
// tasks are enqueued.
func splitBatch(body []byte) ([]jsontext.Value, error) {
	envelope, texts := strictjson.Split(body, "tasks")
	v, err := parse(envelope)
	if err != nil {
		return nil, err
	}
	errs := strictjson.Object(func(name string) strictjson.Field {
		if name == "tasks" {
			return strictjson.Raw(new(jsontext.Value), '[')
		}
		return nil
	}, "tasks")("", v)
	if len(errs) == 0 && (len(texts) == 0 || len(texts) > task.MaxBatch) {
		errs = []strictjson.FieldError{{Pointer: "/tasks", Detail: "must have 1 to 100 tasks"}}
	}
	if len(errs) > 0 {
		return nil, &task.Error{Kind: InvalidBatch, Msg: "the batch breaks the rules listed in errors", Fields: errs}
	}
	return texts, nil
}

// problemItem renders the error of task i of a batch. The pointers of its errors
// start at the batch. It keeps the first error that is the service's fault for the
// log.
func (r *request) problemItem(i int, err error) batchItem {
	known := *asError(err)
	known.Fields = slices.Clone(known.Fields)
	for j := range known.Fields {
		known.Fields[j].Pointer = "/tasks/" + strconv.Itoa(i) + known.Fields[j].Pointer
	}
	p := problemOf(&known, maxItemErrors)
	if p.Status >= 500 && r.itemErr == nil {
		r.itemErr = err
	}
	return batchItem{Status: p.Status, Problem: &p}
}

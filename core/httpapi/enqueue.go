package httpapi

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/strictjson"
	"github.com/taskgate/taskgate/core/task"
)

// The flow of an enqueue on this side of the service: the handler has checked
// who sent the request; here its headers and body become a task.Request, the
// service enqueues it, and the answer is written.

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
	ctx, cancel := r.work(0)
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
	items := make([]batchItem, len(texts))
	var reqs []task.Request
	var at []int // at[j] is the place of reqs[j] in the batch
	for i, text := range texts {
		v, err := parse(text)
		var req task.Request
		if err == nil {
			req, err = task.ParseRequest(v, true)
		}
		if err != nil {
			items[i] = r.problemItem(i, err)
			continue
		}
		reqs, at = append(reqs, req), append(at, i)
	}
	ctx, cancel := r.work(0)
	defer cancel()
	for i, a := range h.config.Service.EnqueueBatch(ctx, r.call, reqs) {
		if a.Err != nil {
			items[at[i]] = r.problemItem(at[i], a.Err)
			continue
		}
		items[at[i]] = batchItem{Status: http.StatusAccepted, Task: &a.Task, IdempotentReplayed: a.Replayed}
	}
	if err := r.makeRoom(items); err != nil {
		return err
	}
	return writeJSON(w, r, http.StatusOK, jsonMedia, struct {
		Items []batchItem `json:"items"`
	}{items})
}

// maxReplays bounds the answer of a batch with replayed tasks, in bytes: those
// may have large results. New tasks need no bound, because the answer to them is
// hardly longer than the request.
const maxReplays = 4 << 20

// makeRoom replaces the replayed tasks that do not fit into the answer with
// problems. The platform would drop a larger answer, and with it what it says
// about the accepted tasks. The client may repeat such a task in a smaller batch.
func (r *request) makeRoom(items []batchItem) error {
	replayed := func(item batchItem) bool { return item.IdempotentReplayed }
	if !slices.ContainsFunc(items, replayed) {
		return nil
	}
	room := maxReplays
	for _, old := range []bool{false, true} { // the new ones first
		for i, item := range items {
			if replayed(item) != old {
				continue
			}
			body, err := encode(item)
			if err != nil {
				return err
			}
			if old && len(body) > room {
				items[i] = r.problemItem(i, &task.Error{
					Kind: task.Unavailable, TaskID: item.Task.ID,
					Msg: "an earlier request enqueued this task, and it does not fit into this answer: repeat it in a smaller batch, or read it by its task_id",
				})
				continue
			}
			room -= len(body)
		}
	}
	return nil
}

// splitBatch returns the texts of a batch's tasks, which are not checked yet: a
// task that is no acceptable JSON is that task's own problem.
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

// problemItem renders the error of task i of a batch, with pointers into the
// batch. The first error that is the service's fault goes into the log.
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

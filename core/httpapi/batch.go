package httpapi

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/strictjson"
	"github.com/taskgate/taskgate/core/task"
)

// batchItem is one task's outcome in a batch.
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
	body, err := readJSON(r.Request, maxBatchBody)
	if err != nil {
		return err
	}
	raw, err := parseBatch(body)
	if err != nil {
		return err
	}
	items := make([]batchItem, len(raw))
	var reqs []task.Request
	var at []int // where in the batch each of reqs is
	for i, v := range raw {
		req, err := task.ParseRequest(v, true)
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

// maxReplays bounds a batch's answer where tasks from before are in it, which
// have results by now. All that is new is little more than the request, which a
// front door that carried it can carry back.
const maxReplays = 4 << 20

// makeRoom answers those replayed tasks that the answer has no room for with a
// problem: to repeat them is safe, and in a smaller batch they fit. A front door
// would drop the whole answer, and what it says of tasks that were accepted.
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
					Msg: "the task was accepted before, and this answer has no room for it: repeat it in a smaller batch, or read it",
				})
				continue
			}
			room -= len(body)
		}
	}
	return nil
}

// parseBatch returns a batch's tasks, not looked at yet.
func parseBatch(body jsontext.Value) ([]jsontext.Value, error) {
	var raw []jsontext.Value
	element := func(int) strictjson.Field {
		return func(_ string, v jsontext.Value) []strictjson.FieldError {
			raw = append(raw, v.Clone())
			return nil
		}
	}
	errs := strictjson.Object(func(name string) strictjson.Field {
		if name == "tasks" {
			return strictjson.Array(element)
		}
		return nil
	}, "tasks")("", body)
	if len(errs) == 0 && (len(raw) == 0 || len(raw) > task.MaxBatch) {
		errs = []strictjson.FieldError{{Pointer: "/tasks", Detail: "must have 1 to 100 tasks"}}
	}
	if len(errs) > 0 {
		return nil, &task.Error{Kind: InvalidBatch, Msg: "the batch breaks the rules listed in errors", Fields: errs}
	}
	return raw, nil
}

// problemItem renders the error of a batch's task i, with pointers into the
// batch. The first error that is ours rather than the client's goes into the log.
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

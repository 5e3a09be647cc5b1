package httpapi

import (
	"cmp"
	"encoding/hex"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/taskgate/taskgate/core/strictjson"
	"github.com/taskgate/taskgate/core/task"
)

const jsonMedia = "application/json"

func (h *Handler) health(w http.ResponseWriter, r *request) error {
	return writeJSON(w, r, http.StatusOK, jsonMedia, map[string]string{"status": "ok"})
}

func (h *Handler) openAPI(w http.ResponseWriter, r *request) error {
	writeBody(w, r, http.StatusOK, jsonMedia, openAPI)
	return nil
}

// callerDocument shows the caller its own name and scopes.
type callerDocument struct {
	Name   string   `json:"name"`
	Scopes []string `json:"scopes"`
}

func (h *Handler) capabilities(w http.ResponseWriter, r *request) error {
	if _, err := query(r.Request); err != nil {
		return err
	}
	ctx, cancel := r.workContext(0)
	defer cancel()
	return writeJSON(w, r, http.StatusOK, jsonMedia, struct {
		Backends map[string]task.Capabilities `json:"backends"`
		Caller   callerDocument               `json:"caller"`
	}{h.config.Service.Capabilities(ctx), callerDocument{r.caller.Name, r.caller.scopes()}})
}

func (h *Handler) get(w http.ResponseWriter, r *request) error {
	given, err := query(r.Request, "wait")
	if err != nil {
		return err
	}
	seconds, err := number(given, "wait", 0, 20, 0)
	if err != nil {
		return err
	}
	wait := time.Duration(seconds * float64(time.Second))
	ctx, cancel := r.workContext(wait)
	defer cancel()
	doc, err := h.config.Service.Get(ctx, r.call, r.id, wait)
	if err != nil {
		return err
	}
	body, sum, err := doc.Render()
	if err != nil {
		return err
	}
	etag := `"` + hex.EncodeToString(sum[:16]) + `"`
	w.Header().Set("ETag", etag)
	if !doc.IsFinished {
		w.Header().Set("Retry-After", pollAfter(doc.Document))
	}
	if matches(r.Header.Values("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	writeBody(w, r, http.StatusOK, jsonMedia, body)
	return nil
}

// matches applies If-None-Match with the weak comparison (RFC 9110, section 13.1.2).
func matches(headers []string, etag string) bool {
	for tag := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		if tag = strings.TrimSpace(tag); tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
			return true
		}
	}
	return false
}

// pollAfter returns after how many seconds the client should read the task again.
// That is when the task becomes due, but at most a minute.
func pollAfter(doc task.Document) string {
	if doc.State != task.StateScheduled {
		return "1"
	}
	return strconv.Itoa(int(math.Ceil(min(max(time.Until(doc.RunAfter.Time).Seconds(), 1), 60))))
}

func (h *Handler) list(w http.ResponseWriter, r *request) error {
	given, err := query(r.Request, "status", "state", "queue_name", "backend", "task_name", "limit", "cursor")
	if err == nil {
		err = cmp.Or(
			oneOf(given, "status", task.Statuses()...), oneOf(given, "state", task.States()...),
			names(given, "queue_name", "backend", "task_name"))
	}
	if err != nil {
		return err
	}
	limit, err := number(given, "limit", 1, task.MaxListLimit, task.DefaultListLimit)
	if err != nil {
		return err
	}
	if limit != math.Trunc(limit) {
		return task.Errorf(InvalidQuery, "limit must be an integer")
	}
	ctx, cancel := r.workContext(0)
	defer cancel()
	listing, err := h.config.Service.List(ctx, r.call, task.Filter{
		Status: given["status"], State: given["state"], QueueName: given["queue_name"],
		Backend: given["backend"], TaskName: given["task_name"],
	}, int(limit), given["cursor"])
	if err != nil {
		return err
	}
	page := struct {
		Items      []task.Document `json:"items"`
		NextCursor *string         `json:"next_cursor"`
	}{Items: listing.Items}
	if listing.NextCursor != "" {
		page.NextCursor = &listing.NextCursor
	}
	return writeJSON(w, r, http.StatusOK, jsonMedia, page)
}

func (h *Handler) cancel(w http.ResponseWriter, r *request) error {
	if err := requireEmptyBody(r.Request); err != nil {
		return err
	}
	ctx, cancel := r.workContext(0)
	defer cancel()
	prevented, doc, err := h.config.Service.Cancel(ctx, r.call, r.id)
	if err != nil {
		return err
	}
	outcome := "requested"
	if prevented {
		outcome = "prevented"
	}
	return writeJSON(w, r, http.StatusOK, jsonMedia, struct {
		Outcome string        `json:"outcome"`
		Task    task.Document `json:"task"`
	}{outcome, doc})
}

// events checks the token first, so that only the task's worker learns anything
// about the task.
func (h *Handler) events(w http.ResponseWriter, r *request) error {
	reporter, err := h.config.Service.Reporter(r.id, r.Header.Get("Taskgate-Token"))
	if err != nil {
		return err
	}
	body, err := readBody(r.Request, maxBody)
	if err == nil {
		body, err = parse(strictjson.Mend(body, "error"))
	}
	if err != nil {
		return err
	}
	event, err := task.ParseEvent(body)
	if err != nil {
		return err
	}
	// The worker may hang up after it has sent the report. The report still takes
	// effect: if a report of success were lost, the task would run again.
	ctx, cancel := r.detachedContext()
	defer cancel()
	answer, err := reporter.Report(ctx, event)
	if err != nil {
		return err
	}
	return writeJSON(w, r, http.StatusOK, jsonMedia, answer)
}

package httpapi

import (
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/task"
)

var queueReceive = map[string]endpoint{"POST": {name: "receive", scope: ScopeWork, handle: (*Handler).receive}}

// queueOfPath returns the queue's name in the path of a receive request. The name
// may contain slashes.
func queueOfPath(path string) (queue string, ok bool) {
	queue, ok = strings.CutPrefix(path, "/v1/queues/")
	if !ok {
		return "", false
	}
	queue, ok = strings.CutSuffix(queue, "/receive")
	return queue, ok && queue != ""
}

// receivedItem is one message in the answer.
type receivedItem struct {
	Message       jsontext.Value    `json:"message"`
	Attributes    map[string]string `json:"attributes"`
	DeliveryCount int               `json:"delivery_count"`
}

func (h *Handler) receive(w http.ResponseWriter, r *request) error {
	body, err := readJSON(r.Request, maxBody)
	if err != nil {
		return err
	}
	req, err := task.ParseReceive(body)
	if err != nil {
		return err
	}
	queue, _ := queueOfPath(r.URL.Path)
	ctx, cancel := r.workContext(time.Duration(req.Wait * float64(time.Second)))
	defer cancel()
	received, err := h.config.Service.Receive(ctx, queue, req)
	if err != nil {
		return err
	}
	items := make([]receivedItem, len(received))
	for i, m := range received {
		items[i] = receivedItem{m.Body, m.Attributes, m.Deliveries}
	}
	return writeJSON(w, r, http.StatusOK, jsonMedia, struct {
		Items []receivedItem `json:"items"`
	}{items})
}

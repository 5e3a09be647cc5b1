package task

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"time"

	"github.com/go-json-experiment/json"
)

// The limits of a page. MaxListBytes counts the JSON of all its items; a front door
// may not carry much more (Lambda: 6 MB, including escapes). A page always has at
// least one item, whatever its size.
const (
	DefaultListLimit = 50
	MaxListLimit     = 100
	MaxListBytes     = 4 << 20
)

// Filter selects the tasks of a listing. An empty string matches any value.
type Filter struct {
	Status, State, QueueName, Backend, TaskName string
}

// Listing is a page of tasks, newest first. NextCursor is "" on the last page.
type Listing struct {
	Items      []Document
	NextCursor string
}

// A listing stops after maxListPages pages of the store or after maxListTime. This
// bounds the cost of a filter that matches few tasks. The cursor continues from the
// last position.
const (
	maxListPages = 10
	maxListTime  = 200 * time.Millisecond
)

// List returns the caller's tasks that match the filter, newest first: at most
// limit tasks and MaxListBytes. A page may be shorter and still have a NextCursor.
// The error is InvalidCursor when the cursor does not belong to this filter.
func (s *Service) List(ctx context.Context, call Call, f Filter, limit int, cursor string) (Listing, error) {
	q := Query{
		Status: f.Status, QueueName: f.QueueName, Backend: f.Backend, TaskName: f.TaskName,
		Limit: limit,
	}
	if !call.Admin {
		q.Owner = call.Owner
	}
	if f.State != "" && q.Status == "" {
		q.Status = statusOf(f.State)
	}
	if cursor != "" {
		var err error
		if q.After, err = parseCursor(cursor, f); err != nil {
			return Listing{}, err
		}
	}
	listing := Listing{Items: []Document{}}
	size, last := 0, Position{}
	until := s.Now().Add(maxListTime)
	for pages := 0; pages < maxListPages && (pages == 0 || s.Now().Before(until)); pages++ {
		page, err := s.Store.List(ctx, q)
		if err != nil {
			return Listing{}, err
		}
		for _, r := range page.Records {
			doc, ok := s.listed(ctx, r, f)
			if !ok {
				continue
			}
			body, err := encode(doc)
			if err != nil {
				return Listing{}, &Error{Kind: Internal, Msg: "cannot encode a task", Err: err}
			}
			if size += len(body); size > MaxListBytes && len(listing.Items) > 0 {
				listing.NextCursor = newCursor(last, f)
				return listing, nil
			}
			listing.Items, last = append(listing.Items, doc), r.Position()
		}
		q.After, q.Limit = page.Next, limit-len(listing.Items)
		if q.After == (Position{}) || q.Limit == 0 {
			break
		}
	}
	if q.After != (Position{}) {
		listing.NextCursor = newCursor(q.After, f)
	}
	return listing, nil
}

// listed returns a record's document, if the record is not past its life and its
// current state matches the filter. The store cannot know what time has changed.
func (s *Service) listed(ctx context.Context, r *Record, f Filter) (Document, bool) {
	now := s.Now()
	if r.Gone(now) {
		return Document{}, false
	}
	doc := r.Document(now)
	if r.applyTime(now, s.ResultTTL) {
		// The new state is written, not only shown. If it cannot be written, or
		// another writer was faster, this shows the record as it was read: a listing
		// is eventually consistent.
		if err := s.Store.Replace(ctx, r); err == nil {
			doc = r.Document(now)
		}
	}
	matches := (f.Status == "" || f.Status == doc.Status) && (f.State == "" || f.State == doc.State)
	return doc, matches
}

// statusOf returns the status that a state goes with.
func statusOf(state string) string {
	switch state {
	case StateRunning, StateStalled:
		return Running
	case StateSucceeded:
		return Successful
	case StateFailed, StateCancelled, StateExpired:
		return Failed
	}
	return Ready
}

// cursor is opaque to clients, and valid only with the filter that it came from.
type cursor struct {
	Position
	Filter string `json:"f"` // hex SHA-256, cut to 64 bits
}

func (f Filter) sum() string {
	b, _ := json.Marshal(f) // five strings always encode
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

func newCursor(p Position, f Filter) string {
	b, _ := json.Marshal(cursor{p, f.sum()})
	return base64.RawURLEncoding.EncodeToString(b)
}

func parseCursor(text string, f Filter) (Position, error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	var c cursor
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	switch {
	case err != nil || !validID(c.ID) || c.EnqueuedAt.IsZero():
		return Position{}, &Error{Kind: InvalidCursor, Msg: "cursor is not one of this service's", Err: err}
	case c.Filter != f.sum():
		return Position{}, Errorf(InvalidCursor, "cursor belongs to a listing with other filters")
	}
	return c.Position, nil
}

package dynamostore

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/taskgate/taskgate/core/task"
)

// An item has a record's members at its top level, under the names that they
// have in JSON, so that people who look into the table find them: timestamps are
// text, numbers are numbers, lists are lists. What has the zero value is left
// out, but for members that a document always has.

// encode makes an item of a record.
func encode(r *task.Record, revision string, shard int) map[string]types.AttributeValue {
	e := encoder{
		item:  make(map[string]types.AttributeValue, 24),
		texts: make([]types.AttributeValueMemberS, 0, 24),
	}
	e.always(keyAttribute, r.ID)
	e.item[revisionAttribute] = &types.AttributeValueMemberN{Value: revision}
	e.item[shardAttribute] = number(int64(shard))
	e.always(positionAttribute, position(r.Position()))
	e.item[TTLAttribute] = number(r.DeleteAfter.Add(time.Second - 1).Unix())

	e.always("task_name", r.TaskName)
	e.always("status", r.Status)
	e.time("enqueued_at", r.EnqueuedAt)
	e.time("started_at", r.StartedAt)
	e.time("finished_at", r.FinishedAt)
	e.time("last_attempted_at", r.LastAttemptedAt)
	e.always("args", r.Args)
	e.always("kwargs", r.Kwargs)
	e.always("backend", r.Backend)
	e.always("queue_name", r.QueueName)
	e.item["priority"] = number(int64(r.Priority))
	e.time("run_after", r.RunAfter)
	e.bool("takes_context", r.TakesContext)
	e.errors("errors", r.Errors)
	e.list("worker_ids", r.WorkerIDs)
	e.text("return_value", r.ReturnValue)
	e.metadata("metadata", r.Metadata)
	if p := r.Progress; p != nil {
		in := e.nested("progress")
		in.item["fraction"] = &types.AttributeValueMemberN{Value: fraction(p.Fraction)}
		in.always("message", p.Message)
	}
	e.time("expires_at", r.ExpiresAt)
	if r.MaxAttempts != 0 {
		e.item["max_attempts"] = number(int64(r.MaxAttempts))
	}
	e.text("group", r.Group)
	e.bool("cancel_requested", r.CancelRequested)
	in := e.nested("dispatch")
	in.always("target", r.Dispatch.Target)
	in.always("route", r.Dispatch.Route)
	in.text("message_id", r.Dispatch.MessageID)
	in.text("cancel_ref", r.Dispatch.CancelRef)
	e.bool("offloaded", r.Offloaded)

	e.always("owner", r.Owner)
	e.text("ended", r.Ended)
	e.list("attempt_ends", r.AttemptEnds)
	e.text("delivery_id", r.DeliveryID)
	e.time("lease_until", r.LeaseUntil)
	if p := r.Refusal; p != nil {
		in := e.nested("refusal")
		in.always("kind", string(p.Kind))
		in.always("msg", p.Msg)
	}
	if p := r.Keyed; p != nil {
		in := e.nested("keyed")
		in.always("fingerprint", p.Fingerprint)
		in.bool("dispatched", p.Dispatched)
		in.time("dispatch_until", p.DispatchUntil)
	}
	e.time("delete_after", r.DeleteAfter)
	if r.Schema != 0 {
		e.item["schema"] = number(int64(r.Schema))
	}
	for name, value := range r.Unknown {
		e.item[name] = attribute(value)
	}
	return e.item
}

// decode makes a record of an item.
func decode(item map[string]types.AttributeValue) (*task.Record, error) {
	d := decoder{item: item, errs: new([]error)}
	dispatch := d.nested("dispatch")
	r := &task.Record{
		ID:              d.text(keyAttribute),
		Revision:        d.number(revisionAttribute),
		TaskName:        d.text("task_name"),
		Status:          d.text("status"),
		EnqueuedAt:      d.time("enqueued_at"),
		StartedAt:       d.time("started_at"),
		FinishedAt:      d.time("finished_at"),
		LastAttemptedAt: d.time("last_attempted_at"),
		Args:            d.text("args"),
		Kwargs:          d.text("kwargs"),
		Backend:         d.text("backend"),
		QueueName:       d.text("queue_name"),
		Priority:        d.int("priority"),
		RunAfter:        d.time("run_after"),
		TakesContext:    d.bool("takes_context"),
		Errors:          d.errors("errors"),
		WorkerIDs:       d.list("worker_ids"),
		ReturnValue:     d.text("return_value"),
		Metadata:        d.metadata("metadata"),
		ExpiresAt:       d.time("expires_at"),
		MaxAttempts:     d.int("max_attempts"),
		Group:           d.text("group"),
		CancelRequested: d.bool("cancel_requested"),
		Dispatch: task.Dispatch{
			Target: dispatch.text("target"), Route: dispatch.text("route"),
			MessageID: dispatch.text("message_id"), CancelRef: dispatch.text("cancel_ref"),
		},
		Offloaded:   d.bool("offloaded"),
		Owner:       d.text("owner"),
		Ended:       d.text("ended"),
		AttemptEnds: d.list("attempt_ends"),
		DeliveryID:  d.text("delivery_id"),
		LeaseUntil:  d.time("lease_until"),
		DeleteAfter: d.time("delete_after"),
	}
	if in := d.nested("progress"); in.item != nil {
		f, err := strconv.ParseFloat(in.number("fraction"), 64)
		d.note(err)
		r.Progress = &task.Progress{Fraction: f, Message: in.text("message")}
	}
	if in := d.nested("refusal"); in.item != nil {
		r.Refusal = &task.Refusal{Kind: task.Kind(in.text("kind")), Msg: in.text("msg")}
	}
	if in := d.nested("keyed"); in.item != nil {
		r.Keyed = &task.Keyed{
			Fingerprint: in.text("fingerprint"), Dispatched: in.bool("dispatched"), DispatchUntil: in.time("dispatch_until"),
		}
	}
	r.Schema = d.int("schema")
	r.Unknown = d.unknown()
	if err := errors.Join(*d.errs...); err != nil {
		return nil, fmt.Errorf("not an item of this store: %w", err)
	}
	return r, nil
}

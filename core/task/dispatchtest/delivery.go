package dispatchtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/taskgate/taskgate/core/task"
)

var deliveryCases = []Case{
	{"a message arrives with its body byte for byte", keepsBody},
	{"a message arrives with its attributes as they were", keepsAttributes},
	{"text that targets are touchy about arrives as the same JSON", keepsTouchyText},
	{"what dispatch accepted arrives though its request ends at once", acceptsForGood},
	{"a message passed in is neither kept nor changed", keepsNothing},
	{"an id that was dispatched before is accepted again", acceptsRepeats},
	{"32 concurrent dispatches all arrive", concurrentArrive},
}

// nasty is JSON that a well-meaning layer changes: it escapes for HTML, reads
// numbers as floats, sorts names, resolves escapes, or drops space.
const nasty = `"args":[ 12345678901234567890,1.10,1e2,-0,"<&>'\"\\\/","é 日本 😀","\u00e9\ud83d\ude00\u0000\ufffe\u2028" ],` +
	`"kwargs":{"z":null,"a":[[],{},""],"A":true,"é":" +%25&=;,"}`

func keepsBody(ctx context.Context, s Subject) error {
	m := s.message(ctx, 0)
	m.Body = body(m.ID, nasty+",\"sep\":\"\u2028\"")
	if err := s.dispatch(ctx, m); err != nil {
		return err
	}
	in, err := s.expect(ctx, m)
	if err != nil {
		return err
	}
	if got := in[m.ID][0].Body; !bytes.Equal(got, m.Body) {
		return fmt.Errorf("the body arrived as\n%s\nand was\n%s", got, m.Body)
	}
	return nil
}

func keepsAttributes(ctx context.Context, s Subject) error {
	if s.NoAttributes {
		return inapplicable("the target has no attributes")
	}
	m := s.message(ctx, 0)
	m.Attributes[task.AttributeTaskName] = "é.日本 😀 'q' \"q\", <b>&amp; a=b;c"
	m.Attributes[task.AttributeEnvelope] = `{"id":"` + m.ID + `","v":1,"metadata":{"n":"1.10"}}`
	if err := s.dispatch(ctx, m); err != nil {
		return err
	}
	in, err := s.expect(ctx, m)
	if err != nil {
		return err
	}
	if got := in[m.ID][0].Attributes; !maps.Equal(got, m.Attributes) {
		return fmt.Errorf("the attributes arrived as %q and were %q", got, m.Attributes)
	}
	return nil
}

// keepsTouchyText sends characters that SQS takes in no message and words that
// EventBridge Scheduler replaces: a dispatcher has to escape them in the JSON,
// so here what counts is that it is still the same JSON.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
// https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
func keepsTouchyText(ctx context.Context, s Subject) error {
	m := s.message(ctx, 0)
	m.Body = body(m.ID, "\"args\":[\"\ufffe\uffff\ufffd\u007f\u0085\ufeff\",\"<aws.scheduler.execution-id>\",1.10],\"kwargs\":{\"\uffff\":1}")
	if err := s.dispatch(ctx, m); err != nil {
		return err
	}
	in, err := s.expect(ctx, m)
	if err != nil {
		return err
	}
	return sameJSON(in[m.ID][0].Body, m.Body)
}

func acceptsForGood(ctx context.Context, s Subject) error {
	var ms []task.Outgoing
	for range 5 {
		m := s.message(ctx, 0)
		request, end := context.WithCancel(ctx)
		err := s.dispatch(request, m)
		end()
		if err != nil {
			return err
		}
		ms = append(ms, m)
	}
	_, err := s.expect(ctx, ms...)
	return err
}

func keepsNothing(ctx context.Context, s Subject) error {
	m := s.message(ctx, 0)
	was := m
	was.Body, was.Attributes = bytes.Clone(m.Body), maps.Clone(m.Attributes)
	if err := s.dispatch(ctx, m); err != nil {
		return err
	}
	if !bytes.Equal(m.Body, was.Body) || !maps.Equal(m.Attributes, was.Attributes) {
		return errors.New("Dispatch has changed the message that was passed in")
	}
	// The id stays, so that the message is known when it arrives.
	copy(m.Body, bytes.ReplaceAll(m.Body, []byte("send"), []byte("SEND")))
	m.Attributes[task.AttributeTaskName] = "scribbled"
	return s.unchanged(ctx, was)
}

// acceptsRepeats does what a repeated request does: with the first message
// still there, and with it taken by a worker.
func acceptsRepeats(ctx context.Context, s Subject) error {
	m := s.message(ctx, 0)
	if err := s.dispatch(ctx, m, m); err != nil {
		return fmt.Errorf("the same id twice: %w", err)
	}
	if err := s.unchanged(ctx, m); err != nil {
		return err
	}
	if err := s.dispatch(ctx, m); err != nil {
		return fmt.Errorf("the same id after it arrived: %w", err)
	}
	return nil
}

func concurrentArrive(ctx context.Context, s Subject) error {
	const n = 32
	var ms [n]task.Outgoing
	var failed [n]error
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		ms[i] = s.message(ctx, 0)
		all.Go(func() {
			<-start
			failed[i] = s.dispatch(ctx, ms[i])
		})
	}
	close(start)
	all.Wait()
	if err := errors.Join(slices.Clip(failed[:])...); err != nil {
		return err
	}
	return s.unchanged(ctx, ms[:]...)
}

package storetest

import (
	"context"
	"fmt"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

var filterCases = []Case{
	{"each filter, alone and with others, selects exactly what it names", filtersSelect},
	{"a filter finds what is far behind the newest", filtersReachFar},
	{"a filter follows the record as it changes", filtersFollow},
}

// filtersSelect stores one record for each combination of two values in each
// of the five fields, and asks for every combination of filters.
func filtersSelect(ctx context.Context, s Subject) error {
	mark := newID()
	values := [5][2]string{
		{"https://issuer/|o#1' " + mark, "owner é " + mark},
		{task.Ready, task.Running},
		{"q-" + mark, "q-" + mark + "-longer"},
		{"default-" + mark, "Default-" + mark},
		{"app.t-" + mark, "app.t-" + mark + "\""},
	}
	var all []*task.Record
	for bits := range 1 << len(values) {
		r := small()
		r.EnqueuedAt = r.EnqueuedAt.Plus(time.Duration(bits) * time.Second)
		for i, field := range []*string{&r.Owner, &r.Status, &r.QueueName, &r.Backend, &r.TaskName} {
			*field = values[i][bits>>i&1]
		}
		if err := create(ctx, s.Store, r); err != nil {
			return err
		}
		all = append(all, r)
	}
	for set := range 1 << len(values) { // which filters are given
		q := task.Query{Limit: 7}
		for i, filter := range []*string{&q.Owner, &q.Status, &q.QueueName, &q.Backend, &q.TaskName} {
			if set>>i&1 == 1 {
				*filter = values[i][(set+i)&1]
			}
		}
		if err := s.eventually(ctx, func() error { return selects(ctx, s, q, all) }); err != nil {
			return err
		}
	}
	for i, q := range []task.Query{{Owner: "nobody-" + mark}, {QueueName: "none-" + mark}, {Backend: mark}, {TaskName: mark}} {
		q.Limit = 1
		if got, err := walk(ctx, s.Store, q); err != nil || len(got) != 0 {
			return fmt.Errorf("filter %d for what is nowhere: %d records, %v", i, len(got), err)
		}
	}
	return nil
}

// selects checks that of all, the walk visits those that match once, and the
// others never. Records of other cases do not count.
func selects(ctx context.Context, s Subject, q task.Query, all []*task.Record) error {
	got, err := walk(ctx, s.Store, q)
	if err != nil {
		return err
	}
	visited := map[string]int{}
	for _, r := range got {
		visited[r.ID]++
	}
	matches := func(filter, value string) bool { return filter == "" || filter == value }
	for _, r := range all {
		want := 0
		if matches(q.Owner, r.Owner) && matches(q.Status, r.Status) && matches(q.QueueName, r.QueueName) &&
			matches(q.Backend, r.Backend) && matches(q.TaskName, r.TaskName) {
			want = 1
		}
		if visited[r.ID] != want {
			return fmt.Errorf("query %+v visits a record %d times, want %d: owner %q, status %q, queue %q, backend %q, task %q",
				q, visited[r.ID], want, r.Owner, r.Status, r.QueueName, r.Backend, r.TaskName)
		}
	}
	return nil
}

// filtersReachFar looks for the oldest of many records, which alone matches: a
// page on which nothing matches is not the end.
func filtersReachFar(ctx context.Context, s Subject) error {
	owner := small().Owner
	var all []*task.Record
	for i := range 20 {
		r := small()
		r.Owner, r.EnqueuedAt = owner, r.EnqueuedAt.Plus(-time.Duration(i)*time.Second)
		if i == 19 {
			r.Status, r.QueueName, r.Backend, r.TaskName = task.Running, "rare", "rare", "rare"
		}
		if err := create(ctx, s.Store, r); err != nil {
			return err
		}
		all = append(all, r)
	}
	for _, q := range []task.Query{{Status: task.Running}, {QueueName: "rare"}, {Backend: "rare"}, {TaskName: "rare"}} {
		q.Owner, q.Limit = owner, 3
		if err := s.eventually(ctx, func() error { return selects(ctx, s, q, all) }); err != nil {
			return err
		}
	}
	return nil
}

func filtersFollow(ctx context.Context, s Subject) error {
	r := small()
	if err := create(ctx, s.Store, r); err != nil {
		return err
	}
	for _, status := range []string{task.Running, task.Ready, task.Successful} {
		r.Status = status
		if err := s.Store.Replace(ctx, r); err != nil {
			return fmt.Errorf("Replace: %w", err)
		}
		for _, asked := range []string{task.Ready, task.Running, task.Failed, task.Successful} {
			err := s.eventually(ctx, func() error {
				return selects(ctx, s, task.Query{Owner: r.Owner, Status: asked, Limit: 10}, []*task.Record{r})
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

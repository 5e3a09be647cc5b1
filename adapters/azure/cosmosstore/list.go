package cosmosstore

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"

	"github.com/taskgate/taskgate/core/task"
)

// spare is how many records each shard is asked for beyond its share. It keeps
// most pages from being short when one shard has most of the newest records.
const spare = 4

// List implements [task.Store]. A page asks all shards concurrently, each for its
// share of the limit and some to spare. A page is short when the newest records
// are not spread evenly.
func (s *Store) List(ctx context.Context, q task.Query) (task.Page, error) {
	parts := make([]part, shards)
	errs := make([]error, shards)
	var all sync.WaitGroup
	for i := range parts {
		all.Go(func() { parts[i], errs[i] = s.listShard(ctx, strconv.Itoa(i), q) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return task.Page{}, translate(err, "list", "")
	}
	return merge(parts, q.Limit), nil
}

// part is one shard's records of a page. If it is not whole, the shard may have
// more after the last of them.
type part struct {
	records []*task.Record
	whole   bool
}

func (s *Store) listShard(ctx context.Context, shard string, q task.Query) (part, error) {
	text, parameters := query(shard, q)
	most := min(q.Limit, q.Limit/shards+spare)
	options := azcosmos.QueryOptions{
		QueryParameters:           parameters,
		PageSizeHint:              int32(most),
		EnableCrossPartitionQuery: new(false),
	}
	for {
		answer, err := call(ctx, &s.connection, read, func(ctx context.Context, c *azcosmos.ContainerClient) (azcosmos.QueryItemsResponse, error) {
			return c.NewQueryItemsPager(text, azcosmos.NewPartitionKeyString(shard), &options).NextPage(ctx)
		})
		if err != nil {
			return part{}, err
		}
		p := part{whole: answer.ContinuationToken == nil || *answer.ContinuationToken == ""}
		for _, data := range answer.Items {
			r, err := decode(data)
			if err != nil {
				return part{}, err
			}
			p.records = append(p.records, r)
		}
		// A query that matches little may end without any record. Its token then
		// leads on.
		if len(p.records) > 0 || p.whole {
			return p, nil
		}
		options.ContinuationToken = answer.ContinuationToken
	}
}

// query asks for one shard's records after a position. The composite index
// serves its order; the shard is in the text as well as in the partition key,
// so that it reads the same in the portal.
func query(shard string, q task.Query) (text string, parameters []azcosmos.QueryParameter) {
	text = "SELECT * FROM c WHERE c.pk = @pk"
	with := func(condition, name, value string) {
		text += condition
		parameters = append(parameters, azcosmos.QueryParameter{Name: name, Value: value})
	}
	with("", "@pk", shard)
	for _, filter := range []struct{ member, value string }{
		{"owner", q.Owner}, {"status", q.Status}, {"queue_name", q.QueueName}, {"backend", q.Backend}, {"task_name", q.TaskName},
	} {
		if filter.value != "" {
			with(" AND c."+filter.member+" = @"+filter.member, "@"+filter.member, filter.value)
		}
	}
	if q.After != (task.Position{}) {
		with(" AND (c.enqueued_at < @after OR (c.enqueued_at = @after", "@after", q.After.EnqueuedAt.String())
		with(" AND c.id < @after_id))", "@after_id", q.After.ID)
	}
	return text + " ORDER BY c.enqueued_at DESC, c.id DESC", parameters
}

// merge joins the shards' parts into one page. The page ends where the first part
// that is not whole ends: beyond that, the shard may have records that were not
// read.
func merge(parts []part, limit int) task.Page {
	var page task.Page
	var horizon task.Position // the newest end of a part that is not whole
	more := false
	for _, p := range parts {
		page.Records = append(page.Records, p.records...)
		if p.whole {
			continue
		}
		more = true
		if end := p.records[len(p.records)-1].Position(); horizon == (task.Position{}) || newestFirst(end, horizon) < 0 {
			horizon = end
		}
	}
	slices.SortFunc(page.Records, func(a, b *task.Record) int { return newestFirst(a.Position(), b.Position()) })
	known := len(page.Records)
	if more {
		known = 1 + slices.IndexFunc(page.Records, func(r *task.Record) bool { return r.Position() == horizon })
	}
	known = min(known, limit)
	more = more || known < len(page.Records)
	page.Records = page.Records[:known:known]
	if more {
		page.Next = page.Records[known-1].Position()
	}
	return page
}

func newestFirst(a, b task.Position) int {
	return cmp.Or(b.EnqueuedAt.Compare(a.EnqueuedAt.Time), cmp.Compare(b.ID, a.ID))
}

package dynamostore

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/core/task"
)

// spare is how many records beyond its share each shard is asked for, so that the
// shard that holds most of a page rarely cuts it short.
const spare = 4

// A shard in which nothing matches is queried up to maxQueries times, each time for
// growth times as many records.
const (
	maxQueries = 3
	growth     = 4
)

// List implements [task.Store]. It asks all shards concurrently for their share of
// the limit and some to spare. A page is short when the newest records are not
// spread evenly, or few of them match.
func (t *Table) List(ctx context.Context, q task.Query) (task.Page, error) {
	ctx, cancel := context.WithTimeout(ctx, awssdk.AnswerTime)
	defer cancel()
	parts := make([]part, t.shards)
	errs := make([]error, t.shards)
	var all sync.WaitGroup
	for i := range parts {
		all.Go(func() { parts[i], errs[i] = t.listShard(ctx, i, q) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return task.Page{}, translate(err, "list", "")
	}
	return merge(parts, q.Limit), nil
}

// part is one shard's part of a page. The records after end are not known yet; a
// zero end means that there are none.
type part struct {
	records []*task.Record
	end     task.Position
}

func (t *Table) listShard(ctx context.Context, shard int, q task.Query) (p part, err error) {
	in := t.query(shard, q, int32(min(q.Limit, q.Limit/t.shards+spare)))
	for range maxQueries {
		out, err := t.client.Query(ctx, in)
		if err != nil {
			return part{}, err
		}
		for _, item := range out.Items {
			r, err := decode(item)
			if err != nil {
				return part{}, err
			}
			p.records = append(p.records, r)
		}
		if len(out.LastEvaluatedKey) == 0 {
			return part{records: p.records}, nil
		}
		if p.end, err = parsePosition(out.LastEvaluatedKey); err != nil {
			return part{}, err
		}
		if len(p.records) > 0 {
			break
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
		in.Limit = aws.Int32(*in.Limit * growth)
	}
	return p, nil
}

// query asks for one shard's records after a position. The limit counts records
// before the filter.
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Query.html
func (t *Table) query(shard int, q task.Query, limit int32) *dynamodb.QueryInput {
	in := &dynamodb.QueryInput{
		TableName:                 &t.name,
		IndexName:                 aws.String(ListingIndex),
		KeyConditionExpression:    aws.String("#shard = :shard"),
		ExpressionAttributeNames:  map[string]string{"#shard": shardAttribute},
		ExpressionAttributeValues: map[string]types.AttributeValue{":shard": number(int64(shard))},
		ScanIndexForward:          aws.Bool(false),
		Limit:                     &limit,
	}
	name := func(attribute, value string) { // many attribute names are reserved words
		in.ExpressionAttributeNames["#"+attribute] = attribute
		in.ExpressionAttributeValues[":"+attribute] = &types.AttributeValueMemberS{Value: value}
	}
	if q.After != (task.Position{}) {
		in.KeyConditionExpression = aws.String("#shard = :shard AND #position < :position")
		name(positionAttribute, position(q.After))
	}
	var conditions []string
	for _, filter := range []struct{ attribute, value string }{
		{"owner", q.Owner}, {"status", q.Status}, {"queue_name", q.QueueName}, {"backend", q.Backend}, {"task_name", q.TaskName},
	} {
		if filter.value != "" {
			conditions = append(conditions, "#"+filter.attribute+" = :"+filter.attribute)
			name(filter.attribute, filter.value)
		}
	}
	if len(conditions) > 0 {
		in.FilterExpression = aws.String(strings.Join(conditions, " AND "))
	}
	return in
}

// merge makes one page of the shards' parts. It ends at the newest end of a part,
// because the older records of that shard are not known.
func merge(parts []part, limit int) task.Page {
	var all []*task.Record
	var horizon task.Position // the newest end
	for _, p := range parts {
		all = append(all, p.records...)
		if p.end != (task.Position{}) && (horizon == (task.Position{}) || newestFirst(p.end, horizon) < 0) {
			horizon = p.end
		}
	}
	slices.SortFunc(all, func(a, b *task.Record) int { return newestFirst(a.Position(), b.Position()) })
	page := task.Page{Next: horizon}
	for _, r := range all {
		if horizon != (task.Position{}) && newestFirst(r.Position(), horizon) > 0 {
			break
		}
		if len(page.Records) == limit {
			page.Next = page.Records[limit-1].Position()
			break
		}
		page.Records = append(page.Records, r)
	}
	return page
}

func newestFirst(a, b task.Position) int {
	return cmp.Or(b.EnqueuedAt.Compare(a.EnqueuedAt.Time), cmp.Compare(b.ID, a.ID))
}

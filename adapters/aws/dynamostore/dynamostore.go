// Package dynamostore keeps tasks in an Amazon DynamoDB table, one item a task.
package dynamostore

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/core/task"
)

// DefaultShards is the number of parts of the listing that the tasks are spread
// over. It is fixed once there are tasks: another number looks elsewhere.
const DefaultShards = 16

// MaxPayloadBytes is what a task's args, kwargs and metadata may have: the rest
// of an item, 400 KB at most, is for its result, its errors and what surrounds
// them.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
const MaxPayloadBytes = 256 << 10

// Options are what [New] may be told; the zero value is the product's.
type Options struct {
	Shards int // 0 = DefaultShards
}

// Table is a [task.Store].
type Table struct {
	client *dynamodb.Client
	name   string
	shards int
}

// New returns a store in the table of that name, which is as [Definition] says.
// The client should be bounded: see awssdk.Bound.
func New(client *dynamodb.Client, table string, o Options) *Table {
	if o.Shards == 0 {
		o.Shards = DefaultShards
	}
	return &Table{client: client, name: table, shards: o.Shards}
}

// Create implements [task.Store].
func (t *Table) Create(ctx context.Context, r *task.Record) (existing *task.Record, err error) {
	for range 2 { // what is there may go, by its time to live, before it is read
		won, there, err := t.put(ctx, r, "attribute_not_exists(id)", nil)
		if err != nil {
			return nil, translate(err, "create", r.ID)
		}
		if won || there != nil {
			return there, nil
		}
	}
	return nil, translate(errors.New("an item that is there cannot be read"), "create", r.ID)
}

// Get implements [task.Store].
func (t *Table) Get(ctx context.Context, id string) (*task.Record, error) {
	r, err := t.get(ctx, id)
	if err != nil {
		return nil, translate(err, "get", id)
	}
	if r == nil {
		return nil, task.Errorf(task.NotStored, "there is no record of this task")
	}
	return r, nil
}

// Replace implements [task.Store].
func (t *Table) Replace(ctx context.Context, r *task.Record) error {
	if _, err := strconv.ParseUint(r.Revision, 10, 64); err != nil {
		return task.Errorf(task.Conflict, "the record has no revision of this store")
	}
	values := map[string]types.AttributeValue{":was": &types.AttributeValueMemberN{Value: r.Revision}}
	won, _, err := t.put(ctx, r, "revision = :was", values)
	if err != nil {
		return translate(err, "replace", r.ID)
	}
	if !won {
		return task.Errorf(task.Conflict, "the record has been changed or deleted")
	}
	return nil
}

// put writes r under a new revision on a condition, and otherwise returns what
// is there.
func (t *Table) put(ctx context.Context, r *task.Record, condition string, values map[string]types.AttributeValue) (won bool, there *task.Record, err error) {
	ctx, cancel := context.WithTimeout(ctx, awssdk.AnswerTime)
	defer cancel()
	revision := strconv.FormatUint(rand.Uint64(), 10)
	_, err = t.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName:                           &t.name,
		Item:                                encode(r, revision, t.shard(r.ID)),
		ConditionExpression:                 &condition,
		ExpressionAttributeValues:           values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if err != nil {
		there, err = t.inTheWay(ctx, r.ID, err)
		if err != nil || there == nil || there.Revision != revision {
			return false, there, err
		}
		// A write whose answer was lost is repeated by the SDK and then meets
		// itself: the revision, a random number, tells it from somebody else's.
	}
	r.Revision = revision
	return true, nil, nil
}

// inTheWay returns the record for which a condition was not met, nil if it has
// gone meanwhile, or the error if it is another.
func (t *Table) inTheWay(ctx context.Context, id string, err error) (*task.Record, error) {
	var failed *types.ConditionalCheckFailedException
	if !errors.As(err, &failed) {
		return nil, err
	}
	if len(failed.Item) > 0 {
		return decode(failed.Item)
	}
	return t.get(ctx, id) // not everything that speaks DynamoDB's language returns the item
}

// get returns nil when there is no such item.
func (t *Table) get(ctx context.Context, id string) (*task.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, awssdk.AnswerTime)
	defer cancel()
	out, err := t.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName:      &t.name,
		Key:            map[string]types.AttributeValue{keyAttribute: &types.AttributeValueMemberS{Value: id}},
		ConsistentRead: aws.Bool(true),
	})
	if err != nil || len(out.Item) == 0 {
		return nil, err
	}
	return decode(out.Item)
}

// shard returns which part of the listing a task is in.
func (t *Table) shard(id string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return int(h.Sum32() % uint32(t.shards))
}

// translate says what an error of the SDK means.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
func translate(err error, op, id string) error {
	if err == nil {
		return nil
	}
	e := awssdk.Unavailable(err, "the store")
	e.TaskID, e.Err = id, fmt.Errorf("dynamostore: %s %s: %w", op, id, err)
	var missing *types.ResourceNotFoundException
	switch {
	case errors.As(err, &missing):
		e.Msg = "the store's table is missing"
	case awssdk.Code(err) == "ValidationException" && strings.Contains(err.Error(), "size"):
		// The service has no code of its own for it: "Item size has exceeded the
		// maximum allowed size".
		e.Kind, e.Msg = task.Oversize, "the record is larger than the store holds"
	}
	return e
}

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

// DefaultShards is the number of shards that the listing is spread over. It must
// not change once there are tasks: their shards would no longer be found.
const DefaultShards = 16

// MaxPayloadBytes is how large a task's args, kwargs and metadata may be together.
// An item holds 400 KB; the rest is for the result, the errors and the other
// members.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
const MaxPayloadBytes = 256 << 10

// Options are for tests; the zero value is what the product uses.
type Options struct {
	Shards int // 0 = DefaultShards
}

// Table is a [task.Store].
type Table struct {
	client *dynamodb.Client
	name   string
	shards int
}

// New returns a store in the table of that name, which [Definition] describes.
// The client should be bounded: see awssdk.Bound.
func New(client *dynamodb.Client, table string, o Options) *Table {
	if o.Shards == 0 {
		o.Shards = DefaultShards
	}
	return &Table{client: client, name: table, shards: o.Shards}
}

// Create implements [task.Store].
func (t *Table) Create(ctx context.Context, r *task.Record) (existing *task.Record, err error) {
	for range 2 { // an existing item may expire before it is read
		won, there, err := t.put(ctx, r, "attribute_not_exists(id)", nil)
		if err != nil {
			return nil, translate(err, "create", r.ID)
		}
		if won || there != nil {
			return there, nil
		}
	}
	return nil, translate(errors.New("the item exists and cannot be read"), "create", r.ID)
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

// put writes r under a new revision if the condition holds. Otherwise it returns
// the record that is there.
func (t *Table) put(ctx context.Context, r *task.Record, condition string, values map[string]types.AttributeValue) (won bool, there *task.Record, err error) {
	ctx, cancel := context.WithTimeout(ctx, awssdk.AnswerTime)
	defer cancel()
	revision := strconv.FormatUint(rand.Uint64(), 10)
	item, err := encode(r, revision, t.shard(r.ID))
	if err != nil {
		return false, nil, err
	}
	_, err = t.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName:                           &t.name,
		Item:                                item,
		ConditionExpression:                 &condition,
		ExpressionAttributeValues:           values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if err != nil {
		there, err = t.inTheWay(ctx, r.ID, err)
		if err != nil || there == nil || there.Revision != revision {
			return false, there, err
		}
		// The SDK repeats a write whose answer was lost, and the repetition then finds
		// the first: the revision, a random number, tells it from somebody else's.
	}
	r.Revision = revision
	return true, nil, nil
}

// inTheWay returns the record because of which a condition failed, nil if it has
// been deleted meanwhile, or err if that is another error.
func (t *Table) inTheWay(ctx context.Context, id string, err error) (*task.Record, error) {
	var failed *types.ConditionalCheckFailedException
	if !errors.As(err, &failed) {
		return nil, err
	}
	if len(failed.Item) > 0 {
		return decode(failed.Item)
	}
	return t.get(ctx, id) // not every emulator of DynamoDB returns the item
}

// get returns nil if there is no such item.
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

// shard returns the shard of the listing that a task is in.
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
	var own *task.Error
	if errors.As(err, &own) { // of the item, not of the SDK
		own.TaskID = id
		return own
	}
	e := awssdk.Unavailable(err, "the store")
	e.TaskID, e.Err = id, fmt.Errorf("dynamostore: %s %s: %w", op, id, err)
	var missing *types.ResourceNotFoundException
	switch {
	case errors.As(err, &missing):
		e.Msg = "the store's table is missing"
	case awssdk.Code(err) == "ValidationException" && strings.Contains(err.Error(), "Item size"):
		// DynamoDB has no code for this, only the text "Item size has exceeded the
		// maximum allowed size".
		e.Kind, e.Msg = task.Oversize, "the record is larger than the store holds"
	}
	return e
}

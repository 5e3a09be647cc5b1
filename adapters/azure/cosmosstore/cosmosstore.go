// Package cosmosstore keeps tasks in an Azure Cosmos DB container, one item a
// task.
//
// The account's consistency must be Strong: a read is as linearizable as the
// account is, and a request cannot strengthen it.
// https://learn.microsoft.com/azure/cosmos-db/consistency-levels
package cosmosstore

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"strconv"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"

	"github.com/taskgate/taskgate/core/task"
)

// shards is the number of logical partitions that the tasks are spread over. It
// must never change: with another number, no stored task is found.
const shards = 16

// MaxItemBytes is the most that an item may have, as UTF-8 JSON: 2 MB.
// https://learn.microsoft.com/azure/cosmos-db/concepts-limits#per-item-limits
const MaxItemBytes = 2 << 20

// MaxPayloadBytes is how large a task's args, kwargs and metadata may be together.
// The rest of an item is kept for its result and its errors.
const MaxPayloadBytes = 1 << 20

// Store is a [task.Store].
type Store struct{ connection connection }

// New returns a store over the container that connect opens with a client whose
// options should be [ClientOptions]. New calls connect at once, so that a wrong
// setting is an error now. Later the store calls it again whenever a client has
// become useless.
func New(connect func() (*azcosmos.ContainerClient, error)) (*Store, error) {
	s := &Store{connection: connection{connect: connect}}
	if _, err := s.connection.container(); err != nil {
		return nil, fmt.Errorf("cosmosstore: %w", err)
	}
	return s, nil
}

// Create implements [task.Store]. It costs 5 RU and up: see docs/decisions/0006.
// When the answer is lost, Create asks once more; a record that is there by then
// may be its own.
func (s *Store) Create(ctx context.Context, r *task.Record) (existing *task.Record, err error) {
	data, err := encode(r, time.Now())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	lost := false
	for range 2 { // an existing item may expire before it is read
		answer, err := call(ctx, &s.connection, write, func(ctx context.Context, c *azcosmos.ContainerClient) (azcosmos.ItemResponse, error) {
			return c.CreateItem(ctx, partition(r.ID), data, nil)
		})
		if err == nil {
			r.Revision = string(answer.ETag)
			return nil, nil
		}
		if broken(err) && !lost && ctx.Err() == nil {
			lost = true
			continue
		}
		if status(err) != http.StatusConflict {
			return nil, translate(err, "create", r.ID)
		}
		existing, err := s.Get(ctx, r.ID)
		switch {
		case task.KindOf(err) == task.NotStored:
		case err == nil && lost && same(existing, r):
			r.Revision = existing.Revision
			return nil, nil
		default:
			return existing, err
		}
	}
	return nil, translate(errors.New("an item that is there cannot be read"), "create", r.ID)
}

// same reports whether the stored record is the one that Create was asked to
// write. Nobody else has the id of a request without a key. Two requests with one
// key and in one microsecond both take the record for their own, and the task is
// sent twice.
func same(there, r *task.Record) bool {
	return there.EnqueuedAt == r.EnqueuedAt && (r.Keyed == nil || there.Keyed != nil && *there.Keyed == *r.Keyed)
}

// Get implements [task.Store]. It costs 2 RU for a record of 1 KB: Strong
// consistency doubles the price of a read.
func (s *Store) Get(ctx context.Context, id string) (*task.Record, error) {
	answer, err := call(ctx, &s.connection, read, func(ctx context.Context, c *azcosmos.ContainerClient) (azcosmos.ItemResponse, error) {
		return c.ReadItem(ctx, partition(id), id, nil)
	})
	if missing(err) {
		return nil, &task.Error{Kind: task.NotStored, Msg: "there is no record of this task", Err: err}
	}
	if err != nil {
		return nil, translate(err, "get", id)
	}
	r, err := decode(answer.Value)
	if err != nil {
		return nil, translate(err, "get", id)
	}
	r.Revision = string(answer.ETag)
	return r, nil
}

// Replace implements [task.Store].
func (s *Store) Replace(ctx context.Context, r *task.Record) error {
	if r.Revision == "" {
		return task.Errorf(task.Conflict, "the record has no revision of this store")
	}
	data, err := encode(r, time.Now())
	if err != nil {
		return err
	}
	ifMatch := azcore.ETag(r.Revision)
	answer, err := call(ctx, &s.connection, write, func(ctx context.Context, c *azcosmos.ContainerClient) (azcosmos.ItemResponse, error) {
		return c.ReplaceItem(ctx, partition(r.ID), r.ID, data, &azcosmos.ItemOptions{IfMatchEtag: &ifMatch})
	})
	if missing(err) || status(err) == http.StatusPreconditionFailed {
		return &task.Error{Kind: task.Conflict, Msg: "the record has been changed or deleted", Err: err}
	}
	if err != nil {
		return translate(err, "replace", r.ID)
	}
	r.Revision = string(answer.ETag)
	return nil
}

// Prewarm opens the connection, and checks that the container is the one that
// [Container] describes. An error says what is wrong.
func (s *Store) Prewarm(ctx context.Context) error {
	answer, err := call(ctx, &s.connection, read, func(ctx context.Context, c *azcosmos.ContainerClient) (azcosmos.ContainerResponse, error) {
		return c.Read(ctx, nil)
	})
	if status(err) == http.StatusNotFound {
		return fmt.Errorf("cosmosstore: there is no such database and container: %w", err)
	}
	if err != nil {
		return translate(err, "prewarm", "")
	}
	return suits(answer.ContainerProperties)
}

// shard names the logical partition of a task.
func shard(id string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return strconv.Itoa(int(h.Sum32() % shards))
}

func partition(id string) azcosmos.PartitionKey { return azcosmos.NewPartitionKeyString(shard(id)) }

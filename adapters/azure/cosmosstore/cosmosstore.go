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

// DefaultShards is the number of logical partitions that the tasks are spread
// over. It is fixed once there are tasks: another number looks elsewhere.
const DefaultShards = 16

// MaxItemBytes is the most that an item may have, as UTF-8 JSON: 2 MB.
// https://learn.microsoft.com/azure/cosmos-db/concepts-limits#per-item-limits
const MaxItemBytes = 2 << 20

// MaxPayloadBytes is what a task's args, kwargs and metadata may have: the rest
// of an item is for its result, its errors and what surrounds them.
const MaxPayloadBytes = 1 << 20

// Options are what [New] may be told; the zero value is the product's.
type Options struct {
	Shards int              // 0 = DefaultShards
	Now    func() time.Time // nil = time.Now
}

// Store is a [task.Store].
type Store struct {
	connection connection
	shards     int
	now        func() time.Time
}

// New returns a store over the container that connect opens with a client whose
// options should be [ClientOptions]. It is opened here, so that a wrong setting
// is an error now, and again as long as the account has never answered.
func New(connect func() (*azcosmos.ContainerClient, error), o Options) (*Store, error) {
	if o.Shards == 0 {
		o.Shards = DefaultShards
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Store{connection: connection{connect: connect}, shards: o.Shards, now: o.Now}
	if _, err := s.connection.container(); err != nil {
		return nil, fmt.Errorf("cosmosstore: %w", err)
	}
	return s, nil
}

// Create implements [task.Store]. 5 RU and up: see docs/decisions/0006. If the
// answer is lost it asks once more: what is there then may be its own.
func (s *Store) Create(ctx context.Context, r *task.Record) (existing *task.Record, err error) {
	data, err := s.encode(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	lost := false
	for range 2 { // what is there may go, by its time to live, before it is read
		answer, err := call(ctx, &s.connection, write, func(ctx context.Context, c *azcosmos.ContainerClient) (azcosmos.ItemResponse, error) {
			return c.CreateItem(ctx, s.partition(r.ID), data, nil)
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

// same reports whether there is what Create was asked to write. Nobody else has
// the id of a request without a key; two with the same key at the same
// microsecond, of which each takes the record for its own, send the one task twice.
func same(there, r *task.Record) bool {
	return there.EnqueuedAt == r.EnqueuedAt && (r.Keyed == nil || there.Keyed != nil && *there.Keyed == *r.Keyed)
}

// Get implements [task.Store]. 1 RU for a KB, doubled by Strong consistency.
func (s *Store) Get(ctx context.Context, id string) (*task.Record, error) {
	answer, err := call(ctx, &s.connection, read, func(ctx context.Context, c *azcosmos.ContainerClient) (azcosmos.ItemResponse, error) {
		return c.ReadItem(ctx, s.partition(id), id, nil)
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
	data, err := s.encode(r)
	if err != nil {
		return err
	}
	ifMatch := azcore.ETag(r.Revision)
	answer, err := call(ctx, &s.connection, write, func(ctx context.Context, c *azcosmos.ContainerClient) (azcosmos.ItemResponse, error) {
		return c.ReplaceItem(ctx, s.partition(r.ID), r.ID, data, &azcosmos.ItemOptions{IfMatchEtag: &ifMatch})
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
func (s *Store) shard(id string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return strconv.Itoa(int(h.Sum32() % uint32(s.shards)))
}

func (s *Store) partition(id string) azcosmos.PartitionKey {
	return azcosmos.NewPartitionKeyString(s.shard(id))
}

package cosmosstore

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
	"github.com/go-json-experiment/json"

	"github.com/taskgate/taskgate/core/task"
)

// item is a record as it is stored, its members at the top level.
type item struct {
	task.Record
	PK   string `json:"pk"`             // the shard, as text
	TTL  int32  `json:"ttl"`            // in seconds from the last write, which Cosmos DB notes as _ts
	ETag string `json:"_etag,omitzero"` // the service's own
}

func encode(r *task.Record, now time.Time) ([]byte, error) {
	data, err := json.Marshal(item{Record: *r, PK: shard(r.ID), TTL: timeToLive(r.DeleteAfter.Sub(now))})
	if err != nil {
		return nil, &task.Error{Kind: task.Internal, Msg: "cannot encode the record", Err: err, TaskID: r.ID}
	}
	if len(data) > MaxItemBytes {
		return nil, task.Errorf(task.Oversize, "the record has %d bytes, and the store holds %d", len(data), MaxItemBytes)
	}
	return data, nil
}

func decode(data []byte) (*task.Record, error) {
	var i item
	if err := json.Unmarshal(data, &i); err != nil {
		return nil, fmt.Errorf("not an item of this store: %w", err)
	}
	i.Revision = i.ETag
	maps.DeleteFunc(i.Unknown, func(name string, _ jsontext.Value) bool { return strings.HasPrefix(name, "_") }) // the service's own
	if len(i.Unknown) == 0 {
		i.Unknown = nil
	}
	return &i.Record, nil
}

// timeToLive returns an item's ttl: the seconds that are left, rounded up. It is
// at least 1, because the service refuses 0.
// https://learn.microsoft.com/azure/cosmos-db/time-to-live
func timeToLive(left time.Duration) int32 {
	return int32(min(max(1, (left+time.Second-1)/time.Second), math.MaxInt32))
}

const partitionKeyPath = "/pk"

// Container returns the definition of a container that suits the store: its
// partition key, items that live for as long as each says, and an index of
// exactly what [Store.List] asks for.
func Container(id string) azcosmos.ContainerProperties {
	policy := &azcosmos.IndexingPolicy{
		Automatic:     true,
		IndexingMode:  azcosmos.IndexingModeConsistent,
		ExcludedPaths: []azcosmos.ExcludedPath{{Path: "/*"}},
		CompositeIndexes: [][]azcosmos.CompositeIndex{{
			{Path: "/enqueued_at", Order: azcosmos.CompositeIndexDescending},
			{Path: "/id", Order: azcosmos.CompositeIndexDescending},
		}},
	}
	for _, member := range []string{"pk", "enqueued_at", "owner", "status", "queue_name", "backend", "task_name"} {
		policy.IncludedPaths = append(policy.IncludedPaths, azcosmos.IncludedPath{Path: "/" + member + "/?"})
	}
	return azcosmos.ContainerProperties{
		ID:                     id,
		PartitionKeyDefinition: azcosmos.PartitionKeyDefinition{Paths: []string{partitionKeyPath}, Version: 2},
		DefaultTimeToLive:      new(int32(-1)), // on, and none by default
		IndexingPolicy:         policy,
	}
}

// suits checks the settings whose mistakes would show late: with another partition
// key no item is found, and without time to live none is deleted.
func suits(p *azcosmos.ContainerProperties) error {
	if p == nil {
		return errors.New("cosmosstore: the service did not describe the container")
	}
	var errs []error
	if paths := p.PartitionKeyDefinition.Paths; !slices.Equal(paths, []string{partitionKeyPath}) {
		errs = append(errs, fmt.Errorf("cosmosstore: the container's partition key is %q, and must be %s", paths, partitionKeyPath))
	}
	if p.DefaultTimeToLive == nil {
		errs = append(errs, errors.New("cosmosstore: the container's time to live is off, and must be on (-1)"))
	}
	return errors.Join(errs...)
}

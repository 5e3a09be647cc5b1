package cosmosstore_test

import (
	"context"
	"encoding/json"
	"maps"
	"reflect"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"

	"github.com/taskgate/taskgate/adapters/azure/cosmosstore"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/storetest"
	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/azureemu"
)

const database, container = "taskgate", "tasks"

func TestTheStoreKeepsItsContract(t *testing.T) {
	t.Parallel()
	e := emulators.Cosmos(t)
	create(t, e.URL())
	one, another := open(t, e.URL()), open(t, e.URL())
	storetest.Run(t, func(t *testing.T) storetest.Subject {
		return storetest.Subject{
			Store: one, Another: another,
			PayloadBytes: cosmosstore.MaxPayloadBytes, OversizeBytes: cosmosstore.MaxItemBytes,
		}
	})
}

// TestReplaceKeepsTheMembersOfALaterVersion: a later version of this program wrote
// the item, and this one changes it.
func TestReplaceKeepsTheMembersOfALaterVersion(t *testing.T) {
	t.Parallel()
	e := emulators.Cosmos(t)
	create(t, e.URL())
	s := open(t, e.URL())
	r := record()
	check(t, create1(s, r)(t.Context()))
	c, err := connect(e.URL())
	check(t, err)
	stored := func() (item map[string]any) {
		t.Helper()
		page, err := c.NewQueryItemsPager("SELECT * FROM c", azcosmos.NewPartitionKey(), nil).NextPage(t.Context())
		check(t, err)
		if len(page.Items) != 1 {
			t.Fatalf("%d items, want 1", len(page.Items))
		}
		check(t, json.Unmarshal(page.Items[0], &item))
		return item
	}
	later := stored()
	want := map[string]any{"later_text": "é <&>", "later_number": 1.25, "later_null": nil, "later_object": map[string]any{"a": []any{"b"}}}
	maps.Copy(later, want)
	data, err := json.Marshal(later)
	check(t, err)
	_, err = c.ReplaceItem(t.Context(), azcosmos.NewPartitionKeyString(later["pk"].(string)), r.ID, data, nil)
	check(t, err)

	got, err := s.Get(t.Context(), r.ID)
	check(t, err)
	got.Status = task.Running
	check(t, s.Replace(t.Context(), got))
	after := stored()
	if after["status"] != task.Running {
		t.Errorf("the status is %v", after["status"])
	}
	for name, value := range want {
		if has, found := after[name]; !found || !reflect.DeepEqual(has, value) {
			t.Errorf("%s is %v, want %v", name, has, value)
		}
	}
}

// create creates the container from its definition, in the emulator at url.
func create(t testing.TB, url string) {
	t.Helper()
	client, err := azcosmos.NewClientFromConnectionString(azureemu.CosmosConnectionString(url), cosmosstore.ClientOptions())
	check(t, err)
	_, err = client.CreateDatabase(context.Background(), azcosmos.DatabaseProperties{ID: database}, nil)
	check(t, err)
	db, err := client.NewDatabase(database)
	check(t, err)
	_, err = db.CreateContainer(context.Background(), cosmosstore.Container(container), nil)
	check(t, err)
}

// connect opens the container in the emulator, or a proxy before it, at url.
func connect(url string) (*azcosmos.ContainerClient, error) {
	client, err := azcosmos.NewClientFromConnectionString(azureemu.CosmosConnectionString(url), cosmosstore.ClientOptions())
	if err != nil {
		return nil, err
	}
	return client.NewContainer(database, container)
}

func open(t testing.TB, url string) *cosmosstore.Store {
	t.Helper()
	s, err := cosmosstore.New(func() (*azcosmos.ContainerClient, error) { return connect(url) })
	check(t, err)
	return s
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var _ task.Store = (*cosmosstore.Store)(nil)

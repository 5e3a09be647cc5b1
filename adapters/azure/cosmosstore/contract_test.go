package cosmosstore_test

import (
	"context"
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

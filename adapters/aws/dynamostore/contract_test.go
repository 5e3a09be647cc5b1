package dynamostore_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/adapters/aws/dynamostore"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/storetest"
	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/awsemu"
)

const table = "tasks"

var _ task.Store = (*dynamostore.Table)(nil)

func TestTheStoreKeepsItsContract(t *testing.T) {
	t.Parallel()
	e := emulators.DynamoDB(t)
	one := create(t, e.URL())
	another := dynamostore.New(client(e.URL()), table, dynamostore.Options{})
	storetest.Run(t, func(t *testing.T) storetest.Subject {
		return storetest.Subject{
			Store: one, Another: another, PayloadBytes: dynamostore.MaxPayloadBytes, OversizeBytes: 400 << 10,
		}
	})
}

// client returns a client as a main makes it, of the emulator or of a proxy
// before it.
func client(url string) *dynamodb.Client {
	cfg := awsemu.Config(url)
	awssdk.Bound(&cfg)
	return dynamodb.NewFromConfig(cfg)
}

// create makes the table from its definition.
func create(t testing.TB, url string) *dynamostore.Table {
	t.Helper()
	c := client(url)
	awsemu.CreateTable(t, c, dynamostore.Definition(table))
	return dynamostore.New(c, table, dynamostore.Options{})
}

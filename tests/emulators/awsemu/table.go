package awsemu

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/taskgate/taskgate/tests/wait"
)

// CreateTable creates a table and waits until it takes items. A new table is CREATING for a moment,
// on the emulator as on AWS, and refuses them with ResourceNotFoundException.
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CreateTable.html
func CreateTable(t testing.TB, client *dynamodb.Client, table *dynamodb.CreateTableInput) {
	t.Helper()
	ctx := context.Background()
	if _, err := client.CreateTable(ctx, table); err != nil {
		t.Fatal(err)
	}
	waiter := dynamodb.NewTableExistsWaiter(client, func(o *dynamodb.TableExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = 5*time.Millisecond, 50*time.Millisecond
	})
	if err := waiter.Wait(ctx, &dynamodb.DescribeTableInput{TableName: table.TableName}, wait.Patience); err != nil {
		t.Fatal(err)
	}
}

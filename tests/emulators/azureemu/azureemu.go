// Package azureemu gives tests Azure connection strings and clients that talk to emulators.
package azureemu

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
)

// storageAccount and storageKey are Azurite's published development account:
// https://learn.microsoft.com/azure/storage/common/storage-use-azurite
const (
	storageAccount = "devstoreaccount1"
	storageKey     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// cosmosKey is any base64: the emulator does not check it.
const cosmosKey = "dGFza2dhdGU="

// StorageConnectionString is the connection string of Azurite at addr (host:port). The SDK for Go
// refuses UseDevelopmentStorage=true, so it is spelled out.
func StorageConnectionString(addr string) string {
	return "DefaultEndpointsProtocol=http;AccountName=" + storageAccount + ";AccountKey=" + storageKey +
		";QueueEndpoint=http://" + addr + "/" + storageAccount + ";"
}

// ServiceBusConnectionString is the connection string of the Service Bus emulator at addr. The
// development switch means AMQP without TLS; the key is still sent and checked.
func ServiceBusConnectionString(addr string) string {
	return "Endpoint=sb://" + addr + ";SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=taskgate;UseDevelopmentEmulator=true"
}

// Credential is a token credential that anything here takes on trust.
type Credential struct{}

// GetToken makes up a token that lives for an hour.
func (Credential) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "e30.e30.e30", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// ServiceBusOptions are the options with which azservicebus.NewClient, given any namespace and a
// Credential, reaches the emulator at addr: the SDK dials TLS by itself, but takes any connection in
// place of a web socket.
func ServiceBusOptions(addr string) *azservicebus.ClientOptions {
	return &azservicebus.ClientOptions{
		NewWebSocketConn: func(ctx context.Context, _ azservicebus.NewWebSocketConnArgs) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "tcp", addr)
		},
	}
}

// CosmosConnectionString is the connection string of the Cosmos emulator at url.
func CosmosConnectionString(url string) string {
	return "AccountEndpoint=" + url + "/;AccountKey=" + cosmosKey + ";"
}

// CosmosContainer creates a database and, in it, a container partitioned by partitionKey ("/pk") in
// the emulator at url.
func CosmosContainer(t testing.TB, url, partitionKey string) *azcosmos.ContainerClient {
	t.Helper()
	const database, container = "taskgate", "tasks"
	client, err := azcosmos.NewClientFromConnectionString(CosmosConnectionString(url), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if _, err := client.CreateDatabase(ctx, azcosmos.DatabaseProperties{ID: database}, nil); err != nil {
		t.Fatal(err)
	}
	db, err := client.NewDatabase(database)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.CreateContainer(ctx, azcosmos.ContainerProperties{
		ID:                     container,
		PartitionKeyDefinition: azcosmos.PartitionKeyDefinition{Paths: []string{partitionKey}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := db.NewContainer(container)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

package main

import (
	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"

	"github.com/taskgate/taskgate/adapters/azure/cosmosstore"
)

// store connects the Cosmos DB container; nil where the settings cannot work.
func (n *connector) store(c cosmosConfig) *cosmosstore.Store {
	option := "TASKGATE_COSMOS_CONNECTION_STRING"
	dial := func() (*azcosmos.Client, error) {
		return azcosmos.NewClientFromConnectionString(string(c.connectionString), cosmosstore.ClientOptions())
	}
	if c.connectionString == "" {
		token, err := n.credential(c.loader)
		if err != nil {
			n.failf("TASKGATE_COSMOS_CREDENTIAL_LOADER", "", err)
			return nil
		}
		option = "TASKGATE_COSMOS_ENDPOINT"
		dial = func() (*azcosmos.Client, error) {
			return azcosmos.NewClient(c.endpoint, token, cosmosstore.ClientOptions())
		}
	}
	store, err := cosmosstore.New(func() (*azcosmos.ContainerClient, error) {
		client, err := dial()
		if err != nil {
			return nil, err
		}
		return client.NewContainer(c.database, c.container)
	})
	if err != nil {
		n.failf(option, "", err)
		return nil
	}
	return store
}

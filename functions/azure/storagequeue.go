package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2/sas"

	"github.com/taskgate/taskgate/adapters/azure/storagequeuedispatch"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/functions/settings"
)

// storageQueue connects a backend of Storage queues.
func (n *connector) storageQueue(b settings.Backend, o *settings.StorageQueueOptions) task.Backend {
	option, client, err := "STORAGE_ACCOUNT_CONNECTION_STRING", (*azqueue.ServiceClient)(nil), error(nil)
	if o.UseConnectionString {
		// The portal shows a signature as a query, with its ?, which the SDK would double.
		text := strings.Replace(string(o.ConnectionString), "SharedAccessSignature=?", "SharedAccessSignature=", 1)
		client, err = azqueue.NewServiceClientFromConnectionString(text, storagequeuedispatch.ClientOptions())
	} else {
		c, loadErr := n.credential(o.CredentialLoader)
		if loadErr != nil {
			n.failf("STORAGE_ACCOUNT_CREDENTIAL_LOADER", b.Alias, loadErr)
			return task.Backend{}
		}
		option = "STORAGE_ACCOUNT_URL"
		client, err = azqueue.NewServiceClient(o.URL, c, storagequeuedispatch.ClientOptions())
	}
	if err == nil {
		err = checkQueueService(client.URL(), time.Now())
	}
	if err != nil {
		n.failf(option, b.Alias, err)
	}
	d := storagequeuedispatch.New(client, int64(o.MaxDeliveries))
	return n.backend(b, "storagequeue", d, storagequeuedispatch.CheckQueueName)
}

// checkQueueService returns why no message can be sent to the queues of the
// account at that URL, which may carry a shared access signature. The error
// quotes nothing of it but its expiry.
// https://learn.microsoft.com/rest/api/storageservices/delegate-access-with-shared-access-signature
func checkQueueService(address string, now time.Time) error {
	parts, err := sas.ParseURL(address)
	if err != nil {
		return errors.New("the address, or its shared access signature, is malformed")
	}
	_, domain, _ := strings.Cut(parts.Host, ".")
	switch service, _, _ := strings.Cut(domain, "."); service {
	case "blob", "dfs", "file", "table", "web":
		return fmt.Errorf("the address is that of the account's %s service, not of its queues", service)
	case "queue":
		if parts.QueueName != "" {
			return errors.New("the address must be the account's, without the name of a queue")
		}
	}
	p := parts.SAS
	lacks := func(field, letter string) bool { return field != "" && !strings.Contains(field, letter) }
	switch {
	case p.Encode() == "" && parts.UnparsedParams == "":
		return nil // another credential
	case p.Signature() == "":
		return errors.New("the shared access signature has no signature (sig)")
	case p.Resource() != "", lacks(p.Services(), "q"):
		return errors.New("the shared access signature is not for queues (ss, sr)")
	case lacks(p.ResourceTypes(), "o"):
		return errors.New("the shared access signature is not for messages: it lacks the resource type object (srt=o)")
	case lacks(p.Permissions(), "a"), p.Permissions() == "" && p.Identifier() == "":
		return errors.New("the shared access signature does not allow adding messages (sp=a)")
	case !p.ExpiryTime().IsZero() && !p.ExpiryTime().After(now):
		return fmt.Errorf("the shared access signature has expired at %s", p.ExpiryTime().UTC().Format(time.RFC3339))
	case p.Protocol() == sas.ProtocolHTTPS && parts.Scheme == "http":
		return errors.New("the shared access signature is for HTTPS alone (spr), and the address is HTTP")
	}
	return nil
}

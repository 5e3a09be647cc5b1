package settings

import (
	"strings"

	"github.com/taskgate/taskgate/core/strictjson"
)

// ServiceBusOptions are the options of ServiceBusQueueBackend and
// ServiceBusTopicBackend. UseConnectionString says which of the two ways to
// connect counts; what belongs to the other way is not looked at, so that
// settings may hold both and switch.
type ServiceBusOptions struct {
	UseConnectionString bool   // SERVICEBUS_USE_CONNECTION_STRING, true when unset
	ConnectionString    Secret // SERVICEBUS_CONNECTION_STRING
	NamespaceFQDN       string // SERVICEBUS_NAMESPACE_FQDN: a host's name
	CredentialLoader    string // SERVICEBUS_CREDENTIAL_LOADER, or "default"

	// What the entities are set to in Azure, which the service may not ask.
	RequiresSession bool // SERVICEBUS_REQUIRES_SESSION: groups become sessions
	MaxDeliveries   int  // SERVICEBUS_MAX_DELIVERY_COUNT; 0 = unknown
	MaxMessageKiB   int  // SERVICEBUS_MAX_MESSAGE_SIZE_IN_KILOBYTES; 0 = Standard's 256
}

// StorageQueueOptions are the options of StorageAccountQueueBackend, with the
// same two ways to connect as [ServiceBusOptions].
type StorageQueueOptions struct {
	UseConnectionString bool   // STORAGE_ACCOUNT_USE_CONNECTION_STRING, true when unset
	ConnectionString    Secret // STORAGE_ACCOUNT_CONNECTION_STRING
	URL                 string // STORAGE_ACCOUNT_URL: the queue service's, without a trailing slash
	CredentialLoader    string // STORAGE_ACCOUNT_CREDENTIAL_LOADER, or "default"
	MaxDeliveries       int    // STORAGE_ACCOUNT_QUEUE_MAX_DEQUEUE_COUNT: host.json's maxDequeueCount; 0 = unknown
}

func (o *ServiceBusOptions) fields() fields {
	return fields{
		"SERVICEBUS_USE_CONNECTION_STRING": boolean(&o.UseConnectionString),
		"SERVICEBUS_CONNECTION_STRING":     secret(&o.ConnectionString),
		"SERVICEBUS_NAMESPACE_FQDN":        text(&o.NamespaceFQDN),
		"SERVICEBUS_CREDENTIAL_LOADER":     text(&o.CredentialLoader),
		"SERVICEBUS_REQUIRES_SESSION":      boolean(&o.RequiresSession),
		// https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas
		"SERVICEBUS_MAX_DELIVERY_COUNT":            strictjson.Nullable(strictjson.Int(&o.MaxDeliveries, 1, 2000)),
		"SERVICEBUS_MAX_MESSAGE_SIZE_IN_KILOBYTES": strictjson.Nullable(strictjson.Int(&o.MaxMessageKiB, 256, 102400)),
	}
}

func (o *ServiceBusOptions) check(c *checker) {
	const use, conn, fqdn = "SERVICEBUS_USE_CONNECTION_STRING", "SERVICEBUS_CONNECTION_STRING", "SERVICEBUS_NAMESPACE_FQDN"
	if c.bad[use] {
		return // what is required hangs on it
	}
	if o.UseConnectionString {
		if c.required(conn, string(o.ConnectionString), "unless "+use+" is false") {
			c.connectionString(conn, o.ConnectionString,
				"Endpoint+SharedAccessKeyName+SharedAccessKey", "Endpoint+SharedAccessSignature")
		}
		return
	}
	if c.required(fqdn, o.NamespaceFQDN, "when "+use+" is false") && !isHost(o.NamespaceFQDN) {
		c.broken(fqdn, "must be a host's name alone, such as name.servicebus.windows.net")
	}
	c.loader("SERVICEBUS_CREDENTIAL_LOADER", &o.CredentialLoader)
}

func (o *StorageQueueOptions) fields() fields {
	return fields{
		"STORAGE_ACCOUNT_USE_CONNECTION_STRING": boolean(&o.UseConnectionString),
		"STORAGE_ACCOUNT_CONNECTION_STRING":     secret(&o.ConnectionString),
		"STORAGE_ACCOUNT_URL":                   text(&o.URL),
		"STORAGE_ACCOUNT_CREDENTIAL_LOADER":     text(&o.CredentialLoader),

		"STORAGE_ACCOUNT_QUEUE_MAX_DEQUEUE_COUNT": strictjson.Nullable(strictjson.Int(&o.MaxDeliveries, 1, maxMaxDeliveries)),
	}
}

func (o *StorageQueueOptions) check(c *checker) {
	const use, conn, url = "STORAGE_ACCOUNT_USE_CONNECTION_STRING", "STORAGE_ACCOUNT_CONNECTION_STRING", "STORAGE_ACCOUNT_URL"
	if c.bad[use] {
		return // what is required hangs on it
	}
	if o.UseConnectionString {
		if c.required(conn, string(o.ConnectionString), "unless "+use+" is false") {
			c.connectionString(conn, o.ConnectionString, "AccountName+AccountKey",
				"AccountName+SharedAccessSignature", "QueueEndpoint+SharedAccessSignature")
		}
		return
	}
	if c.required(url, o.URL, "when "+use+" is false") && !isBaseURL(o.URL) {
		c.broken(url, "must be an absolute http or https URL without user, query and fragment, such as https://name.queue.core.windows.net")
	}
	o.URL = strings.TrimRight(o.URL, "/")
	c.loader("STORAGE_ACCOUNT_CREDENTIAL_LOADER", &o.CredentialLoader)
}

// isHost reports whether s is a host's name without scheme, port or path.
func isHost(s string) bool {
	return !strings.Contains(s, "..") && strings.Trim(s, ".") == s &&
		only(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789.-")
}

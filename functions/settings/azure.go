package settings

import (
	"net/url"
	"slices"
	"strings"

	"github.com/taskgate/taskgate/core/strictjson"
)

// ServiceBusOptions are the options of ServiceBusQueueBackend and
// ServiceBusTopicBackend. UseConnectionString chooses one of the two ways to
// connect. The options of the other way are not checked, so that settings may
// hold both and switch.
type ServiceBusOptions struct {
	UseConnectionString bool   // SERVICEBUS_USE_CONNECTION_STRING, true when unset
	ConnectionString    Secret // SERVICEBUS_CONNECTION_STRING
	NamespaceFQDN       string // SERVICEBUS_NAMESPACE_FQDN: a host's name
	CredentialLoader    string // SERVICEBUS_CREDENTIAL_LOADER, or "default"

	// Settings of the entities in Azure, which the service is not allowed to read.
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
		return // it decides which options are required
	}
	if o.UseConnectionString {
		if c.required(conn, string(o.ConnectionString), "unless "+use+" is false") {
			c.connectionString(conn, o.ConnectionString,
				"Endpoint+SharedAccessKeyName+SharedAccessKey", "Endpoint+SharedAccessSignature")
		}
		return
	}
	if c.required(fqdn, o.NamespaceFQDN, "when "+use+" is false") {
		if !isHost(o.NamespaceFQDN) || !strings.Contains(o.NamespaceFQDN, ".") {
			c.broken(fqdn, "must be the full host name of a namespace, without scheme and path, such as name.servicebus.windows.net")
		} else {
			c.serviceBusHost(fqdn, o.NamespaceFQDN)
		}
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
	const use, conn, account = "STORAGE_ACCOUNT_USE_CONNECTION_STRING", "STORAGE_ACCOUNT_CONNECTION_STRING", "STORAGE_ACCOUNT_URL"
	if c.bad[use] {
		return // it decides which options are required
	}
	if o.UseConnectionString {
		if c.required(conn, string(o.ConnectionString), "unless "+use+" is false") {
			c.connectionString(conn, o.ConnectionString, "AccountName+AccountKey",
				"AccountName+SharedAccessSignature", "QueueEndpoint+SharedAccessSignature")
		}
		return
	}
	if c.required(account, o.URL, "when "+use+" is false") && checkBaseURL(o.URL) != "" {
		c.broken(account, "must be the URL of a queue service, without user, query and fragment, such as https://name.queue.core.windows.net")
	}
	o.URL = strings.TrimRight(o.URL, "/")
	c.loader("STORAGE_ACCOUNT_CREDENTIAL_LOADER", &o.CredentialLoader)
}

// connectionString checks that a connection string has the keys that the SDK
// asks for: each of needs is a list of keys, joined by +, and one of the lists
// must be there whole. The case of keys does not count.
func (c *checker) connectionString(name string, value Secret, needs ...string) {
	values := map[string]string{}
	for part := range strings.SplitSeq(string(value), ";") {
		key, v, ok := strings.Cut(part, "=")
		if !ok && part != "" {
			c.broken(name, "must be key=value pairs separated by semicolons")
			return
		}
		values[strings.ToLower(key)] = v
	}
	has := func(need string) bool {
		return !slices.ContainsFunc(strings.Split(need, "+"), func(key string) bool { return values[strings.ToLower(key)] == "" })
	}
	if !slices.ContainsFunc(needs, has) {
		c.broken(name, "must have %s", strings.ReplaceAll(oneOf(needs), "+", " and "))
		return
	}
	if endpoint, err := url.Parse(values["endpoint"]); err == nil { // only Service Bus has this key
		c.serviceBusHost(name, endpoint.Hostname())
	}
}

// serviceBusHost notes that a host belongs to another service of Azure. Hosts
// that are not Azure's, of an emulator for example, are not checked.
// https://learn.microsoft.com/azure/azure-government/compare-azure-government-global-azure
func (c *checker) serviceBusHost(option, host string) {
	host = strings.ToLower(host)
	isAzure := slices.ContainsFunc([]string{
		".windows.net", ".azure.net", ".azure.com", ".chinacloudapi.cn", ".azure.cn", ".usgovcloudapi.net", ".azure.us",
	}, func(domain string) bool { return strings.HasSuffix(host, domain) })
	if isAzure && !strings.Contains(host, ".servicebus.") {
		c.broken(option, "must name the host of a Service Bus namespace, such as name.servicebus.windows.net, but names one of another service")
	}
}

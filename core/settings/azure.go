package settings

import "strings"

// ServiceBusOptions are the options of ServiceBusQueueBackend and
// ServiceBusTopicBackend. UseConnectionString says which of the two ways to
// connect counts; what belongs to the other way is not looked at, so that
// settings may hold both and switch.
type ServiceBusOptions struct {
	UseConnectionString bool   // SERVICEBUS_USE_CONNECTION_STRING, true when unset
	ConnectionString    Secret // SERVICEBUS_CONNECTION_STRING
	NamespaceFQDN       string // SERVICEBUS_NAMESPACE_FQDN: a host's name
	CredentialLoader    string // SERVICEBUS_CREDENTIAL_LOADER, or "default"
}

// StorageQueueOptions are the options of StorageAccountQueueBackend, with the
// same two ways to connect as [ServiceBusOptions].
type StorageQueueOptions struct {
	UseConnectionString bool   // STORAGE_ACCOUNT_USE_CONNECTION_STRING, true when unset
	ConnectionString    Secret // STORAGE_ACCOUNT_CONNECTION_STRING
	URL                 string // STORAGE_ACCOUNT_URL: the queue service's, without a trailing slash
	CredentialLoader    string // STORAGE_ACCOUNT_CREDENTIAL_LOADER, or "default"
}

func (o *ServiceBusOptions) fields() fields {
	return fields{
		"SERVICEBUS_USE_CONNECTION_STRING": boolean(&o.UseConnectionString),
		"SERVICEBUS_CONNECTION_STRING":     secret(&o.ConnectionString),
		"SERVICEBUS_NAMESPACE_FQDN":        text(&o.NamespaceFQDN),
		"SERVICEBUS_CREDENTIAL_LOADER":     text(&o.CredentialLoader),
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

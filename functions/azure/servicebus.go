package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"github.com/taskgate/taskgate/adapters/azure/servicebusdispatch"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/functions/settings"
)

// serviceBus connects a backend of Service Bus queues or topics.
func (n *connector) serviceBus(b settings.Backend, o *settings.ServiceBusOptions, all *clouds) task.Backend {
	topic := b.Kind == settings.ServiceBusTopicBackend
	target := "servicebusqueue"
	if topic {
		target = "servicebustopic"
	}
	option := "SERVICEBUS_CONNECTION_STRING"
	dial := func() (*azservicebus.Client, error) {
		return azservicebus.NewClientFromConnectionString(string(o.ConnectionString), servicebusdispatch.ClientOptions())
	}
	check := servicebusdispatch.CheckQueueName
	if o.UseConnectionString {
		only, err := busScope(string(o.ConnectionString), time.Now())
		if err != nil {
			n.failf(option, b.Alias, err)
		}
		check = within(only)
	} else {
		c, err := n.credential(o.CredentialLoader)
		if err != nil {
			n.failf("SERVICEBUS_CREDENTIAL_LOADER", b.Alias, err)
			return task.Backend{}
		}
		option = "SERVICEBUS_NAMESPACE_FQDN"
		dial = func() (*azservicebus.Client, error) {
			return azservicebus.NewClient(o.NamespaceFQDN, c, servicebusdispatch.ClientOptions())
		}
	}
	d, err := servicebusdispatch.New(dial, servicebusdispatch.Options{
		Topic:           topic,
		RequiresSession: o.RequiresSession,
		MaxDeliveries:   int64(o.MaxDeliveries),
		MaxMessageBytes: int64(o.MaxMessageKiB) << 10,
	})
	if err != nil {
		n.failf(option, b.Alias, err)
	}
	all.warm = append(all.warm, func(ctx context.Context) error { return d.Prewarm(ctx, entities(b)...) })
	return n.backend(b, target, d, check)
}

// within returns the rule for the names of queues or topics: that of Service Bus,
// and only, where that is not "".
func within(only string) func(name string) string {
	return func(name string) string {
		if rule := servicebusdispatch.CheckQueueName(name); rule != "" || only == "" || strings.EqualFold(name, only) {
			return rule
		}
		return fmt.Sprintf("must be %s: the connection string is for that alone", only)
	}
}

// busScope returns the one queue or topic that a connection string is for, or ""
// if it is for the namespace. The SDK reads the rest of the string, but neither
// EntityPath nor what a shared access signature says of itself.
// https://learn.microsoft.com/azure/service-bus-messaging/service-bus-sas
func busScope(connectionString string, now time.Time) (only string, err error) {
	part := map[string]string{}
	for pair := range strings.SplitSeq(connectionString, ";") {
		key, value, _ := strings.Cut(pair, "=")
		part[strings.ToLower(key)] = value
	}
	only = part["entitypath"]
	signature := part["sharedaccesssignature"]
	if signature == "" {
		return only, nil
	}
	token, err := url.ParseQuery(strings.TrimPrefix(signature, "SharedAccessSignature "))
	if err != nil {
		return "", errors.New("its shared access signature is malformed")
	}
	expiry, err := strconv.ParseInt(token.Get("se"), 10, 64)
	if err != nil {
		return "", errors.New("its shared access signature has no expiry (se)")
	}
	if at := time.Unix(expiry, 0).UTC(); !at.After(now) {
		return "", fmt.Errorf("its shared access signature has expired at %s", at.Format(time.RFC3339))
	}
	_, resource, found := strings.Cut(token.Get("sr"), "://")
	if !found {
		resource = token.Get("sr")
	}
	host, path, _ := strings.Cut(resource, "/")
	if endpoint, err := url.Parse(part["endpoint"]); err == nil && !strings.EqualFold(host, endpoint.Host) {
		return "", errors.New("its shared access signature is for another namespace (sr)")
	}
	if path = strings.Trim(path, "/"); path != "" {
		only = path
	}
	return only, nil
}

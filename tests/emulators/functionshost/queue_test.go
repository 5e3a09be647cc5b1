package functionshost_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"

	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/azureemu"
	"github.com/taskgate/taskgate/tests/emulators/functionshost"
	"github.com/taskgate/taskgate/tests/wait"
)

// work is the handler's queue function; the message says what becomes of it.
func work(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var call struct {
		Data     struct{ Msg json.RawMessage }
		Metadata map[string]json.RawMessage
	}
	_ = json.Unmarshal(body, &call)
	count := call.Metadata["DequeueCount"]
	if count == nil {
		count = call.Metadata["DeliveryCount"]
	}
	fmt.Printf("worker got %s, delivery %s\n", call.Data.Msg, count)
	w.Header().Set("Content-Type", "application/json")
	switch {
	case string(call.Data.Msg) == `"\"fail\""`:
		w.WriteHeader(http.StatusInternalServerError)
	case string(call.Data.Msg) == `"\"stay\""`:
		<-r.Context().Done()
	case string(call.Data.Msg) == `"\"garble\""`:
		_, _ = io.WriteString(w, "not JSON")
	default:
		_, _ = io.WriteString(w, `{"Outputs":{},"Logs":["logged by the function"],"ReturnValue":null}`)
	}
}

func expect(t *testing.T, h *functionshost.Host, lines ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait.Patience)
	defer cancel()
	for _, want := range lines {
		if _, err := h.AwaitLog(ctx, want); err != nil {
			t.Fatalf("waiting for %q: %v\n%s", want, err, h.Log())
		}
	}
}

func storageQueue(t *testing.T, connection, name string) *azqueue.QueueClient {
	t.Helper()
	q, err := azqueue.NewQueueClientFromConnectionString(connection, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestStorageMessagesAreHandledRetriedAndPoisoned(t *testing.T) {
	t.Parallel()
	connection := azureemu.StorageConnectionString(emulators.StorageQueue(t).Addr())
	q, poison := storageQueue(t, connection, "tasks"), storageQueue(t, connection, "tasks-poison")
	for _, queue := range []*azqueue.QueueClient{q, poison} {
		if _, err := queue.Create(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	h := functionshost.Start(t, stage(t, forwarding, map[string]string{
		"Worker/function.json": `{"bindings":[{"type":"queueTrigger","direction":"in","name":"msg","queueName":"%QUEUE%","connection":"Store"}]}`,
	}), functionshost.Options{Settings: map[string]string{"QUEUE": "tasks", "Store": connection}})

	for _, text := range []string{"good", "fail", "garble"} {
		if _, err := q.EnqueueMessage(t.Context(), base64.StdEncoding.EncodeToString([]byte(text)), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := q.EnqueueMessage(t.Context(), "not base64!", nil); err != nil {
		t.Fatal(err)
	}
	expect(t, h, `worker got "\"good\"", delivery "1"`, "Worker: logged by the function",
		`worker got "\"fail\"", delivery "1"`, `worker got "\"fail\"", delivery "2"`, `worker got "\"garble\"", delivery "2"`)
	// The undecodable message never reached the worker; like the two failing ones it is poison now.
	found := map[string]bool{}
	for ctx := t.Context(); len(found) < 3 && ctx.Err() == nil; {
		got, err := poison.DequeueMessages(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range got.Messages {
			found[*m.MessageText] = true
		}
	}
	for _, text := range []string{"ZmFpbA==", "Z2FyYmxl", "not base64!"} {
		if !found[text] {
			t.Errorf("%s is not poison: %v", text, found)
		}
	}
	h.Stop()
	if left, err := q.PeekMessage(t.Context(), nil); err != nil || len(left.Messages) != 0 {
		t.Errorf("left in the queue: %+v, %v", left.Messages, err)
	}
}

// TestAMessageThatTakesLongDoesNotHoldUpTheNextBatch: host.json's newBatchThreshold.
func TestAMessageThatTakesLongDoesNotHoldUpTheNextBatch(t *testing.T) {
	t.Parallel()
	connection := azureemu.StorageConnectionString(emulators.StorageQueue(t).Addr())
	q := storageQueue(t, connection, "tasks")
	if _, err := q.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	h := functionshost.Start(t, stage(t, forwarding, map[string]string{
		"Worker/function.json": `{"bindings":[{"type":"queueTrigger","direction":"in","name":"msg","queueName":"tasks","connection":"Store"}]}`,
	}), functionshost.Options{Settings: map[string]string{"Store": connection}})
	for _, text := range []string{"stay", "good"} {
		if _, err := q.EnqueueMessage(t.Context(), base64.StdEncoding.EncodeToString([]byte(text)), nil); err != nil {
			t.Fatal(err)
		}
		expect(t, h, `worker got "\"`+text+`\""`)
	}
}

func TestBusMessagesAreCompletedOrDeadLettered(t *testing.T) {
	t.Parallel()
	e := emulators.ServiceBus(t, emulators.ServiceBusConfig{Topics: map[string]emulators.BusTopic{
		"events": {Subscriptions: map[string]emulators.BusQueue{"workers": {MaxDeliveryCount: 2}}},
	}})
	connection := azureemu.ServiceBusConnectionString(e.Addr())
	client, err := azservicebus.NewClientFromConnectionString(connection, nil)
	if err != nil {
		t.Fatal(err)
	}
	sender, err := client.NewSender("events", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), wait.Patience)
	defer cancel()
	for _, text := range []string{"good", "fail"} {
		if err := sender.SendMessage(ctx, &azservicebus.Message{Body: []byte(text)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	h := functionshost.Start(t, stage(t, forwarding, map[string]string{
		"Worker/function.json": `{"bindings":[{"type":"serviceBusTrigger","direction":"in","name":"msg","topicName":"events","subscriptionName":"workers","connection":"Bus"}]}`,
	}), functionshost.Options{Settings: map[string]string{"Bus": connection}})
	expect(t, h, `worker got "\"good\"", delivery "1"`, `worker got "\"fail\"", delivery "2"`)
	dead, err := client.NewReceiverForSubscription("events", "workers", &azservicebus.ReceiverOptions{SubQueue: azservicebus.SubQueueDeadLetter})
	if err != nil {
		t.Fatal(err)
	}
	got, err := dead.ReceiveMessages(ctx, 1, nil)
	if err != nil || len(got) != 1 || string(got[0].Body) != "fail" {
		t.Errorf("dead letters: %+v, %v", got, err)
	}
	live, err := client.NewReceiverForSubscription("events", "workers", nil)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := live.PeekMessages(ctx, 1, nil); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestPlainPayloadsAreAsTheDocumentationShowsThem(t *testing.T) {
	t.Parallel()
	connection := azureemu.StorageConnectionString(emulators.StorageQueue(t).Addr())
	q := storageQueue(t, connection, "tasks")
	if _, err := q.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	h := functionshost.Start(t, stage(t, forwarding, map[string]string{
		"Worker/function.json": `{"bindings":[{"type":"queueTrigger","direction":"in","name":"msg","queueName":"tasks"}]}`,
	}), functionshost.Options{Plain: true, Settings: map[string]string{"AzureWebJobsStorage": connection}})
	if _, err := q.EnqueueMessage(t.Context(), base64.StdEncoding.EncodeToString([]byte("good")), nil); err != nil {
		t.Fatal(err)
	}
	expect(t, h, `worker got "good", delivery 1`)
}

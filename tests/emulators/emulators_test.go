package emulators_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/awsemu"
	"github.com/taskgate/taskgate/tests/emulators/azureemu"
	"github.com/taskgate/taskgate/tests/wait"
)

// within bounds one test's calls to its emulator.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait.Patience)
	t.Cleanup(cancel)
	return ctx
}

func TestATopicsMessageReachesItsQueue(t *testing.T) {
	t.Parallel()
	ctx, cfg := within(t), awsemu.Config(emulators.SQS(t).URL())
	queues, topics := sqs.NewFromConfig(cfg), sns.NewFromConfig(cfg)
	queue, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("tasks")})
	if err != nil {
		t.Fatal(err)
	}
	topic, err := topics.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("events")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = topics.Subscribe(ctx, &sns.SubscribeInput{
		TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Endpoint: aws.String(awsemu.ARN("sqs", "tasks")),
		Attributes: map[string]string{"RawMessageDelivery": "true"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := topics.Publish(ctx, &sns.PublishInput{TopicArn: topic.TopicArn, Message: aws.String("hello")}); err != nil {
		t.Fatal(err)
	}
	got, err := queues.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: queue.QueueUrl, WaitTimeSeconds: 5})
	if err != nil || len(got.Messages) != 1 || *got.Messages[0].Body != "hello" {
		t.Fatalf("received %+v, %v", got, err)
	}
}

func TestItemsOutliveTheDatabasesCrash(t *testing.T) {
	t.Parallel()
	ctx, e := within(t), emulators.DynamoDB(t)
	db := dynamodb.NewFromConfig(awsemu.Config(e.URL()))
	awsemu.CreateTable(t, db, &dynamodb.CreateTableInput{
		TableName:            aws.String("tasks"),
		BillingMode:          ddb.BillingModePayPerRequest,
		KeySchema:            []ddb.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: ddb.KeyTypeHash}},
		AttributeDefinitions: []ddb.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: ddb.ScalarAttributeTypeS}},
	})
	item := map[string]ddb.AttributeValue{"id": &ddb.AttributeValueMemberS{Value: "1"}}
	if _, err := db.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String("tasks"), Item: item}); err != nil {
		t.Fatal(err)
	}

	e.Kill()
	if _, err := db.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String("tasks"), Key: item}); err == nil {
		t.Fatal("a killed emulator answered")
	}
	e.Restart()
	got, err := db.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String("tasks"), Key: item})
	if err != nil || got.Item == nil {
		t.Fatalf("after the restart: %v, %v", got, err)
	}
}

func TestTheDatabaseOutlivesAClientKilledInTheMiddleOfARequest(t *testing.T) {
	t.Parallel()
	e := emulators.DynamoDB(t)
	for name, linger := range map[string]int{"closed": -1, "reset": 0} {
		conn, err := net.Dial("tcp", e.Addr())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		// The server says 100 once it has begun on the request, whose body never comes whole.
		_, _ = fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n{", e.Addr())
		if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, " 100 ") {
			t.Fatalf("%s: read %q, %v", name, line, err)
		}
		_ = conn.(*net.TCPConn).SetLinger(linger)
		_ = conn.Close()

		resp, err := http.Get(e.URL())
		if err != nil {
			t.Fatalf("after a client's connection was %s: %v", name, err)
		}
		_ = resp.Body.Close()
	}
}

func TestStorageQueuesGoAwayAndComeBackAtTheSameAddress(t *testing.T) {
	t.Parallel()
	ctx, e := within(t), emulators.StorageQueue(t)
	q, err := azqueue.NewQueueClientFromConnectionString(azureemu.StorageConnectionString(e.Addr()), "tasks", nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := q.Create(ctx, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := q.EnqueueMessage(ctx, "aGVsbG8=", nil); err != nil {
			t.Fatal(err)
		}
		got, err := q.DequeueMessage(ctx, nil)
		if err != nil || len(got.Messages) != 1 || *got.Messages[0].MessageText != "aGVsbG8=" {
			t.Fatalf("dequeued %+v, %v", got, err)
		}
		e.Restart()
	}
}

func TestCosmosRefusesMissingTakenChangedAndLargeItems(t *testing.T) {
	t.Parallel()
	ctx, e := within(t), emulators.Cosmos(t)
	c := azureemu.CosmosContainer(t, e.URL(), "/pk")
	pk := azcosmos.NewPartitionKeyString("7")
	item := []byte(`{"id":"1","pk":"7"}`)
	if _, err := c.CreateItem(ctx, pk, item, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadItem(ctx, pk, "1", nil); err != nil {
		t.Fatal(err)
	}
	_, missing := c.ReadItem(ctx, pk, "2", nil)
	_, taken := c.CreateItem(ctx, pk, item, nil)
	stale := azcore.ETag("stale")
	_, changed := c.ReplaceItem(ctx, pk, "1", item, &azcosmos.ItemOptions{IfMatchEtag: &stale})
	_, large := c.CreateItem(ctx, pk, fmt.Appendf(nil, `{"id":"3","pk":"7","x":"%s"}`, strings.Repeat("x", 2<<20)), nil)
	for want, err := range map[int]error{
		http.StatusNotFound: missing, http.StatusConflict: taken,
		http.StatusPreconditionFailed: changed, http.StatusRequestEntityTooLarge: large,
	} {
		if refused := (*azcore.ResponseError)(nil); !errors.As(err, &refused) || refused.StatusCode != want {
			t.Errorf("%v, want %d", err, want)
		}
	}
}

// rerun runs one of the tests below, in a process of its own, with more environment.
func rerun(test string, env ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(append(os.Environ(), "RERUN="+test), env...)
	return cmd
}

// TestHoldsAnEmulator is run by the tests below only.
func TestHoldsAnEmulator(t *testing.T) {
	if os.Getenv("RERUN") != t.Name() {
		t.Skip("part of other tests")
	}
	fmt.Println("holding", emulators.DynamoDB(t).Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func TestNoEmulatorOutlivesAKilledTest(t *testing.T) {
	t.Parallel()
	emulators.DynamoDB(t) // so that a missing emulator skips here
	cmd := rerun("TestHoldsAnEmulator")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var addr string
	for lines := bufio.NewScanner(stdout); addr == "" && lines.Scan(); {
		_, addr, _ = strings.Cut(lines.Text(), "holding ")
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	_ = conn.SetReadDeadline(time.Now().Add(wait.Patience))
	if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the emulator is still alive")
	}
}

func TestAMissingEmulatorSkipsLoudlyAndFailsInCI(t *testing.T) {
	t.Parallel()
	for env, verdict := range map[string]string{"CI=": "--- SKIP", "CI=true": "--- FAIL"} {
		out, _ := rerun("TestHoldsAnEmulator", "PATH=/nowhere", env).CombinedOutput()
		for _, want := range []string{verdict, "dynalite is missing", "make emulators"} {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: output lacks %q:\n%s", env, want, out)
			}
		}
	}
}

package awssdk_test

import (
	"bufio"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamodbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/adapters/aws/dynamostore"
	"github.com/taskgate/taskgate/adapters/aws/sqsdispatch"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/emulators/awsemu"
)

// serveEnv makes this test binary the fake, in a process of its own, so that
// what the fake allocates is not counted.
const serveEnv = "TASKGATE_TEST_FAKE_AWS"

func TestMain(m *testing.M) {
	if os.Getenv(serveEnv) != "" {
		s := httptest.NewServer(&fake{})
		fmt.Println(s.URL)
		_, _ = io.Copy(io.Discard, os.Stdin) // until the parent is gone
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// fake answers what an enqueue asks of SQS and DynamoDB, and notes what it was.
type fake struct {
	mu   sync.Mutex
	seen []string
	open int
	most int // requests at once
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	f.mu.Lock()
	f.seen = append(f.seen, operation)
	f.open++
	f.most = max(f.most, f.open)
	f.mu.Unlock()
	defer func() { f.mu.Lock(); f.open--; f.mu.Unlock() }()
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	switch operation {
	case "GetQueueUrl":
		fmt.Fprint(w, `{"QueueUrl":"https://sqs.us-east-1.amazonaws.com/000000000000/tasks"}`)
	case "SendMessage":
		var in struct{ MessageBody string }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			panic(err)
		}
		sum := md5.Sum([]byte(in.MessageBody)) // SQS's own check, which the SDK does too
		fmt.Fprintf(w, `{"MessageId":"m-1","MD5OfMessageBody":"%s"}`, hex.EncodeToString(sum[:]))
	default: // PutItem, GetQueueAttributes
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, `{}`)
	}
}

// rig is a whole enqueue and, beside it, the two calls of the SDK that it comes
// to, by the same clients.
type rig struct {
	service *task.Service
	tables  *dynamodb.Client
	queues  *sqs.Client
	put     *dynamodb.PutItemInput
	send    *sqs.SendMessageInput
}

func newRig(url string) *rig {
	cfg := awsemu.Config(url)
	awssdk.Bound(&cfg)
	r := &rig{tables: dynamodb.NewFromConfig(cfg), queues: sqs.NewFromConfig(cfg)}
	r.service = &task.Service{
		Store: dynamostore.New(r.tables, "tasks", dynamostore.Options{}),
		Backends: map[string]task.Backend{"default": {
			Dispatcher: sqsdispatch.New(r.queues, sqsdispatch.Options{}), Target: "sqs", DefaultQueue: "tasks",
		}},
		Tokens:          task.Tokens{Secrets: [][]byte{[]byte("0123456789abcdef0123456789abcdef")}},
		ResultTTL:       time.Hour,
		MaxPayloadBytes: dynamostore.MaxPayloadBytes,
		Now:             time.Now,
		NewID:           task.NewID,
		Log:             slog.New(slog.DiscardHandler),
	}
	return r
}

func (r *rig) enqueue(ctx context.Context) (task.Document, error) {
	a, err := r.service.Enqueue(ctx, task.Call{Owner: "alice", BaseURL: "https://tasks.example.com"}, task.Request{
		TaskName: "app.tasks.send_email", Args: jsontext.Value(`["alice@example.com",1.10]`), Kwargs: jsontext.Value(`{"template":"welcome"}`), Backend: "default",
	})
	return a.Task, err
}

// prepare makes what the bare calls send the same as what the service sends. The
// rig is of no other use after that.
func (r *rig) prepare(ctx context.Context) error {
	spy := &inputs{}
	tables := dynamodb.New(r.tables.Options(), func(o *dynamodb.Options) { o.HTTPClient = spy.wrap(o.HTTPClient) })
	queues := sqs.New(r.queues.Options(), func(o *sqs.Options) { o.HTTPClient = spy.wrap(o.HTTPClient) })
	r.service.Store = dynamostore.New(tables, "tasks", dynamostore.Options{})
	r.service.Backends["default"] = task.Backend{Dispatcher: sqsdispatch.New(queues, sqsdispatch.Options{}), Target: "sqs", DefaultQueue: "tasks"}
	if _, err := r.enqueue(ctx); err != nil {
		return err
	}
	if err := json.Unmarshal(spy.send, &r.send); err != nil {
		return err
	}
	var put struct {
		Item map[string]map[string]any
	}
	if err := json.Unmarshal(spy.put, &put); err != nil {
		return err
	}
	r.put = &dynamodb.PutItemInput{
		TableName: aws.String("tasks"), ConditionExpression: aws.String("attribute_not_exists(id)"), Item: map[string]dynamodbtypes.AttributeValue{},
		ReturnValuesOnConditionCheckFailure: dynamodbtypes.ReturnValuesOnConditionCheckFailureAllOld,
	}
	for name, v := range put.Item {
		r.put.Item[name] = attribute(v)
	}
	return nil
}

func attribute(v map[string]any) dynamodbtypes.AttributeValue {
	switch {
	case v["S"] != nil:
		return &dynamodbtypes.AttributeValueMemberS{Value: v["S"].(string)}
	case v["N"] != nil:
		return &dynamodbtypes.AttributeValueMemberN{Value: v["N"].(string)}
	}
	m := map[string]dynamodbtypes.AttributeValue{}
	for name, in := range v["M"].(map[string]any) {
		m[name] = attribute(in.(map[string]any))
	}
	return &dynamodbtypes.AttributeValueMemberM{Value: m}
}

// inputs keeps the bodies that an enqueue sends.
type inputs struct{ put, send []byte }

type do func(*http.Request) (*http.Response, error)

func (d do) Do(r *http.Request) (*http.Response, error) { return d(r) }

func (s *inputs) wrap(next interface {
	Do(*http.Request) (*http.Response, error)
}) do {
	return func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		switch target := r.Header.Get("X-Amz-Target"); {
		case strings.HasSuffix(target, ".PutItem"):
			s.put = body
		case strings.HasSuffix(target, ".SendMessage"):
			s.send = body
		}
		return next.Do(r)
	}
}

func (r *rig) bare(ctx context.Context) error {
	if _, err := r.tables.PutItem(ctx, r.put); err != nil {
		return err
	}
	_, err := r.queues.SendMessage(ctx, r.send)
	return err
}

// TestAKeylessEnqueueIsTwoSerialRoundTrips: one conditional put and one send.
func TestAKeylessEnqueueIsTwoSerialRoundTrips(t *testing.T) {
	f := &fake{}
	s := httptest.NewServer(f)
	defer s.Close()
	r := newRig(s.URL)
	if _, err := r.enqueue(t.Context()); err != nil { // looks the queue up
		t.Fatal(err)
	}
	f.seen, f.most = nil, 0
	const n = 5
	for range n {
		if d, err := r.enqueue(t.Context()); err != nil || *d.Dispatch.MessageID != "m-1" {
			t.Fatal(err)
		}
	}
	if want := slices.Repeat([]string{"PutItem", "SendMessage"}, n); !slices.Equal(f.seen, want) || f.most != 1 {
		t.Errorf("%d enqueues made the calls %v, at most %d at once", n, f.seen, f.most)
	}
}

// apart starts the fake in a process of its own.
func apart(t testing.TB) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serveEnv+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stdin.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// pair returns a rig whose two ways do the same, ready and warm.
func pair(t testing.TB) (whole, bare func()) {
	t.Helper()
	url := apart(t)
	ctx := context.Background()
	prepared := newRig(url)
	if err := prepared.prepare(ctx); err != nil {
		t.Fatal(err)
	}
	r := newRig(url)
	r.put, r.send = prepared.put, prepared.send
	whole = func() {
		if _, err := r.enqueue(ctx); err != nil {
			t.Fatal(err)
		}
	}
	bare = func() {
		if err := r.bare(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		whole()
		bare()
	}
	return whole, bare
}

// BenchmarkEnqueue measures a whole enqueue and the two bare calls that it comes
// to, in turns, so that the noise of the machine meets both. The ratios are
// medians of the pairs': at most 1.10 for time, and 1.15 for allocations.
func BenchmarkEnqueue(b *testing.B) {
	whole, bare := pair(b)
	var wholeNS, bareNS, ratios []float64
	timed := func(f func()) float64 {
		start := time.Now()
		f()
		return float64(time.Since(start).Nanoseconds())
	}
	for b.Loop() {
		w, r := timed(whole), timed(bare)
		wholeNS, bareNS, ratios = append(wholeNS, w), append(bareNS, r), append(ratios, w/r)
	}
	w, r := testing.AllocsPerRun(200, whole), testing.AllocsPerRun(200, bare)
	b.ReportMetric(0, "ns/op") // of both together: nothing
	b.ReportMetric(median(wholeNS), "ns/enqueue")
	b.ReportMetric(median(bareNS), "ns/bare")
	b.ReportMetric(median(wholeNS)/median(bareNS), "time-ratio")
	b.ReportMetric(median(ratios), "paired-time-ratio")
	b.ReportMetric(w, "allocs/enqueue")
	b.ReportMetric(r, "allocs/bare")
	b.ReportMetric(w/r, "allocs-ratio")
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

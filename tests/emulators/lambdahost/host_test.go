package lambdahost_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/aws"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/taskgate/taskgate/tests/emulators/awsemu"
	"github.com/taskgate/taskgate/tests/emulators/lambdadouble"
	"github.com/taskgate/taskgate/tests/emulators/lambdahost"
)

// TestMain makes the test binary its own bootstrap, written against the unmodified runtime library.
func TestMain(m *testing.M) {
	if os.Getenv("AWS_LAMBDA_RUNTIME_API") == "" {
		os.Exit(m.Run())
	}
	lambda.Start(func(ctx context.Context, event struct{ Do string }) (map[string]any, error) {
		switch event.Do {
		case "fail":
			return nil, errors.New("the task failed")
		case "exit":
			os.Exit(1)
		case "block":
			fmt.Println("blocking")
			select {}
		}
		invoked, _ := lambdacontext.FromContext(ctx)
		deadline, _ := ctx.Deadline()
		return map[string]any{
			"arn": invoked.InvokedFunctionArn, "id": invoked.AwsRequestID, "left": time.Until(deadline).Seconds(),
			"trace": os.Getenv("_X_AMZN_TRACE_ID"), "inherited": os.Getenv("HOME"), "given": os.Getenv("GIVEN"),
		}, nil
	})
}

func start(t *testing.T) *lambdahost.Host {
	t.Helper()
	t.Parallel()
	return lambdahost.Start(t, os.Args[0], lambdahost.Options{Name: "worker", Timeout: 20 * time.Second, Env: []string{"GIVEN=yes"}})
}

func TestAnInvocationCarriesItsContext(t *testing.T) {
	h := start(t)
	out, err := h.Invoke(t.Context(), []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"arn":"arn:aws:lambda:us-east-1:000000000000:function:worker"`, `"id":"00000000-0000-4000-8000-000000000001"`,
		`"left":1`, `"trace":"Root=1-`, `"inherited":""`, `"given":"yes"`,
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%s lacks %s", out, want)
		}
	}
}

func TestConcurrentInvocationsQueue(t *testing.T) {
	h := start(t)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := h.Invoke(t.Context(), []byte(`{}`)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestTheFunctionsErrorIsReported(t *testing.T) {
	h := start(t)
	_, err := h.Invoke(t.Context(), []byte(`{"Do":"fail"}`))
	if failed := (*lambdahost.FunctionError)(nil); !errors.As(err, &failed) || !strings.Contains(string(failed.Payload), "the task failed") {
		t.Errorf("got %v", err)
	}
}

func TestAKilledProcessLosesItsInvocationAndComesBack(t *testing.T) {
	h := start(t)
	lost := make(chan error, 1)
	go func() {
		_, err := h.Invoke(t.Context(), []byte(`{"Do":"block"}`))
		lost <- err
	}()
	if _, err := h.AwaitLog(t.Context(), "blocking"); err != nil {
		t.Fatal(err)
	}
	h.Kill()
	if err := <-lost; !errors.Is(err, lambdahost.ErrExited) {
		t.Errorf("killed: %v", err)
	}
	h.Restart()
	if _, err := h.Invoke(t.Context(), []byte(`{}`)); err != nil {
		t.Errorf("restarted: %v", err)
	}
	if _, err := h.Invoke(t.Context(), []byte(`{"Do":"exit"}`)); !errors.Is(err, lambdahost.ErrExited) {
		t.Errorf("exited by itself: %v", err)
	}
	<-h.Exited()
}

func TestAnAcceptedEventReachesTheBootstrapAndIsRetried(t *testing.T) {
	h := start(t)
	double := lambdadouble.New(t)
	var calls atomic.Int32
	double.Add("worker", func(ctx context.Context, payload []byte) error {
		calls.Add(1)
		return h.Handle(ctx, payload)
	}, 2)
	client := awslambda.NewFromConfig(awsemu.Config(double.URL()))
	for _, payload := range []string{`{}`, `{"Do":"fail"}`} {
		_, err := client.Invoke(t.Context(), &awslambda.InvokeInput{
			FunctionName: aws.String("worker"), InvocationType: types.InvocationTypeEvent, Payload: []byte(payload),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	double.Wait()
	if dropped := double.Dropped(); len(dropped) != 1 || string(dropped[0]) != `{"Do":"fail"}` {
		t.Errorf("dropped %q", dropped)
	}
	if calls.Load() != 4 { // one, and three attempts
		t.Errorf("handled %d times, want 4", calls.Load())
	}
}

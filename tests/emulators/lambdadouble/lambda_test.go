package lambdadouble_test

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/taskgate/taskgate/tests/emulators/awsemu"
	"github.com/taskgate/taskgate/tests/emulators/lambdadouble"
)

func newDouble(t *testing.T) (*lambdadouble.Lambda, func(function string, payload []byte) (*lambda.InvokeOutput, error)) {
	t.Helper()
	t.Parallel()
	double := lambdadouble.New(t)
	client := lambda.NewFromConfig(awsemu.Config(double.URL()))
	return double, func(function string, payload []byte) (*lambda.InvokeOutput, error) {
		return client.Invoke(t.Context(), &lambda.InvokeInput{
			FunctionName: aws.String(function), InvocationType: types.InvocationTypeEvent, Payload: payload,
		})
	}
}

func TestAnEventIsAcceptedBeforeItIsHandled(t *testing.T) {
	double, invoke := newDouble(t)
	release, got := make(chan struct{}), make(chan string, 4)
	double.Add("worker", func(_ context.Context, payload []byte) error {
		<-release
		got <- string(payload)
		return nil
	}, 0)
	names := []string{"worker", "worker:live", awsemu.ARN("lambda", "function:worker"), "000000000000:function:worker"}
	for _, name := range names {
		if out, err := invoke(name, []byte(`{"id":1}`)); err != nil || out.StatusCode != 202 {
			t.Fatalf("%s: %+v, %v", name, out, err)
		}
	}
	close(release)
	double.Wait()
	for range names {
		if payload := <-got; payload != `{"id":1}` {
			t.Errorf("payload %s", payload)
		}
	}
}

func TestAFailingEventIsRetriedAsOftenAsAskedThenDropped(t *testing.T) {
	double, invoke := newDouble(t)
	var calls atomic.Int32
	double.Add("worker", func(context.Context, []byte) error {
		calls.Add(1)
		return errors.New("no")
	}, 2)
	if _, err := invoke("worker", []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	double.Wait()
	if calls.Load() != 3 || len(double.Dropped()) != 1 {
		t.Errorf("%d calls, %d dropped", calls.Load(), len(double.Dropped()))
	}
}

func TestMissingFunctionsOversizeAndTextAreRefused(t *testing.T) {
	double, invoke := newDouble(t)
	double.Add("worker", func(context.Context, []byte) error { return nil }, 0)
	text := func(n int) []byte { return append(append([]byte{'"'}, bytes.Repeat([]byte("x"), n-2)...), '"') }

	_, err := invoke("nobody", []byte(`{}`))
	if missing := (*types.ResourceNotFoundException)(nil); !errors.As(err, &missing) {
		t.Errorf("missing: %v", err)
	}
	_, err = invoke("worker", text(lambdadouble.MaxPayload+1))
	if large := (*types.RequestTooLargeException)(nil); !errors.As(err, &large) {
		t.Errorf("oversize: %v", err)
	}
	_, err = invoke("worker", []byte("text"))
	if malformed := (*types.InvalidRequestContentException)(nil); !errors.As(err, &malformed) {
		t.Errorf("text: %v", err)
	}
	if _, err = invoke("worker", text(lambdadouble.MaxPayload)); err != nil {
		t.Errorf("the largest: %v", err)
	}
}

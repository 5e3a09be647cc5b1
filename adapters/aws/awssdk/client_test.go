package awssdk_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/tests/emulators/awsemu"
)

// TestIdleConnectionIsReused also after more time than an answer may take: a bound
// on reads would end the connection.
func TestIdleConnectionIsReused(t *testing.T) {
	t.Parallel()
	var connections atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		_, _ = io.WriteString(w, `{}`)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	cfg := awsemu.Config(s.URL)
	awssdk.Bound(&cfg)
	client := dynamodb.NewFromConfig(cfg)
	for range 2 {
		if _, err := client.ListTables(t.Context(), &dynamodb.ListTablesInput{}); err != nil {
			t.Fatal(err)
		}
		idle := time.NewTimer(3500 * time.Millisecond)
		<-idle.C
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// slowWriter is a connection whose write of a request's body returns only when
// the answer is being read, as it may on a busy processor.
type slowWriter struct {
	net.Conn
	reading <-chan struct{}
}

func (c slowWriter) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if bytes.Contains(p, []byte("TableName")) {
		<-c.reading
	}
	return n, err
}

// reader tells when the answer's body is first read.
type reader struct {
	io.ReadCloser
	begin func()
}

func (r reader) Read(p []byte) (int, error) { r.begin(); return r.ReadCloser.Read(p) }

// TestLargeAnswerIsReadWholeWhileTheRequestIsWritten: the SDK's own client cuts the
// connection here.
func TestLargeAnswerIsReadWholeWhileTheRequestIsWritten(t *testing.T) {
	item := `{"Item":{"id":{"S":"` + strings.Repeat("x", 300<<10) + `"}}}`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.Header().Set("Content-Length", strconv.Itoa(len(item)))
		_, _ = io.WriteString(w, item[:1])
		_ = http.NewResponseController(w).Flush()
		select { // long enough for a client that cuts the connection to do so
		case <-r.Context().Done():
		case <-time.After(200 * time.Millisecond):
		}
		_, _ = io.WriteString(w, item[1:])
	}))
	defer s.Close()

	reading := make(chan struct{})
	begin := sync.OnceFunc(func() { close(reading) })
	client := awssdk.NewClient()
	transport := client.Transport.(*http.Transport)
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		return slowWriter{c, reading}, err
	}
	cfg := awsemu.Config(s.URL)
	cfg.HTTPClient = do(func(req *http.Request) (*http.Response, error) {
		resp, err := client.Do(req)
		if err == nil {
			resp.Body = reader{resp.Body, begin}
		}
		return resp, err
	})
	out, err := dynamodb.NewFromConfig(cfg).GetItem(t.Context(), &dynamodb.GetItemInput{
		TableName: aws.String("tasks"), Key: map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: "1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if id := out.Item["id"].(*types.AttributeValueMemberS).Value; len(id) != 300<<10 {
		t.Errorf("%d bytes arrived", len(id))
	}
}

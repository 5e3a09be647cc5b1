package cosmosstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"

	"github.com/taskgate/taskgate/core/task"
)

var at = task.At(time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC))

func TestItemHasTheRecordsMembersAtTheTopLevel(t *testing.T) {
	r := &task.Record{ID: "id-1", TaskName: "send", Status: task.Ready, EnqueuedAt: at, Args: "[1]", Kwargs: "{}", DeleteAfter: at.Plus(90 * time.Second)}
	data, err := encode(r, at.Time)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"id": "id-1", "pk": shard("id-1"), "ttl": 90.0, "task_name": "send", "status": "READY",
		"enqueued_at": "2026-11-23T10:00:00.000000Z", "args": "[1]", "kwargs": "{}",
	} {
		if got[name] != want {
			t.Errorf("%s is %#v, want %#v", name, got[name], want)
		}
	}
	if _, found := got["_etag"]; found {
		t.Error("the service's own _etag is written")
	}
}

func TestTimeToLiveIsRoundedUp(t *testing.T) {
	for left, want := range map[time.Duration]int32{
		-time.Hour: 1, 0: 1, time.Millisecond: 1, time.Second: 1, time.Second + 1: 2, 168 * time.Hour: 604800,
		math.MaxInt32*time.Second + time.Hour: math.MaxInt32,
	} {
		if got := timeToLive(left); got != want {
			t.Errorf("%v left: %d, want %d", left, got, want)
		}
	}
}

func TestShardsAreFixedAndEven(t *testing.T) {
	for id, want := range map[string]string{ // stored items are found by these
		"018f2c6e-0000-7000-8000-000000000000": "9", "018f2c6e-0000-7000-8000-000000000001": "6",
	} {
		if got := shard(id); got != want {
			t.Errorf("shard of %s is %s, want %s", id, got, want)
		}
	}
	count := map[string]int{}
	const each = 500
	for range each * shards {
		count[shard(task.NewID())]++
	}
	for i := range shards {
		if n := count[strconv.Itoa(i)]; n < each*3/4 || n > each*5/4 {
			t.Errorf("shard %d has %d tasks, want about %d", i, n, each)
		}
	}
}

func TestQueryNamesItsShardAndPassesValuesAsParameters(t *testing.T) {
	text, parameters := query("7", task.Query{})
	if want := "SELECT * FROM c WHERE c.pk = @pk ORDER BY c.enqueued_at DESC, c.id DESC"; text != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	if want := []azcosmos.QueryParameter{{Name: "@pk", Value: "7"}}; !slices.Equal(parameters, want) {
		t.Errorf("parameters %v, want %v", parameters, want)
	}
	text, parameters = query("7", task.Query{
		Owner: "o' OR 1=1", Status: "READY", QueueName: "q", Backend: "b", TaskName: "t", After: task.Position{EnqueuedAt: at, ID: "x"},
	})
	if want := "SELECT * FROM c WHERE c.pk = @pk AND c.owner = @owner AND c.status = @status AND c.queue_name = @queue_name" +
		" AND c.backend = @backend AND c.task_name = @task_name" +
		" AND (c.enqueued_at < @after OR (c.enqueued_at = @after AND c.id < @after_id)) ORDER BY c.enqueued_at DESC, c.id DESC"; text != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	want := []azcosmos.QueryParameter{
		{Name: "@pk", Value: "7"}, {Name: "@owner", Value: "o' OR 1=1"}, {Name: "@status", Value: "READY"}, {Name: "@queue_name", Value: "q"},
		{Name: "@backend", Value: "b"}, {Name: "@task_name", Value: "t"}, {Name: "@after", Value: at.String()}, {Name: "@after_id", Value: "x"},
	}
	if !slices.Equal(parameters, want) {
		t.Errorf("parameters %v, want %v", parameters, want)
	}
}

// TestTheIndexServesTheQuery: a query over two members needs exactly its
// composite index, and each member that it filters by an index of its own.
func TestTheIndexServesTheQuery(t *testing.T) {
	text, _ := query("0", task.Query{Owner: "o", Status: "s", QueueName: "q", Backend: "b", TaskName: "t", After: task.Position{EnqueuedAt: at, ID: "x"}})
	policy := Container("tasks").IndexingPolicy
	var order []string
	for _, c := range policy.CompositeIndexes[0] {
		order = append(order, "c."+c.Path[1:]+" "+map[azcosmos.CompositeIndexOrder]string{azcosmos.CompositeIndexDescending: "DESC"}[c.Order])
	}
	if _, by, _ := strings.Cut(text, " ORDER BY "); by != strings.Join(order, ", ") {
		t.Errorf("the query orders by %s, the index by %v", by, order)
	}
	where, _, _ := strings.Cut(text, " ORDER BY ")
	for _, word := range strings.Fields(where) {
		member, found := strings.CutPrefix(strings.TrimLeft(word, "("), "c.")
		if !found || member == "id" { // always indexed
			continue
		}
		if !slices.Contains(policy.IncludedPaths, azcosmos.IncludedPath{Path: "/" + member + "/?"}) {
			t.Errorf("%s is filtered by and not indexed", member)
		}
	}
}

func TestAPageEndsWhereAShardMayHaveMore(t *testing.T) {
	records := func(seconds ...int) (rs []*task.Record) {
		for _, s := range seconds {
			rs = append(rs, &task.Record{ID: fmt.Sprint("id-", s), EnqueuedAt: at.Plus(time.Duration(s) * time.Second)})
		}
		return rs
	}
	for name, c := range map[string]struct {
		parts []part
		limit int
		want  []int
		next  int // 0 = none
	}{
		"nothing":                  {[]part{{whole: true}, {whole: true}}, 5, nil, 0},
		"all whole":                {[]part{{records(9, 3), true}, {records(5), true}}, 5, []int{9, 5, 3}, 0},
		"exactly the limit":        {[]part{{records(9, 3), true}, {records(5), true}}, 3, []int{9, 5, 3}, 0},
		"limited":                  {[]part{{records(9, 3), true}, {records(5), true}}, 2, []int{9, 5}, 5},
		"one may have more":        {[]part{{records(9, 8), false}, {records(5), true}}, 5, []int{9, 8}, 8},
		"two may have more":        {[]part{{records(9, 4), false}, {records(8, 6), false}, {records(7, 1), true}}, 9, []int{9, 8, 7, 6}, 6},
		"limited and may have":     {[]part{{records(9, 4), false}, {records(8, 6), false}}, 2, []int{9, 8}, 8},
		"the end is the last":      {[]part{{records(9, 1), false}, {records(5), true}}, 3, []int{9, 5, 1}, 1},
		"one shard, one may":       {[]part{{records(3), false}}, 1, []int{3}, 3},
		"an empty one is no limit": {[]part{{records(3), true}, {nil, true}}, 1, []int{3}, 0},
	} {
		page := merge(c.parts, c.limit)
		var got []int
		for _, r := range page.Records {
			got = append(got, int(r.EnqueuedAt.Sub(at.Time)/time.Second))
		}
		var next task.Position
		if c.next != 0 {
			next = records(c.next)[0].Position()
		}
		if !reflect.DeepEqual(got, c.want) || page.Next != next {
			t.Errorf("%s: %v, next %v; want %v, next %v", name, got, page.Next, c.want, next)
		}
	}
}

func TestUnsuitableContainerIsRefused(t *testing.T) {
	good := Container("tasks")
	if err := suits(&good); err != nil {
		t.Error(err)
	}
	bad := Container("tasks")
	bad.PartitionKeyDefinition.Paths = []string{"/id"}
	bad.DefaultTimeToLive = nil
	if err := suits(&bad); err == nil || !strings.Contains(err.Error(), "/pk") || !strings.Contains(err.Error(), "time to live") {
		t.Error(err)
	}
	if suits(nil) == nil {
		t.Error("no description suits")
	}
}

func TestTranslate(t *testing.T) {
	answer := func(code int, header ...string) error {
		h := http.Header{}
		for i := 0; i+1 < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return fmt.Errorf("wrapped: %w", &azcore.ResponseError{StatusCode: code, ErrorCode: "SECRET", RawResponse: &http.Response{StatusCode: code, Header: h}})
	}
	for name, c := range map[string]struct {
		err   error
		kind  task.Kind
		after time.Duration
	}{
		"none":          {nil, "", 0},
		"throttled":     {answer(429, "x-ms-retry-after-ms", "1500"), task.Unavailable, 1500 * time.Millisecond},
		"throttled, no": {answer(429, "x-ms-retry-after-ms", "soon"), task.Unavailable, 0},
		"unavailable":   {answer(503), task.Unavailable, 0},
		"timed out":     {answer(408), task.Unavailable, 0},
		"retry with":    {answer(449, "x-ms-retry-after-ms", "10"), task.Unavailable, 10 * time.Millisecond},
		"unauthorized":  {answer(401), task.Unavailable, 0},
		"forbidden":     {answer(403), task.Unavailable, 0},
		"oversize":      {answer(413), task.Oversize, 0},
		"bad":           {answer(400), task.Unavailable, 0},
		"broken":        {answer(500), task.Unavailable, 0},
		"deadline":      {context.DeadlineExceeded, task.Unavailable, 0},
		"cancelled":     {fmt.Errorf("SECRET: %w", context.Canceled), task.Unavailable, 0},
		"network":       {errors.New("SECRET: connection refused"), task.Unavailable, 0},
	} {
		err := translate(c.err, "create", "id-1")
		var e *task.Error
		if errors.As(err, &e); task.KindOf(err) != c.kind || e != nil && (e.RetryAfter != c.after || e.Msg == "" || strings.Contains(e.Msg, "SECRET") || !errors.Is(err, c.err)) {
			t.Errorf("%s: %#v", name, err)
		}
	}
}

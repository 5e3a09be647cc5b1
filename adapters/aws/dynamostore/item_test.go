package dynamostore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/taskgate/taskgate/core/task"
)

var at = task.At(time.Date(2026, 11, 23, 10, 0, 0, 123456000, time.UTC))

// fill gives v, and everything in it, a value, each another.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("text-", *n))
	case reflect.Int:
		v.SetInt(int64(*n))
	case reflect.Float64:
		v.SetFloat(1 / float64(*n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("key"), reflect.ValueOf(`"value"`).Convert(v.Type().Elem()))
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[task.Time]() {
			v.Set(reflect.ValueOf(at.Plus(time.Duration(*n) * time.Microsecond)))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	}
}

// encoded is an item that must be made.
func encoded(t testing.TB, r *task.Record, revision string, shard int) map[string]types.AttributeValue {
	t.Helper()
	item, err := encode(r, revision, shard)
	if err != nil {
		t.Fatal(err)
	}
	return item
}

// TestEveryFieldIsStoredUnderItsNameInJSON also holds for a field that a later
// change adds, and that nobody thought of here.
func TestEveryFieldIsStoredUnderItsNameInJSON(t *testing.T) {
	var r task.Record
	n := 0
	fill(reflect.ValueOf(&r).Elem(), &n)
	r.Revision, r.Fresh = "42", false
	item := encoded(t, &r, "42", 7)
	back, err := decode(maps.Clone(item))
	if err != nil || !reflect.DeepEqual(*back, r) {
		t.Errorf("comes back as\n%+v, want\n%+v (%v)", back, r, err)
	}
	want := map[string]reflect.Kind{}
	data, err := json.Marshal(shadow(reflect.ValueOf(r)))
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(data, &members); err != nil {
		t.Fatal(err)
	}
	for name := range members {
		want[name] = 0
	}
	want["key"] = 0 // a member that this version does not know
	for _, own := range []string{revisionAttribute, shardAttribute, positionAttribute, TTLAttribute} {
		want[own] = 0
	}
	for name := range want {
		if item[name] == nil {
			t.Errorf("%s is not stored", name)
		}
	}
	for name := range item {
		if _, known := want[name]; !known {
			t.Errorf("%s is stored, and no member of the record", name)
		}
	}
	if dispatch := item["dispatch"].(*types.AttributeValueMemberM).Value; len(dispatch) != reflect.TypeFor[task.Dispatch]().NumField() {
		t.Errorf("dispatch has %d members", len(dispatch))
	}
}

// shadow returns the names that a record's fields have in JSON.
func shadow(v reflect.Value) map[string]bool {
	names := map[string]bool{}
	for i := range v.NumField() {
		if name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); name != "-" && name != "" {
			names[name] = true
		}
	}
	return names
}

// TestMembersOfALaterVersionSurviveAChange: PutItem replaces the whole item, so that
// what a record does not keep is lost.
func TestMembersOfALaterVersionSurviveAChange(t *testing.T) {
	item := encoded(t, &task.Record{ID: "id-1", EnqueuedAt: at}, "1", 0)
	item["schema"] = number(7)
	later := map[string]types.AttributeValue{
		"follow_ups": &types.AttributeValueMemberL{Value: []types.AttributeValue{&types.AttributeValueMemberM{Value: map[string]types.AttributeValue{
			"task_id": &types.AttributeValueMemberS{Value: `a "quoted" text`}, "accepted": &types.AttributeValueMemberBOOL{Value: false}, "none": &types.AttributeValueMemberNULL{Value: true},
		}}}},
		"weight": &types.AttributeValueMemberN{Value: "1.10"}, "empty": &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{}},
		"note": &types.AttributeValueMemberS{},
	}
	maps.Copy(item, later)
	r, err := decode(item)
	if err != nil || r.Schema != 7 {
		t.Fatalf("%+v, %v", r, err)
	}
	r.CancelRequested = true
	changed := encoded(t, r, "2", 0)
	for name, want := range later {
		if !reflect.DeepEqual(changed[name], want) {
			t.Errorf("%s is %#v, was %#v", name, changed[name], want)
		}
	}
}

func TestItemIsReadable(t *testing.T) {
	r := &task.Record{
		ID: "id-1", TaskName: "send", Status: task.Ready, EnqueuedAt: at, Args: `[1.10]`, Kwargs: "{}", Backend: "default", QueueName: "mail",
		Owner: "alice", DeleteAfter: at.Plus(time.Hour), Dispatch: task.Dispatch{Target: "sqs", Route: "sqs"},
	}
	s := func(v string) types.AttributeValue { return &types.AttributeValueMemberS{Value: v} }
	n := func(v string) types.AttributeValue { return &types.AttributeValueMemberN{Value: v} }
	want := map[string]types.AttributeValue{
		"id": s("id-1"), "task_name": s("send"), "status": s("READY"), "enqueued_at": s("2026-11-23T10:00:00.123456Z"),
		"args": s("[1.10]"), "kwargs": s("{}"), "backend": s("default"), "queue_name": s("mail"), "priority": n("0"), "owner": s("alice"),
		"dispatch":     &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{"target": s("sqs"), "route": s("sqs")}},
		"delete_after": s("2026-11-23T11:00:00.123456Z"),
		"revision":     n("42"), "shard": n("7"), "position": s("2026-11-23T10:00:00.123456Z#id-1"), "ttl": n("1795431601"),
	}
	if got := encoded(t, r, "42", 7); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if up := at.Plus(time.Hour).Unix() + 1; up != 1795431601 {
		t.Errorf("the ttl is %d, rounded up", up)
	}
}

func TestForeignItemIsAnError(t *testing.T) {
	good := func() map[string]types.AttributeValue {
		return encoded(t, &task.Record{ID: "id-1", EnqueuedAt: at}, "1", 0)
	}
	for name, spoil := range map[string]types.AttributeValue{
		"task_name": &types.AttributeValueMemberN{Value: "1"}, "priority": &types.AttributeValueMemberN{Value: "1.5"},
		"enqueued_at": &types.AttributeValueMemberS{Value: "yesterday"}, "worker_ids": &types.AttributeValueMemberS{Value: "a"},
		"metadata": &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{"k": &types.AttributeValueMemberBOOL{}}},
		"progress": &types.AttributeValueMemberL{}, "revision": &types.AttributeValueMemberS{Value: "1"}, "max_attempts": &types.AttributeValueMemberN{Value: "many"},
	} {
		item := good()
		item[name] = spoil
		if _, err := decode(item); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	sets := good()
	sets["labels"] = &types.AttributeValueMemberSS{Value: []string{"an operator's"}}
	for _, item := range []map[string]types.AttributeValue{good(), sets} {
		if _, err := decode(item); err != nil {
			t.Error(err)
		}
	}
}

func TestFractionsAreWithinTheNumbersOfDynamoDB(t *testing.T) {
	for f, want := range map[float64]string{0: "0", 1: "1", 0.1: "0.1", 1.0 / 3: "0.3333333333333333", 1e-300: "0", 1e-20: "1e-20"} {
		item := encoded(t, &task.Record{Progress: &task.Progress{Fraction: f}}, "1", 0)
		got := item["progress"].(*types.AttributeValueMemberM).Value["fraction"].(*types.AttributeValueMemberN).Value
		if got != want {
			t.Errorf("%g: %s, want %s", f, got, want)
		}
	}
}

func TestShardsAreFixedAndEven(t *testing.T) {
	table := New(nil, "tasks", Options{})
	for id, want := range map[string]int{ // stored items are found by these
		"018f2c6e-0000-7000-8000-000000000000": 9, "018f2c6e-0000-7000-8000-000000000001": 6,
	} {
		if got := table.shard(id); got != want {
			t.Errorf("shard of %s is %d, want %d", id, got, want)
		}
	}
	const each = 500
	count := make([]int, DefaultShards)
	for range each * DefaultShards {
		count[table.shard(task.NewID())]++
	}
	if slices.Min(count) < each*3/4 || slices.Max(count) > each*5/4 {
		t.Errorf("tasks in each shard: %v, want about %d", count, each)
	}
}

func TestQueryNamesItsShardAndPassesValuesAsParameters(t *testing.T) {
	table := New(nil, "tasks", Options{})
	in := table.query(7, task.Query{}, 5)
	if *in.TableName != "tasks" || *in.IndexName != "listing" || *in.KeyConditionExpression != "#shard = :shard" || in.FilterExpression != nil || *in.ScanIndexForward || *in.Limit != 5 {
		t.Errorf("%+v", in)
	}
	in = table.query(7, task.Query{
		Owner: "o' OR 1=1", Status: "READY", QueueName: "q", Backend: "b", TaskName: "t", After: task.Position{EnqueuedAt: at, ID: "x"},
	}, 5)
	if *in.KeyConditionExpression != "#shard = :shard AND #position < :position" ||
		*in.FilterExpression != "#owner = :owner AND #status = :status AND #queue_name = :queue_name AND #backend = :backend AND #task_name = :task_name" {
		t.Errorf("%s and %s", *in.KeyConditionExpression, *in.FilterExpression)
	}
	for name, want := range map[string]string{
		"owner": "o' OR 1=1", "status": "READY", "queue_name": "q", "backend": "b", "task_name": "t", "position": "2026-11-23T10:00:00.123456Z#x",
	} {
		if got := in.ExpressionAttributeValues[":"+name].(*types.AttributeValueMemberS).Value; got != want || in.ExpressionAttributeNames["#"+name] != name {
			t.Errorf("%s is %q", name, got)
		}
	}
}

func TestPositionIsReadBackFromKey(t *testing.T) {
	want := task.Position{EnqueuedAt: at, ID: "018f2c6e-0000-7000-8000-000000000000"}
	got, err := parsePosition(map[string]types.AttributeValue{positionAttribute: &types.AttributeValueMemberS{Value: position(want)}})
	if err != nil || got != want {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := parsePosition(map[string]types.AttributeValue{positionAttribute: &types.AttributeValueMemberN{Value: "1"}}); err == nil {
		t.Error("a number is a position")
	}
}

func TestPageEndsWhereAShardMayHaveMore(t *testing.T) {
	record := func(s int) *task.Record {
		return &task.Record{ID: fmt.Sprint("id-", s), EnqueuedAt: at.Plus(time.Duration(s) * time.Second)}
	}
	shard := func(end int, seconds ...int) (p part) {
		for _, s := range seconds {
			p.records = append(p.records, record(s))
		}
		if end != 0 {
			p.end = record(end).Position()
		}
		return p
	}
	for name, c := range map[string]struct {
		parts []part
		limit int
		want  []int
		next  int // 0 = none
	}{
		"nothing":                     {[]part{shard(0), shard(0)}, 5, nil, 0},
		"all":                         {[]part{shard(0, 9, 3), shard(0, 5)}, 5, []int{9, 5, 3}, 0},
		"exactly the limit":           {[]part{shard(0, 9, 3), shard(0, 5)}, 3, []int{9, 5, 3}, 0},
		"limited":                     {[]part{shard(0, 9, 3), shard(0, 5)}, 2, []int{9, 5}, 5},
		"one may have more":           {[]part{shard(8, 9, 8), shard(0, 5)}, 5, []int{9, 8}, 8},
		"two may have more":           {[]part{shard(4, 9, 4), shard(6, 8, 6), shard(0, 7, 1)}, 9, []int{9, 8, 7, 6}, 6},
		"limited and may have":        {[]part{shard(4, 9, 4), shard(6, 8, 6)}, 2, []int{9, 8}, 8},
		"nothing matched so far":      {[]part{shard(6), shard(0, 7, 5)}, 5, []int{7}, 6},
		"nothing matched at all":      {[]part{shard(6), shard(8)}, 5, nil, 8},
		"matched, and looked further": {[]part{shard(2, 9), shard(4, 5)}, 5, []int{9, 5}, 4},
	} {
		page := merge(c.parts, c.limit)
		var got []int
		for _, r := range page.Records {
			got = append(got, int(r.EnqueuedAt.Sub(at.Time)/time.Second))
		}
		var next task.Position
		if c.next != 0 {
			next = record(c.next).Position()
		}
		if !reflect.DeepEqual(got, c.want) || page.Next != next {
			t.Errorf("%s: %v, next %v; want %v, next %v", name, got, page.Next, c.want, next)
		}
	}
}

func TestTranslate(t *testing.T) {
	answer := func(status int, err error) error {
		return fmt.Errorf("SECRET: %w", &smithyhttp.ResponseError{
			Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: err,
		})
	}
	code := func(code, message string) error { return &smithy.GenericAPIError{Code: code, Message: message} }
	for name, c := range map[string]struct {
		err   error
		kind  task.Kind
		after time.Duration
		says  string
	}{
		"none":       {nil, "", 0, ""},
		"throttled":  {answer(400, &types.ProvisionedThroughputExceededException{}), task.Unavailable, time.Second, "busy"},
		"limited":    {answer(400, &types.RequestLimitExceeded{}), task.Unavailable, time.Second, "busy"},
		"on demand":  {answer(400, code("ThrottlingException", "SECRET")), task.Unavailable, time.Second, "busy"},
		"no table":   {answer(400, &types.ResourceNotFoundException{Message: aws.String("SECRET")}), task.Unavailable, 0, "table is missing"},
		"oversize":   {answer(400, code("ValidationException", "Item size has exceeded the maximum allowed size")), task.Oversize, 0, "larger"},
		"invalid":    {answer(400, code("ValidationException", "The table does not have the specified index: SECRET")), task.Unavailable, 0, "for now"},
		"denied":     {answer(400, code("AccessDeniedException", "SECRET")), task.Unavailable, 0, "does not let"},
		"expired":    {answer(400, code("ExpiredTokenException", "SECRET")), task.Unavailable, 0, "does not let"},
		"signature":  {answer(400, code("UnrecognizedClientException", "SECRET")), task.Unavailable, 0, "does not let"},
		"internal":   {answer(500, &types.InternalServerError{}), task.Unavailable, 0, "cannot serve"},
		"deadline":   {fmt.Errorf("SECRET: %w", context.DeadlineExceeded), task.Unavailable, 0, "in time"},
		"network":    {errors.New("SECRET"), task.Unavailable, 0, "cannot be reached"},
		"unreadable": {answer(200, errors.New("SECRET")), task.Unavailable, 0, "cannot be read"},
	} {
		err := translate(c.err, "create", "id-1")
		var e *task.Error
		errors.As(err, &e)
		if task.KindOf(err) != c.kind || e != nil && (e.RetryAfter != c.after || e.TaskID != "id-1" || !strings.Contains(e.Msg, c.says) || strings.Contains(e.Msg, "SECRET") || !errors.Is(err, c.err)) {
			t.Errorf("%s: %#v", name, err)
		}
	}
}

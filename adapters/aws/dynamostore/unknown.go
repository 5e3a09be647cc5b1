package dynamostore

import (
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// known are the attributes that this version writes; what else an item has, a
// later version wrote.
var known = []string{
	keyAttribute, revisionAttribute, shardAttribute, positionAttribute, TTLAttribute,
	"task_name", "status", "enqueued_at", "started_at", "finished_at", "last_attempted_at", "args", "kwargs",
	"backend", "queue_name", "priority", "run_after", "takes_context", "errors", "worker_ids", "return_value",
	"metadata", "progress", "expires_at", "max_attempts", "group", "cancel_requested", "dispatch", "offloaded",
	"owner", "ended", "attempt_ends", "delivery_id", "lease_until", "refusal", "keyed", "delete_after", "schema",
}

// unknown returns the attributes that this version does not know, as JSON.
func (d decoder) unknown() map[string]jsontext.Value {
	var all map[string]jsontext.Value
	for name, value := range d.item {
		if slices.Contains(known, name) {
			continue
		}
		text, err := json.Marshal(plain(value))
		if d.note(err); all == nil {
			all = map[string]jsontext.Value{}
		}
		all[name] = text
	}
	return all
}

// plain returns an attribute as a value whose JSON [attribute] turns into the
// same attribute. Sets and binaries, which no version writes, become lists and text.
func plain(value types.AttributeValue) any {
	switch v := value.(type) {
	case *types.AttributeValueMemberS:
		return v.Value
	case *types.AttributeValueMemberN:
		return jsontext.Value(v.Value)
	case *types.AttributeValueMemberBOOL:
		return v.Value
	case *types.AttributeValueMemberL:
		list := make([]any, len(v.Value))
		for i, element := range v.Value {
			list[i] = plain(element)
		}
		return list
	case *types.AttributeValueMemberM:
		members := make(map[string]any, len(v.Value))
		for name, member := range v.Value {
			members[name] = plain(member)
		}
		return members
	case *types.AttributeValueMemberSS:
		return v.Value
	case *types.AttributeValueMemberB:
		return v.Value
	}
	return nil
}

// attribute returns JSON as the attribute that people and later versions expect.
func attribute(text jsontext.Value) types.AttributeValue {
	switch text.Kind() {
	case '"':
		s, _ := jsontext.AppendUnquote(nil, text) // checked when it was read
		return &types.AttributeValueMemberS{Value: string(s)}
	case '0':
		return &types.AttributeValueMemberN{Value: strings.TrimSpace(string(text))}
	case 't', 'f':
		return &types.AttributeValueMemberBOOL{Value: text.Kind() == 't'}
	case '[':
		var elements []jsontext.Value
		_ = json.Unmarshal(text, &elements)
		list := make([]types.AttributeValue, len(elements))
		for i, element := range elements {
			list[i] = attribute(element)
		}
		return &types.AttributeValueMemberL{Value: list}
	case '{':
		var members map[string]jsontext.Value
		_ = json.Unmarshal(text, &members)
		in := make(map[string]types.AttributeValue, len(members))
		for name, member := range members {
			in[name] = attribute(member)
		}
		return &types.AttributeValueMemberM{Value: in}
	}
	return &types.AttributeValueMemberNULL{Value: true}
}

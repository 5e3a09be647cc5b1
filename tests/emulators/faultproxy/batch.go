package faultproxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// FailedEntry is one entry of a batch that is refused with code; SenderFault says whether repeating
// it is useless.
type FailedEntry struct {
	Index       int // in the request, from 0
	Code        string
	SenderFault bool
}

// PartialBatch refuses some entries of an SQS SendMessageBatch or an SNS PublishBatch. The others are
// forwarded, and the two answers are made into one: a 200 with Failed entries.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html
// https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html
func PartialBatch(failed ...FailedEntry) Fault {
	return func(x *Exchange) {
		var answer *Answer
		var err error
		switch x.Operation {
		case "SendMessageBatch":
			answer, err = partialSQS(x, failed)
		case "PublishBatch":
			answer, err = partialSNS(x, failed)
		default:
			err = fmt.Errorf("%s is no batch", x.Operation)
		}
		if err != nil {
			Status(500, err.Error())(x)
			return
		}
		x.Answer(answer)
	}
}

func partialSQS(x *Exchange, failed []FailedEntry) (*Answer, error) {
	var request map[string]json.RawMessage
	var entries []json.RawMessage
	if err := json.Unmarshal(x.Body, &request); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(request["Entries"], &entries); err != nil {
		return nil, err
	}
	var kept, refused []any
	for i, entry := range entries {
		at := slices.IndexFunc(failed, func(f FailedEntry) bool { return f.Index == i })
		if at < 0 {
			kept = append(kept, entry)
			continue
		}
		var id struct{ Id string }
		if err := json.Unmarshal(entry, &id); err != nil {
			return nil, err
		}
		refused = append(refused, map[string]any{
			"Id": id.Id, "Code": failed[at].Code, "Message": failed[at].Code, "SenderFault": failed[at].SenderFault,
		})
	}
	answer := &Answer{200, http.Header{"Content-Type": {"application/x-amz-json-1.0"}}, []byte(`{}`)}
	if len(kept) > 0 {
		var err error
		if request["Entries"], err = json.Marshal(kept); err != nil {
			return nil, err
		}
		if x.Body, err = json.Marshal(request); err != nil {
			return nil, err
		}
		if answer, err = x.Forward(); err != nil || answer.Status != 200 {
			return answer, err
		}
	}
	var response map[string]any
	if err := json.Unmarshal(answer.Body, &response); err != nil {
		return nil, err
	}
	already, _ := response["Failed"].([]any)
	response["Failed"] = append(already, refused...)
	var err error
	answer.Body, err = json.Marshal(response)
	return answer, err
}

// entryPrefix is how the query protocol numbers the entries, from 1.
const entryPrefix = "PublishBatchRequestEntries.member."

func partialSNS(x *Exchange, failed []FailedEntry) (*Answer, error) {
	form, err := url.ParseQuery(string(x.Body))
	if err != nil {
		return nil, err
	}
	kept := url.Values{}
	next := map[string]string{} // old number → new number
	var refused bytes.Buffer
	for n := 1; form.Has(fmt.Sprint(entryPrefix, n, ".Id")); n++ {
		at := slices.IndexFunc(failed, func(f FailedEntry) bool { return f.Index == n-1 })
		if at < 0 {
			next[fmt.Sprint(n)] = fmt.Sprint(len(next) + 1)
			continue
		}
		fmt.Fprintf(&refused, "<member><Id>%s</Id><Code>%s</Code><Message>%[2]s</Message><SenderFault>%t</SenderFault></member>",
			form.Get(fmt.Sprint(entryPrefix, n, ".Id")), failed[at].Code, failed[at].SenderFault)
	}
	for key, values := range form {
		if rest, entry := strings.CutPrefix(key, entryPrefix); entry {
			number, field, _ := strings.Cut(rest, ".")
			if next[number] == "" {
				continue
			}
			key = entryPrefix + next[number] + "." + field
		}
		kept[key] = values
	}
	answer := &Answer{200, http.Header{"Content-Type": {"text/xml"}}, []byte(
		"<PublishBatchResponse><PublishBatchResult><Successful/></PublishBatchResult></PublishBatchResponse>")}
	if len(next) > 0 {
		x.Body = []byte(kept.Encode())
		if answer, err = x.Forward(); err != nil || answer.Status != 200 {
			return answer, err
		}
	}
	// The answer has one Failed element at most; the refused entries go into it or make one.
	for _, empty := range []string{"<Failed/>", "<Failed />", "<Failed></Failed>"} {
		answer.Body = bytes.Replace(answer.Body, []byte(empty), nil, 1)
	}
	answer.Body = bytes.Replace(answer.Body, []byte("</PublishBatchResult>"),
		[]byte("<Failed>"+refused.String()+"</Failed></PublishBatchResult>"), 1)
	return answer, nil
}

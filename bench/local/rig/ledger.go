package rig

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Pooled is a client whose connections are kept for all that a worker runs at once.
var Pooled = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

// Ledger is the URL at which handlers say what they did: its owner is never
// killed, and so knows.
type Ledger string

// Mark is the handler of every worker. Its args are [id, milliseconds]: it says
// that it begins, if it takes any time, works so long, and says that it is through.
func (l Ledger) Mark(ctx context.Context, args jsontext.Value) error {
	var parts [2]jsontext.Value
	var id string
	var lasts int
	err := json.Unmarshal(args, &parts)
	if err := errors.Join(err, json.Unmarshal(parts[0], &id), json.Unmarshal(parts[1], &lasts)); err != nil {
		return err
	}
	if lasts > 0 {
		if err := l.say(ctx, "begin", id); err != nil {
			return err
		}
		time.Sleep(time.Duration(lasts) * time.Millisecond)
	}
	return l.say(ctx, "end", id)
}

func (l Ledger) say(ctx context.Context, what, id string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, string(l)+"/"+what+"/"+url.PathEscape(id), nil)
	if err != nil {
		return err
	}
	resp, err := Pooled.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the ledger answers %s", resp.Status)
	}
	return nil
}

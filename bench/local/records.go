package main

import (
	"fmt"

	"github.com/go-json-experiment/json"
)

// records walks taskgate's listing and says how the acknowledged tasks stand there.
func records(addr string, l *ledger) (string, error) {
	of := map[string]int{} // records by the task's own id
	var successful, others int
	for cursor := ""; ; {
		answer, err := once(addr, get("/v1/tasks?limit=100"+cursor), 200)
		if err != nil {
			return "", err
		}
		var page struct {
			Items []struct {
				Args   []any  `json:"args"`
				Status string `json:"status"`
			} `json:"items"`
			NextCursor *string `json:"next_cursor"`
		}
		if err := json.Unmarshal(answer, &page); err != nil {
			return "", err
		}
		for _, item := range page.Items {
			of[fmt.Sprint(item.Args[0])]++
			if item.Status == "SUCCESSFUL" {
				successful++
			} else {
				others++
			}
		}
		if page.NextCursor == nil {
			break
		}
		cursor = "&cursor=" + *page.NextCursor
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var missing, twice int
	for id := range l.acknowledged {
		if of[id] == 0 {
			missing++
		}
	}
	for _, n := range of {
		if n > 1 {
			twice++
		}
	}
	return fmt.Sprintf("of %d acknowledged tasks %d have no record and %d have two; %d records are SUCCESSFUL and %d are not",
		len(l.acknowledged), missing, twice, successful, others), nil
}

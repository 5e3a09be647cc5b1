package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 128}}

// load keeps w.clients busy for a time and returns the tasks per second.
func load(c *candidate, w workload, d time.Duration) (perSecond float64, err error) {
	method, path, body := w.request(c)
	var done atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	begin := time.Now()
	for range w.clients {
		wg.Go(func() {
			for time.Since(begin) < d && failed.Load() == nil {
				if _, err := call(method, c.url+path, body); err != nil {
					failed.Store(&err)
					return
				}
				done.Add(int64(w.perCall))
			}
		})
	}
	wg.Wait()
	if p := failed.Load(); p != nil {
		return 0, *p
	}
	return float64(done.Load()) / time.Since(begin).Seconds(), nil
}

func call(method, url, body string) (string, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%d %.200s", resp.StatusCode, answer)
	}
	return string(answer), err
}

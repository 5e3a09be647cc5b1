// Command goclient enqueues a task, waits for it and lists it, with a client
// that oapi-codegen has generated from openapi.json with its default options.
package main

import (
	"context"
	"fmt"
	"os"

	"taskgate.invalid/goclient/api"
)

func main() {
	if err := run(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url string) error {
	client, err := api.NewClientWithResponses(url)
	if err != nil {
		return err
	}
	name := "add"
	args := []any{1, 2}
	enqueued, err := client.EnqueueTaskWithResponse(ctx, nil, api.EnqueueTaskJSONRequestBody{TaskName: name, Args: &args})
	if err != nil || enqueued.JSON202 == nil {
		return fmt.Errorf("enqueue: %v, %s", err, enqueued.Body)
	}
	id, wait := enqueued.JSON202.Id, float32(20)
	got, err := client.GetTaskWithResponse(ctx, id, &api.GetTaskParams{Wait: &wait})
	if err != nil || got.JSON200 == nil {
		return fmt.Errorf("get: %v, %s", err, got.Body)
	}
	if got.JSON200.Status != api.StatusSUCCESSFUL || fmt.Sprint(got.JSON200.ReturnValue) != "3" {
		return fmt.Errorf("get: %s", got.Body)
	}
	listed, err := client.ListTasksWithResponse(ctx, &api.ListTasksParams{TaskName: &name})
	if err != nil || listed.JSON200 == nil {
		return fmt.Errorf("list: %v, %s", err, listed.Body)
	}
	if len(listed.JSON200.Items) != 1 || listed.JSON200.Items[0].Id != id {
		return fmt.Errorf("list: %s", listed.Body)
	}
	return nil
}

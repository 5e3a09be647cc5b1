// Enqueues a task, waits for it and lists it, with the types that openapi-typescript has generated.
import createClient from "openapi-fetch";
import type { paths } from "./api.js";

const client = createClient<paths>({ baseUrl: process.argv[2] });

function check(ok: boolean, what: string, value: unknown): void {
  if (!ok) {
    throw new Error(`${what}: ${JSON.stringify(value)}`);
  }
}

const enqueued = await client.POST("/v1/tasks", { body: { task_name: "add", args: [1, 2] } });
const id: string = enqueued.data?.id ?? "";
check(id !== "", "enqueue", enqueued.error);
const got = await client.GET("/v1/tasks/{id}", { params: { path: { id }, query: { wait: 20 } } });
check(got.data?.status === "SUCCESSFUL" && got.data.return_value === 3, "get", got.data ?? got.error);
const listed = await client.GET("/v1/tasks", { params: { query: { task_name: "add" } } });
check(listed.data?.items.length === 1 && listed.data.items[0]?.id === id, "list", listed.data ?? listed.error);

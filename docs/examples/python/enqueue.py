"""Enqueue a task with taskgate and wait for its result.

    python3 enqueue.py add 1 2
    python3 enqueue.py echo '"text"' --kwarg n=12
    python3 enqueue.py sleep 5 --takes-context

Of the standard library alone. TASKS_URL is the service's base URL, and
TASKS_API_KEY the key, where the service asks for one.
"""

import argparse
import http.client
import json
import os
import random
import sys
import time
import urllib.error
import urllib.request
import uuid

URL = os.environ.get("TASKS_URL", "http://127.0.0.1:8080").rstrip("/")


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """taskgate never redirects, and the key must not go anywhere else."""

    def redirect_request(self, *args):
        return None


OPENER = urllib.request.build_opener(NoRedirect, urllib.request.ProxyHandler({}))


def call(method, path, body=None, headers=None):
    """Return the status, the JSON, and the Retry-After in seconds; status 0 = nobody answered."""
    headers = {"Accept": "application/json", **(headers or {})}
    if body is not None:
        headers["Content-Type"] = "application/json"
        body = json.dumps(body, allow_nan=False).encode()
    if key := os.environ.get("TASKS_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(URL + path, body, headers, method=method)
    try:
        with OPENER.open(request, timeout=30) as response:
            return response.status, json.load(response), 0
    except urllib.error.HTTPError as error:
        seconds = error.headers.get("Retry-After", "")
        try:
            problem = dict(json.load(error))
        except (OSError, ValueError, TypeError, http.client.HTTPException):  # a gateway in front, in its own words
            problem = {"detail": error.reason}
        return error.code, problem, int(seconds) if seconds.isdecimal() else 0
    except (OSError, ValueError, http.client.HTTPException) as error:
        return 0, {"detail": str(error)}, 0


def enqueue(task, key, patience):
    """POST the task until it is accepted, for at most patience seconds.

    An error never hides a send: after 503, or no answer at all, the task may
    or may not have been enqueued. Repeating the request with the same key
    finds out, and enqueues it once.
    """
    deadline, wait = time.monotonic() + patience, 0.1
    while True:
        status, answer, retry_after = call("POST", "/v1/tasks", task, {"Idempotency-Key": key})
        if status == 202:
            return answer
        pause = max(retry_after, random.uniform(0, wait))
        again = status in (0, 429) or status >= 500 or answer.get("code") == "in-flight"
        if not again or time.monotonic() + pause > deadline:
            sys.exit(f"not enqueued: {status} {answer.get('code', '')}: {answer.get('detail', '')}")
        time.sleep(pause)
        wait = min(2 * wait, 5)


def result(task_id, patience):
    """Return the task once it is finished, or as it is when patience runs out."""
    deadline = time.monotonic() + patience
    while True:
        status, task, retry_after = call("GET", f"/v1/tasks/{task_id}?wait=10")
        if status == 200 and task["is_finished"]:
            return task
        if 400 <= status < 500 and status != 429:
            sys.exit(f"cannot read the result: {status} {task.get('code', '')}: {task.get('detail', '')}")
        if time.monotonic() > deadline:
            sys.exit(f"not finished after {patience} s")
        if status != 200:
            time.sleep(max(retry_after, 1))


def value(text):
    """Parse an argument; Python reads 1e400 and NaN, and JSON has neither."""
    try:
        parsed = json.loads(text)
        json.dumps(parsed, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    return parsed


def pair(text):
    name, _, of = text.partition("=")
    return name, value(of)


def main():
    parser = argparse.ArgumentParser(description="Enqueue a task and wait for its result.")
    parser.add_argument("task_name")
    parser.add_argument("args", nargs="*", type=value, help="as JSON")
    parser.add_argument("--kwarg", action="append", type=pair, default=[], metavar="NAME=JSON")
    parser.add_argument("--takes-context", action="store_true")
    parser.add_argument("--key", default=str(uuid.uuid4()), help="the Idempotency-Key; default: a new one")
    parser.add_argument("--patience", type=float, default=60, metavar="SECONDS")
    options = parser.parse_args()

    request = {"task_name": options.task_name, "args": options.args, "kwargs": dict(options.kwarg)}
    if options.takes_context:
        request["takes_context"] = True

    task = enqueue(request, options.key, options.patience)
    print(f"enqueued {task['id']}", flush=True)
    task = result(task["id"], options.patience)
    if task["status"] != "SUCCESSFUL":
        for error in task["errors"]:
            print(error["traceback"], file=sys.stderr)
        sys.exit(f"{task['status']} {task['state']}")
    print(f"SUCCESSFUL {json.dumps(task['return_value'])}")


if __name__ == "__main__":
    main()

"""Enqueue a task with taskgate and wait for its result.

    python3 enqueue.py add 1 2
    python3 enqueue.py echo '"text"' --kwarg n=12
    python3 enqueue.py sleep 5 --takes-context

It needs the standard library only. TASKS_URL is the service's base URL.
TASKS_API_KEY is the API key, if the service wants one.
"""

import argparse
import email.utils
import http.client
import json
import os
import random
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

URL = os.environ.get("TASKS_URL", "http://127.0.0.1:8080").rstrip("/")
API_KEY = os.environ.get("TASKS_API_KEY", "")

if hasattr(sys, "set_int_max_str_digits"):
    sys.set_int_max_str_digits(0)  # a task may take and return integers of any length


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """taskgate never redirects, and the key must not go anywhere else."""

    def redirect_request(self, *args):
        return None


OPENER = urllib.request.build_opener(NoRedirect, urllib.request.ProxyHandler({}))


def check_settings(key):
    """Exit if a setting can never work. The message shows no secret: not the
    API key, and not a password in TASKS_URL."""
    try:
        url = urllib.parse.urlsplit(URL)
        plain = url.scheme in ("http", "https") and url.hostname and not (url.username or url.password or url.query or url.fragment)
        plain = plain and url.port != 0
    except ValueError:
        plain = False
    if not plain or not re.fullmatch(r"[!-~]+", URL):
        sys.exit("TASKS_URL must be an http or https URL without a user name, a query, spaces and line breaks")
    if not re.fullmatch(r"[!-~]*", API_KEY):
        sys.exit("TASKS_API_KEY must be printable ASCII without spaces; is there a line break at its end?")
    if not re.fullmatch(r"[!-~]{1,255}", key):
        sys.exit("--key must be 1 to 255 printable ASCII characters without spaces")


def seconds_of(retry_after):
    """Return what Retry-After says, seconds or a date, in seconds from 0 to 3600."""
    if re.fullmatch(r"[0-9]+", retry_after, re.ASCII):
        return min(int(retry_after.lstrip("0")[:9] or "0"), 3600)
    try:
        until = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (TypeError, ValueError, OverflowError):
        return 0
    return min(max(until, 0), 3600)


def call(method, path, body=None, headers=None):
    """Return the status, the JSON object, and the Retry-After in seconds.

    Status 0 means that no answer came, or none that can be read.
    """
    headers = {"Accept": "application/json", **(headers or {})}
    if body is not None:
        headers["Content-Type"] = "application/json"
        body = json.dumps(body, allow_nan=False).encode()
    if API_KEY:
        headers["Authorization"] = f"Bearer {API_KEY}"
    request = urllib.request.Request(URL + path, body, headers, method=method)
    unreadable = (OSError, ValueError, TypeError, RecursionError, http.client.HTTPException)
    try:
        with OPENER.open(request, timeout=30) as response:
            return response.status, dict(json.load(response)), 0
    except urllib.error.HTTPError as error:
        try:
            problem = dict(json.load(error))
        except unreadable:  # the answer of a gateway in front of the service
            problem = {"detail": error.reason}
        return error.code, problem, seconds_of(error.headers.get("Retry-After", ""))
    except unreadable as error:
        return 0, {"detail": str(error)}, 0


def enqueue(task, key, patience):
    """POST the task until it is accepted, for at most patience seconds.

    After 503, or without an answer, the task may or may not be enqueued.
    Repeat the request with the same key: the task is enqueued once.
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
        if time.monotonic() >= deadline:
            sys.exit(f"not finished after {patience} s")
        if status != 200:
            time.sleep(min(max(retry_after, 1), max(deadline - time.monotonic(), 0)))


def value(text):
    """Parse an argument. Python also reads 1e400 and NaN, which JSON does not have."""
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
    check_settings(options.key)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a traceback may hold any character

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

"""A taskgate worker in Python, of the standard library alone.

taskgate pushes each message to it over HTTP:

    TASKGATE_WORKER_URL=http://127.0.0.1:9000 taskgate
    TASKGATE_EVENTS_BASE=http://127.0.0.1:8080 python3 worker.py --port 9000

A worker behind SQS or another queue is the same but for its last lines:
receive a message, call process(), and delete the message if it says so.
"""

import argparse
import http.client
import inspect
import json
import math
import os
import random
import re
import socket
import threading
import time
import traceback
import urllib.error
import urllib.request
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

EVENTS_BASE = os.environ.get("TASKGATE_EVENTS_BASE", "http://127.0.0.1:8080").rstrip("/") + "/"
LEASE_SECONDS = int(os.environ.get("TASKS_LEASE_SECONDS", "45"))  # 5 to 3600
MAX_ANSWER = 16 << 20  # bytes
WORKER_ID = f"{socket.gethostname()}/{os.getpid()}"


# --- The tasks ---------------------------------------------------------------


class Permanent(Exception):
    """An error that trying again cannot change."""


def add(*numbers):
    return sum(numbers)


def echo(*args, **kwargs):
    return {"args": args, "kwargs": kwargs}


def sleep(attempt, seconds):
    """Takes the attempt first: enqueue it with takes_context true."""
    for second in range(math.ceil(seconds)):
        attempt.report("progress", progress={"fraction": second / seconds, "message": f"{second} s"})
        if attempt.cancelled.wait(min(1, seconds - second)):
            raise Permanent("cancelled")  # or whatever: it is reported as cancelled
    return seconds


TASKS = {"add": add, "echo": echo, "sleep": sleep}


# --- Reports -----------------------------------------------------------------


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take the task's token to an origin nobody configured."""

    def redirect_request(self, *args):
        return None


OPENER = urllib.request.build_opener(NoRedirect, urllib.request.ProxyHandler({}))


def post(message, event, bound):
    """POST an event until it is answered for good, for at most bound seconds.

    Network errors, 429 and 5xx are repeated: every event may be. Returns the
    answer (a problem too), with its status and the Retry-After in seconds.
    """
    headers = {"Content-Type": "application/json", "Taskgate-Token": message["token"]}
    for name in ("traceparent", "tracestate"):
        if re.fullmatch(r"[ -~]+", str(message.get(name, ""))):
            headers[name] = message[name]
    request = urllib.request.Request(message["events_url"], json.dumps(event).encode(), headers)
    deadline, wait = time.monotonic() + bound, 0.1
    while True:
        status, answer, retry_after = send(request)
        if status not in (0, 429) and status < 500:
            return answer | {"status": status, "retry_after": retry_after}
        pause = max(retry_after, random.uniform(0, wait))
        if time.monotonic() + pause > deadline:
            return {"status": status, "retry_after": retry_after}
        time.sleep(pause)
        wait = min(2 * wait, 5)


def send(request):
    """Send a request once; status 0 = it is unknown what became of it."""
    try:
        try:
            response = OPENER.open(request, timeout=10)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            status, body = response.status, response.read(MAX_ANSWER)
            seconds = response.headers.get("Retry-After", "")
    except (OSError, http.client.HTTPException) as error:
        print(f"worker: no answer: {error}", flush=True)
        return 0, {}, 0
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):  # a gateway in front, in its own words
        answer, status = {}, 0 if status == 200 else status
    return status, answer, int(seconds) if seconds.isdecimal() else 0


class Attempt:
    """One attempt at a task, under this worker's lease."""

    def __init__(self, message, number):
        self.message, self.number = message, number
        self.cancelled = threading.Event()  # somebody asked to cancel, or it is lost
        self.lost = None  # the answer after which nothing more is to be reported
        self.done = threading.Event()

    def report(self, kind, **members):
        """Send heartbeat or progress, and take note of the answer."""
        if self.lost:
            return
        event = {"type": kind, "attempt": self.number, "lease_seconds": LEASE_SECONDS, **members}
        answer = post(self.message, event, LEASE_SECONDS / 3)
        if answer.get("code") in ("stale-attempt", "finished", "cancelled", "expired", "unknown-task"):
            self.lost = answer
        if self.lost or answer.get("cancel_requested"):
            self.cancelled.set()

    def heartbeats(self):
        while not self.lost and not self.done.wait(LEASE_SECONDS / 3):
            self.report("heartbeat")

    def run(self, args, kwargs):
        """Run the task's function, and return the event that says how it went."""
        name = self.message["task_name"]
        beating = threading.Thread(target=self.heartbeats, daemon=True)
        beating.start()
        try:
            if name not in TASKS:  # the worker that knows it may be on its way
                raise LookupError(f"this worker has no task {name!r}")
            if self.message.get("takes_context"):
                args = [self, *args]
            try:
                inspect.signature(TASKS[name]).bind(*args, **kwargs)
            except TypeError as error:
                raise Permanent(f"{name}: {error}") from None
            value = TASKS[name](*args, **kwargs)
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError) as error:
                raise Permanent(f"the result is not JSON: {error}") from None
            return {"type": "succeeded", "return_value": value}
        except Exception as error:
            if self.cancelled.is_set():
                return {"type": "cancelled"}
            return failed(error, traceback.format_exc(), retryable=not isinstance(error, Permanent))
        finally:
            self.done.set()
            beating.join()

    def finish(self, event):
        """Report how the attempt ended, unless it is lost."""
        if self.lost:
            return self.lost
        answer = post(self.message, event | {"attempt": self.number}, LEASE_SECONDS)
        if event["type"] == "succeeded" and answer["status"] in (400, 413, 422):
            refused = ValueError(f"the result was refused: {answer.get('detail', answer['status'])}")
            return self.finish(failed(refused, str(refused), retryable=False))
        return answer


def failed(error, text, retryable):
    # Django imports the class, and it does not have this file's: name a builtin.
    kind = next(c for c in type(error).__mro__ if c.__module__ == "builtins")
    text = text.encode("utf-8", "replace").decode()[-65536:]
    return {
        "type": "failed",
        "error": {"exception_class_path": f"builtins.{kind.__name__}", "traceback": text},
        "retryable": retryable,
    }


def process(body, envelope=None):
    """Run the task of a message; return whether to acknowledge it, and else
    after how many seconds it should be delivered again (0 = unknown)."""
    try:
        message = dict(json.loads(body))
        if "id" not in message and envelope:  # PAYLOAD plain: the rest came beside it
            message |= json.loads(envelope)
        check(message)
    except (ValueError, TypeError) as error:
        print(f"worker: message refused: {error}", flush=True)
        return False, 0  # it ends in the dead-letter queue

    label = f"{message['task_name']} {message['id']}"
    started = {"type": "started", "worker_id": WORKER_ID, "delivery_id": str(uuid.uuid4()), "lease_seconds": LEASE_SECONDS}
    # A lost answer's lease runs already: leave time for the first heartbeat.
    answer = post(message, started, LEASE_SECONDS / 3)
    if answer["status"] != 200:
        print(f"worker: {label} not started: {answer['status']} {answer.get('code', '')}", flush=True)
        return answer.get("acknowledge", False), answer["retry_after"]

    given = answer if message.get("offloaded") else message
    attempt = Attempt(message, answer["attempt"])
    event = attempt.run(given.get("args", []), given.get("kwargs", {}))
    answer = attempt.finish(event)
    print(f"worker: {label} attempt {attempt.number} {event['type']}: {answer['status']}", flush=True)
    return answer.get("acknowledge", False), answer["retry_after"]


def check(message):
    """Refuse what cannot be reported on. And whoever can write to the queue
    must not choose where this worker sends requests."""
    for name in ("task_name", "id", "token", "events_url"):
        if not isinstance(message.get(name), str):
            raise ValueError(f"it has no {name}")
    if message.get("v") != 1:
        raise ValueError(f"it is of version {message.get('v')}")
    base, rest = message["events_url"][: len(EVENTS_BASE)], message["events_url"][len(EVENTS_BASE) :]
    if base != EVENTS_BASE or not re.fullmatch(r"[\w-]+(/[\w-]+)*", rest, re.ASCII):
        raise ValueError("its events_url is not below TASKGATE_EVENTS_BASE")
    if not re.fullmatch(r"[!-~]+", message["token"]):
        raise ValueError("its token is not a token")


# --- The push target -----------------------------------------------------------


class Push(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        acknowledge, delay = process(body, self.headers.get("Taskgate-Envelope"))
        self.send_response(204 if acknowledge else 503)
        if delay and not acknowledge:
            self.send_header("Retry-After", str(delay))
        self.end_headers()

    def log_message(self, *args):
        pass  # process() has printed what matters


def main():
    parser = argparse.ArgumentParser(description="Run tasks that taskgate pushes.")
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "9000")), help="0 = any free one")
    server = ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Push)
    print(f"worker: listening on http://127.0.0.1:{server.server_port}, reporting below {EVENTS_BASE}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass  # what still runs is delivered again once its lease has lapsed


if __name__ == "__main__":
    main()

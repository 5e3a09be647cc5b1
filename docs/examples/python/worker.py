"""A taskgate worker in Python. It needs the standard library only.

taskgate pushes each message to it over HTTP:

    TASKGATE_WORKER_URL=http://127.0.0.1:9000 taskgate
    TASKGATE_EVENTS_BASE=http://127.0.0.1:8080 python3 worker.py --port 9000

A worker behind SQS or another queue differs only in its last part: receive a
message, call process(), and delete the message if process() says so.
"""

import argparse
import email.utils
import http.client
import inspect
import json
import math
import os
import random
import re
import socket
import sys
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
MAX_TRACEBACK = 65536  # characters
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
            raise Permanent("cancelled")  # any exception will do: the worker reports cancelled
    return seconds


TASKS = {"add": add, "echo": echo, "sleep": sleep}


# --- JSON ----------------------------------------------------------------------


def parse(text):
    """Return the JSON value, and None or why Python cannot hold all of it.

    Python refuses integers of more than 4,300 digits and turns 1e400 into
    infinity; JSON allows both. In a value with such a number, all numbers are
    strings: the rest can still be read. (sys.set_int_max_str_digits allows
    longer integers.) Raises ValueError for what is not JSON.
    """
    try:
        return json.loads(text, parse_float=finite, parse_constant=not_json), None
    except (ValueError, RecursionError) as error:
        reason = error
    try:
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=not_json), reason
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def finite(text):
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:40]} is too large for a float")
    return number


def not_json(name):
    raise ValueError(f"{name} is not JSON")


# --- Reports -----------------------------------------------------------------


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take the task's token to an origin nobody configured."""

    def redirect_request(self, *args):
        return None


OPENER = urllib.request.build_opener(NoRedirect, urllib.request.ProxyHandler({}))


def post(message, event, bound):
    """POST an event until the answer is final, for at most bound seconds.

    After a network error, 429 and 5xx the event is sent again: every event may
    be repeated. Returns the answer, or the problem, with the members status,
    retry_after (in seconds) and unreadable (None, or why Python cannot hold it).
    """
    headers = {"Content-Type": "application/json", "Taskgate-Token": message["token"]}
    for name in ("traceparent", "tracestate"):
        if re.fullmatch(r"[ -~]+", str(message.get(name, ""))):
            headers[name] = message[name]
    request = urllib.request.Request(message["events_url"], json.dumps(event).encode(), headers)
    deadline, wait = time.monotonic() + bound, 0.1
    while True:
        answer = send(request)
        if answer["status"] not in (0, 429) and answer["status"] < 500:
            return answer
        pause = max(answer["retry_after"], random.uniform(0, wait))
        if time.monotonic() + pause > deadline:
            return {"status": answer["status"], "retry_after": answer["retry_after"]}
        time.sleep(pause)
        wait = min(2 * wait, 5)


def send(request):
    """Send a request once. Status 0 means: nobody knows what became of it."""
    try:
        try:
            response = OPENER.open(request, timeout=10)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            status, body = response.status, response.read(MAX_ANSWER)
            retry_after = seconds_of(response.headers.get("Retry-After", ""))
    except (OSError, http.client.HTTPException) as error:
        log(f"no answer: {error}")
        return {"status": 0, "retry_after": 0}
    try:
        answer, unreadable = parse(body)
    except ValueError:
        answer = unreadable = None
    if not isinstance(answer, dict):  # the answer of a gateway in front of the service
        answer, status = {}, 0 if status == 200 else status
    return answer | {"status": status, "retry_after": retry_after, "unreadable": unreadable}


def seconds_of(retry_after):
    """Return what Retry-After says, seconds or a date, in seconds from 0 to 3600."""
    if re.fullmatch(r"[0-9]+", retry_after, re.ASCII):
        return min(int(retry_after.lstrip("0")[:9] or "0"), 3600)
    try:
        until = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (TypeError, ValueError, OverflowError):
        return 0
    return math.ceil(min(max(until, 0), 3600))


def log(text):
    print("worker:", text.encode("ascii", "backslashreplace").decode(), flush=True)


class Attempt:
    """One attempt at a task, under this worker's lease."""

    def __init__(self, message, number):
        self.message, self.number = message, number
        self.cancelled = threading.Event()  # a cancel was requested, or the attempt is lost
        self.lost = None  # the answer that ended the attempt: report nothing more
        self.done = threading.Event()

    def report(self, kind, **members):
        """Send a heartbeat or progress, and obey the answer."""
        if self.lost:
            return
        event = {"type": kind, "attempt": self.number, "lease_seconds": LEASE_SECONDS, **members}
        answer = post(self.message, event, LEASE_SECONDS / 3)
        # Only these codes end the attempt. A 404 of a gateway does not.
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
        try:
            beating.start()
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
            except Exception as error:
                raise Permanent(f"the result is not JSON: {error}") from None
            return {"type": "succeeded", "return_value": value}
        # SystemExit and KeyboardInterrupt too: they would end only this thread,
        # and nobody would report the task.
        except BaseException as error:
            if self.cancelled.is_set():
                return {"type": "cancelled"}
            return failed(error, retryable=not isinstance(error, Permanent))
        finally:
            self.done.set()
            if beating.is_alive():
                beating.join()

    def finish(self, event):
        """Report how the attempt ended, unless it is lost."""
        if self.lost:
            return self.lost
        answer = post(self.message, event | {"attempt": self.number}, LEASE_SECONDS)
        if event["type"] == "succeeded" and answer["status"] in (400, 413, 422):
            return self.finish(failed(ValueError(f"the result was refused: {answer.get('detail', answer['status'])}"), retryable=False))
        return answer


def failed(error, retryable):
    """Return the event that reports an exception."""
    # Django imports the class, and does not have the modules of this worker: name a builtin.
    kind = next(c for c in type(error).__mro__ if c.__module__ == "builtins")
    try:
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except BaseException:  # the exception's own methods fail
        text = f"{type(error).__qualname__}: its traceback cannot be printed"
    return {
        "type": "failed",
        "error": {"exception_class_path": f"builtins.{kind.__name__}", "traceback": shorten(text)},
        "retryable": retryable,
    }


def shorten(text):
    """Make a text fit into an event. A text that is too long keeps its beginning
    and its end, with a line between that says how much is missing."""
    text = re.sub("[\ud800-\udfff]", "\ufffd", text)  # no JSON text has half a surrogate pair
    half = (MAX_TRACEBACK - 100) // 2
    if len(text) > MAX_TRACEBACK:
        text = f"{text[:half]}\n… {len(text) - 2 * half} characters are left out …\n{text[-half:]}"
    return text


def process(body, envelope=None):
    """Run the task of a message. Return whether to acknowledge the message, and
    if not, how many seconds to wait before the next delivery (0 = unknown)."""
    try:
        message, unreadable = parse(body)
        message = dict(message)
        if "id" not in message and envelope:  # PAYLOAD plain: the rest came beside it
            message |= json.loads(envelope)
        check(message)
    except (ValueError, TypeError) as error:
        log(f"message refused: {error}")
        return False, 0  # it ends in the dead-letter queue

    label = f"{message['task_name']} {message['id']}"
    started = {"type": "started", "worker_id": WORKER_ID, "delivery_id": str(uuid.uuid4()), "lease_seconds": LEASE_SECONDS}
    # If an answer is lost, the lease runs already: leave time for the first heartbeat.
    answer = post(message, started, LEASE_SECONDS / 3)
    if answer["status"] != 200:
        log(f"{label} not started: {answer['status']} {answer.get('code', '')}")
        return answer.get("acknowledge", False), answer["retry_after"]

    given, unreadable = (answer, answer["unreadable"]) if message.get("offloaded") else (message, unreadable)
    attempt = Attempt(message, int(answer["attempt"]))
    if unreadable:
        event = failed(Permanent(f"the arguments cannot be read: {unreadable}"), retryable=False)
    else:
        event = attempt.run(given.get("args", []), given.get("kwargs", {}))
    answer = attempt.finish(event)
    log(f"{label} attempt {attempt.number} {event['type']}: {answer['status']}")
    return answer.get("acknowledge", False), answer["retry_after"]


def check(message):
    """Refuse a message that cannot be reported on. Reports go below EVENTS_BASE
    only: who can write to the queue must not choose where they are sent."""
    for name in ("task_name", "id", "token", "events_url"):
        if not isinstance(message.get(name), str):
            raise ValueError(f"it has no {name}")
    if message.get("v") not in (1, "1"):  # parse() may have left numbers as strings
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
        # 503 would mean that this was no delivery, and process() may have sent events.
        self.send_response(204 if acknowledge else 500)
        if delay and not acknowledge:
            self.send_header("Retry-After", str(delay))
        self.end_headers()

    def log_message(self, *args):
        pass  # process() prints what matters


def main():
    parser = argparse.ArgumentParser(description="Run tasks that taskgate pushes.")
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "9000")), help="0 = any free one")
    if not re.fullmatch(r"https?://[!-?A-~]+", EVENTS_BASE):
        sys.exit("TASKGATE_EVENTS_BASE must be an http or https URL without a user name, spaces and line breaks")
    server = ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Push)
    print(f"worker: listening on http://127.0.0.1:{server.server_port}, reporting below {EVENTS_BASE}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass  # a task that still runs is delivered again once its lease has lapsed


if __name__ == "__main__":
    main()

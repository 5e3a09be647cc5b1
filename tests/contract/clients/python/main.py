"""Enqueues a task, waits for it and lists it, with a client that openapi-python-client has generated."""

import sys

from client import Client
from client.api.tasks import enqueue_task, get_task, list_tasks
from client.models import Status, Task, TaskList, TaskRequest

client = Client(base_url=sys.argv[1])

task = enqueue_task.sync(client=client, body=TaskRequest(task_name="add", args=[1, 2]))
assert isinstance(task, Task), task
done = get_task.sync(task.id, client=client, wait=20)
assert isinstance(done, Task), done
assert done.status == Status.SUCCESSFUL and done.return_value == 3, done
page = list_tasks.sync(client=client, task_name="add")
assert isinstance(page, TaskList), page
assert [t.id for t in page.items] == [task.id], page

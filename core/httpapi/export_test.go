package httpapi

import "github.com/taskgate/taskgate/core/task"

// StatusOf is the table from kinds to HTTP, for its test.
func StatusOf() map[task.Kind]int {
	statuses := map[task.Kind]int{}
	for kind, m := range meanings {
		statuses[kind] = m.status
	}
	return statuses
}

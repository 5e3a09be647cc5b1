package rig

// Committer is the one goroutine that commits for a database which does not
// itself let concurrent writes share an fsync: whatever waits goes into the next
// transaction, with no timer.
type Committer struct {
	jobs  chan job
	ended chan struct{}
}

type job struct {
	task Task
	done chan error
}

// NewCommitter starts a committer; commit writes all the tasks in one durable
// transaction.
func NewCommitter(commit func([]Task) error) *Committer {
	c := &Committer{jobs: make(chan job, 256), ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		for first := range c.jobs {
			jobs, tasks := []job{first}, []Task{first.task}
			for len(c.jobs) > 0 {
				next := <-c.jobs
				jobs, tasks = append(jobs, next), append(tasks, next.task)
			}
			err := commit(tasks)
			for _, j := range jobs {
				j.done <- err
			}
		}
	}()
	return c
}

// Enqueue returns when the task's transaction is on disk.
func (c *Committer) Enqueue(t Task) error {
	j := job{t, make(chan error, 1)}
	c.jobs <- j
	return <-j.done
}

// Stop waits for what was handed in.
func (c *Committer) Stop() {
	close(c.jobs)
	<-c.ended
}

package histories

// operate applies a get, a cancel or an event, and returns how it is answered.
// late means that the lease of the running attempt has lapsed.
func (s *state) operate(in call, late bool) verdict {
	if !s.exists {
		return verdict{status: 404, code: "unknown-task"}
	}
	live := s.running && !late
	if s.running && late && s.asked { // its worker was asked to stop and fell silent
		s.endAttempt(lapsed, 1)
		s.finish(cancelled, 1)
	}
	switch in.kind {
	case get:
		return verdict{status: 200}
	case cancel:
		return s.cancel(live)
	}
	if v, repeated := s.repeated(in, live); repeated {
		return v
	}
	if s.end != "" {
		code := "finished"
		if s.end == cancelled {
			code = "cancelled"
		}
		return verdict{status: 410, code: code, ack: true}
	}
	return s.event(in, live)
}

// cancel ends a task that no worker runs, and asks the worker that runs it to stop.
func (s *state) cancel(live bool) verdict {
	switch {
	case s.end == cancelled:
		return verdict{status: 200, outcome: "prevented"}
	case s.end != "":
		return verdict{status: 410, code: "finished"}
	case live:
		s.asked = true
		return verdict{status: 200, outcome: "requested"}
	}
	if s.running {
		s.endAttempt(lapsed, 1)
	}
	s.finish(cancelled, 1)
	return verdict{status: 200, outcome: "prevented"}
}

// repeated handles an event that has taken effect before: it has the same answer,
// and changes nothing.
func (s *state) repeated(in call, live bool) (verdict, bool) {
	took := verdict{status: 200, ack: s.end != ""}
	switch in.kind {
	case started:
		return took, live && s.delivery == in.delivery
	case deadLettered:
		return took, s.end == deadLettered
	case succeeded:
		return took, s.ended[in.attempt] == succeeded[0] && s.value == in.value
	case failed, cancelled:
		return took, s.ended[in.attempt] == in.kind[0]
	}
	return took, false
}

// event applies an event to an unfinished task for the first time.
func (s *state) event(in call, live bool) verdict {
	held := verdict{status: 409, code: "lease-held"}
	switch in.kind {
	case started:
		if live {
			return held
		}
		if s.running {
			s.endAttempt(lapsed, 1)
			if s.attempts == s.limit {
				s.finish(lapsed, 0)
				return verdict{status: 410, code: "finished", ack: true}
			}
		}
		s.attempts++
		s.running, s.delivery, s.progress = true, in.delivery, 0
		s.lapse, s.alive = in.from+in.lease, in.to+in.lease
		return verdict{status: 200}
	case deadLettered:
		if live {
			return held
		}
		if s.running {
			s.endAttempt(lapsed, 1)
		}
		s.finish(deadLettered, 1)
		return verdict{status: 200, ack: true}
	}
	if !s.running || in.attempt != s.attempts { // fenced
		return verdict{status: 409, code: "stale-attempt"}
	}
	switch in.kind {
	case heartbeat, progress:
		s.lapse, s.alive = max(s.lapse, in.from+in.lease), max(s.alive, in.to+in.lease)
		if in.kind == progress {
			s.progress = in.value
		}
	case succeeded:
		s.endAttempt(succeeded, 0)
		s.finish(succeeded, 0)
		s.value = in.value
	case failed:
		s.endAttempt(failed, 1)
		if !in.retry || s.attempts == s.limit {
			s.finish(failed, 0)
		} else if s.asked {
			s.finish(cancelled, 1)
		}
	case cancelled:
		if !s.asked {
			return verdict{status: 409, code: "cancel-not-requested"}
		}
		s.endAttempt(cancelled, 0)
		s.finish(cancelled, 1)
	}
	return verdict{status: 200, ack: s.end != ""}
}

func (s *state) endAttempt(how string, errors int8) {
	s.ended[s.attempts] = how[0]
	s.running, s.lapse, s.alive = false, 0, 0
	s.errors += errors
}

func (s *state) finish(how string, errors int8) {
	s.end = how
	s.errors += errors
}

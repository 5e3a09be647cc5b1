// Package schedulerdouble is a stand-in for EventBridge Scheduler, which no emulator fires. It serves
// CreateSchedule, GetSchedule and DeleteSchedule to the unmodified SDK, refuses what the service
// refuses, and fires one-time schedules at real targets when the test moves its clock.
//
// API: https://docs.aws.amazon.com/scheduler/latest/APIReference/Welcome.html
package schedulerdouble

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskgate/taskgate/tests/emulators/awsemu"
)

// Schedule is a schedule as CreateSchedule takes it; GetSchedule gives it back.
// https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html
type Schedule struct {
	Name                       string
	GroupName                  string
	ClientToken                string `json:",omitempty"`
	Description                string `json:",omitempty"`
	ScheduleExpression         string
	ScheduleExpressionTimezone string
	State                      string
	ActionAfterCompletion      string
	FlexibleTimeWindow         *FlexibleTimeWindow
	Target                     *Target

	due      time.Time
	attempts int  // failed deliveries so far
	done     bool // delivered, and kept: ActionAfterCompletion is NONE
}

// FlexibleTimeWindow says how late a schedule may fire; the double fires at the start of the window.
type FlexibleTimeWindow struct {
	Mode                   string
	MaximumWindowInMinutes int `json:",omitempty"`
}

// Target is what a schedule invokes.
// https://docs.aws.amazon.com/scheduler/latest/APIReference/API_Target.html
type Target struct {
	Arn           string
	RoleArn       string
	Input         string         `json:",omitempty"`
	SqsParameters *SqsParameters `json:",omitempty"`
}

// SqsParameters is what only an SQS target has.
type SqsParameters struct{ MessageGroupId string }

// Scheduler is the running double. Its methods may be called from several goroutines.
type Scheduler struct {
	server  *httptest.Server
	targets Targets

	mu        sync.Mutex
	now       time.Time
	groups    map[string]bool
	schedules map[string]*Schedule // by group/name
	firings   int
}

// New starts a double whose clock stands at now, with the one group "default", for as long as the
// test runs.
func New(t testing.TB, now time.Time, targets Targets) *Scheduler {
	t.Helper()
	s := &Scheduler{targets: targets, now: now, groups: map[string]bool{"default": true}, schedules: map[string]*Schedule{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /schedules/{name}", s.create)
	mux.HandleFunc("GET /schedules/{name}", s.get)
	mux.HandleFunc("DELETE /schedules/{name}", s.remove)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, &refusal{http.StatusNotFound, "UnknownOperationException", "the double does not serve " + r.Method + " " + r.URL.Path})
	})
	s.server = httptest.NewServer(mux)
	t.Cleanup(s.server.Close)
	return s
}

// URL is the double's endpoint.
func (s *Scheduler) URL() string { return s.server.URL }

// AddGroup makes a schedule group.
func (s *Scheduler) AddGroup(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups[name] = true
}

// Schedules are the schedules that exist now, the earliest first.
func (s *Scheduler) Schedules() []Schedule {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Schedule, 0, len(s.schedules))
	for _, schedule := range s.schedules {
		all = append(all, *schedule)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].due.Before(all[j].due) })
	return all
}

// Due is when a schedule fires.
func (s Schedule) Due() time.Time { return s.due }

func (s Schedule) arn() string {
	return awsemu.ARN("scheduler", "schedule/"+s.GroupName+"/"+s.Name)
}

// refusal is an error answer.
type refusal struct {
	status  int
	code    string
	message string
}

func refuse(w http.ResponseWriter, r *refusal) {
	w.Header().Set("X-Amzn-Errortype", r.code)
	answer(w, r.status, map[string]string{"Message": r.message})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Amzn-Requestid", "00000000-0000-0000-0000-000000000000")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func (s *Scheduler) create(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	made := Schedule{GroupName: "default", State: "ENABLED", ScheduleExpressionTimezone: "UTC", ActionAfterCompletion: "NONE"}
	if err := json.Unmarshal(body, &made); err != nil {
		refuse(w, &refusal{http.StatusBadRequest, "SerializationException", err.Error()})
		return
	}
	made.Name = r.PathValue("name")

	s.mu.Lock()
	defer s.mu.Unlock()
	if refused := made.validate(s.now); refused != nil {
		refuse(w, refused)
		return
	}
	if !s.groups[made.GroupName] {
		refuse(w, notFound("Schedule group %s does not exist.", made.GroupName))
		return
	}
	// A repeated request with its client token gets its first answer; any other request for a taken
	// name is a conflict. The token's life is not documented: here it ends with its schedule.
	// https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html#API_CreateSchedule_Errors
	if old := s.schedules[made.key()]; old != nil {
		if made.ClientToken == "" || !old.equal(made) {
			refuse(w, &refusal{http.StatusConflict, "ConflictException", "Schedule " + made.Name + " already exists."})
			return
		}
	} else {
		s.schedules[made.key()] = &made
	}
	answer(w, http.StatusOK, map[string]string{"ScheduleArn": made.arn()})
}

// equal compares what was asked for, client token included.
func (s Schedule) equal(other Schedule) bool {
	a, aerr := json.Marshal(s)
	b, berr := json.Marshal(other)
	return aerr == nil && berr == nil && bytes.Equal(a, b)
}

func (s Schedule) key() string { return s.GroupName + "/" + s.Name }

// find looks a schedule up by the name and the groupName of a request.
func (s *Scheduler) find(r *http.Request) (*Schedule, *refusal) {
	wanted := Schedule{Name: r.PathValue("name"), GroupName: r.URL.Query().Get("groupName")}
	if wanted.GroupName == "" {
		wanted.GroupName = "default"
	}
	if found := s.schedules[wanted.key()]; found != nil {
		return found, nil
	}
	return nil, notFound("Schedule %s does not exist.", wanted.Name)
}

// https://docs.aws.amazon.com/scheduler/latest/APIReference/API_GetSchedule.html
func (s *Scheduler) get(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, refused := s.find(r)
	if refused != nil {
		refuse(w, refused)
		return
	}
	answer(w, http.StatusOK, struct {
		Schedule
		Arn         string
		ClientToken string `json:",omitempty"` // not given back
	}{Schedule: *found, Arn: found.arn()})
}

// https://docs.aws.amazon.com/scheduler/latest/APIReference/API_DeleteSchedule.html
func (s *Scheduler) remove(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, refused := s.find(r)
	if refused != nil {
		refuse(w, refused)
		return
	}
	delete(s.schedules, found.key())
	answer(w, http.StatusOK, struct{}{})
}

func notFound(format, name string) *refusal {
	return &refusal{http.StatusNotFound, "ResourceNotFoundException", strings.Replace(format, "%s", name, 1)}
}

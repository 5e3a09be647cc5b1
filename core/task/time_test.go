package task_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/taskgate/taskgate/core/task"
)

func TestTimesHaveSixFractionDigits(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	instants := []time.Time{time.Unix(0, 0), time.Unix(0, 1), time.Unix(-1, 999_999_999)}
	for range 1000 { // to the year 10000, and some beyond
		instants = append(instants, time.Unix(random.Int64N(254_000_000_000), random.Int64N(1_000_000_000)))
	}
	for _, instant := range instants {
		at := task.At(instant)
		want := at.Format("2006-01-02T15:04:05.000000Z")
		text, err := json.Marshal(at)
		if err != nil || string(text) != `"`+want+`"` || at.String() != want {
			t.Fatalf("%v is written %s and %s: %v, want %s", instant, text, at, err, want)
		}
		var back task.Time
		if err := json.Unmarshal(text, &back); at.Year() < 10000 && (err != nil || back != at) {
			t.Fatalf("%s is read as %v: %v", text, back, err)
		}
	}
}

package storetest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/storetest"
)

func TestMutantsOfReadsAreCaught(t *testing.T) {
	for _, m := range []mutant{
		{"what is not there is Unavailable", func(good task.Store) task.Store {
			return &broken{Store: good, get: func(ctx context.Context, id string) (*task.Record, error) {
				r, err := good.Get(ctx, id)
				if task.KindOf(err) == task.NotStored {
					return nil, task.Errorf(task.Unavailable, "not found")
				}
				return r, err
			}}
		}, []string{neverStored, readsWrites, missingConflicts, refusesOversize, honoursContext}},

		{"what is not there is nil without an error", func(good task.Store) task.Store {
			return &broken{Store: good, get: func(ctx context.Context, id string) (*task.Record, error) {
				r, err := good.Get(ctx, id)
				if task.KindOf(err) == task.NotStored {
					return nil, nil
				}
				return r, err
			}}
		}, []string{neverStored, readsWrites, missingConflicts, refusesOversize, honoursContext}},

		{"the first read after a replace is of the record before", lagging, []string{readsWrites, replaces, staleConflicts,
			oneReplaceWins, foundReplaceable, keepsFields, keepsBare, keepsNumbers, keepsText, keepsMicroseconds, holdsLarge, passedInNotKept}},

		{"returned records are one and the same", func(good task.Store) task.Store {
			cache := map[string]*task.Record{}
			one := func(r *task.Record) *task.Record {
				if cached := cache[r.ID+r.Revision]; cached != nil {
					return cached
				}
				cache[r.ID+r.Revision] = r
				return r
			}
			return &broken{Store: good, get: func(ctx context.Context, id string) (*task.Record, error) {
				r, err := good.Get(ctx, id)
				if err == nil {
					r = one(r)
				}
				return r, err
			}}
		}, []string{returnedIsOwn}},

		{"listed records are one and the same", func(good task.Store) task.Store {
			cache := map[string]*task.Record{}
			return &broken{Store: good, list: func(ctx context.Context, q task.Query) (task.Page, error) {
				page, err := good.List(ctx, q)
				for i, r := range page.Records {
					if cached := cache[r.ID+r.Revision]; cached != nil {
						page.Records[i] = cached
					}
					cache[r.ID+r.Revision] = page.Records[i]
				}
				return page, err
			}}
		}, []string{returnedIsOwn}},

		{"numbers go through a float", changing(regexp.MustCompile(`\b\d[\d.]+\b`), func(n string) string {
			f, err := strconv.ParseFloat(n, 64)
			if err != nil {
				return n
			}
			return strconv.FormatFloat(f, 'g', -1, 64)
		}), []string{keepsNumbers}},
		{"text is escaped for HTML", changing(regexp.MustCompile(`[<>&]`), func(c string) string {
			return fmt.Sprintf(`\u%04x`, c[0])
		}), []string{keepsText}},
		{"U+2028 is escaped", changing(regexp.MustCompile("\u2028"), func(string) string { return `\u2028` }), []string{keepsText}},
		{"escapes are resolved", changing(regexp.MustCompile(`\\u00e9`), func(string) string { return "é" }), []string{keepsText}},
		{"U+FFFE becomes U+FFFD", changing(regexp.MustCompile("\ufffe"), func(string) string { return "\ufffd" }), []string{keepsText}},
		{"insignificant space is lost", func(good task.Store) task.Store {
			return reading(good, func(r *task.Record) {
				var b bytes.Buffer
				if json.Compact(&b, []byte(r.Args)) == nil {
					r.Args = b.String()
				}
			})
		}, []string{keepsText}},
		{"names are sorted", func(good task.Store) task.Store {
			return reading(good, func(r *task.Record) {
				var members map[string]json.RawMessage
				if json.Unmarshal([]byte(r.Kwargs), &members) == nil && len(members) > 2 {
					text, _ := json.Marshal(members)
					r.Kwargs = string(text)
				}
			})
		}, []string{keepsText}},

		{"times are cut to milliseconds", func(good task.Store) task.Store {
			return reading(good, func(r *task.Record) {
				for _, t := range []*task.Time{&r.EnqueuedAt, &r.StartedAt, &r.RunAfter, &r.LeaseUntil} {
					t.Time = t.Truncate(time.Millisecond)
				}
			})
		}, []string{keepsMicroseconds}},
		{"times come back in another zone", func(good task.Store) task.Store {
			zone := time.FixedZone("", 3600)
			return reading(good, func(r *task.Record) {
				if !r.LeaseUntil.IsZero() {
					r.LeaseUntil.Time = r.LeaseUntil.In(zone)
				}
			})
		}, []string{keepsFields, keepsMicroseconds, createsOnce, replaces, returnedIsOwn, listsLatest, honoursContext}},

		{"a large record is cut", func(good task.Store) task.Store {
			return reading(good, func(r *task.Record) {
				if len(r.Args) > payloadBytes/2 {
					r.Args = r.Args[:payloadBytes/2]
				}
			})
		}, []string{holdsLarge}},
		{"a large record is Oversize before its time", func(good task.Store) task.Store {
			return &broken{Store: good, create: func(ctx context.Context, r *task.Record) (*task.Record, error) {
				if len(r.Args) > payloadBytes*8/10 {
					return nil, task.Errorf(task.Oversize, "too large")
				}
				return good.Create(ctx, r)
			}}
		}, []string{holdsLarge}},
	} {
		t.Run(m.name, func(t *testing.T) {
			caughtBy(t, func() storetest.Subject { return subject(m.defect(newStore())) }, m.caught...)
		})
	}
}

// changing is a store that rewrites the JSON texts of a record.
func changing(what *regexp.Regexp, to func(string) string) func(task.Store) task.Store {
	return func(good task.Store) task.Store {
		return reading(good, func(r *task.Record) {
			for _, text := range []*string{&r.Args, &r.Kwargs, &r.ReturnValue} {
				*text = what.ReplaceAllStringFunc(*text, to)
			}
		})
	}
}

// lagging is a store whose replicas show a replace from the second read on.
func lagging(good task.Store) task.Store {
	var mu sync.Mutex
	before := map[string]*task.Record{}
	return &broken{Store: good,
		replace: func(ctx context.Context, r *task.Record) error {
			there, _ := good.Get(ctx, r.ID)
			err := good.Replace(ctx, r)
			if err == nil {
				mu.Lock()
				before[r.ID] = there
				mu.Unlock()
			}
			return err
		},
		get: func(ctx context.Context, id string) (*task.Record, error) {
			mu.Lock()
			defer mu.Unlock()
			if old := before[id]; old != nil && ctx.Err() == nil {
				delete(before, id)
				return old, nil
			}
			return good.Get(ctx, id)
		},
	}
}

// A process that keeps what it read shows an old record when another process
// has written.
func TestMutantThatCachesReadsIsCaught(t *testing.T) {
	caughtBy(t, func() storetest.Subject {
		good := newStore()
		cache := map[string]*task.Record{}
		s := subject(good)
		s.Another = &broken{Store: good, get: func(ctx context.Context, id string) (*task.Record, error) {
			if cached := cache[id]; cached != nil {
				return cached, nil
			}
			r, err := good.Get(ctx, id)
			cache[id] = r
			return r, err
		}}
		return s
	}, readsWrites)
}

// Whatever field a store forgets, now or when there are more, a case misses it.
func TestMutantThatDropsAFieldIsCaughtForEveryField(t *testing.T) {
	fields := reflect.TypeFor[task.Record]()
	for i := range fields.NumField() {
		name := fields.Field(i).Name
		if name == "Revision" || name == "Fresh" {
			continue // neither is a part of what is stored
		}
		t.Run(name, func(t *testing.T) {
			forgets := reading(newStore(), func(r *task.Record) { reflect.ValueOf(r).Elem().Field(i).SetZero() })
			for _, c := range storetest.Cases() {
				if c.Name == keepsFields && c.Check(t.Context(), subject(forgets)) == nil {
					t.Errorf("not caught: does the record of that case set %s?", name)
				}
			}
		})
	}
}

package storetest_test

import "github.com/taskgate/taskgate/core/task"

// The names of the cases, short.
const (
	createsNew        = "create stores a new record and sets its revision"
	createsOnce       = "create of an id that is there changes nothing and returns what is there"
	createsOnceV7     = "create of an id of version 7 returns what is there, unless the id is fresh"
	foundReplaceable  = "the record that create found can be replaced"
	oneCreateWins     = "of 32 concurrent creates one wins and the others return its record"
	neverStored       = "get of an id that was never stored is NotStored"
	readsWrites       = "get sees every write that has returned"
	replaces          = "replace stores the record and sets its new revision"
	staleConflicts    = "replace at a stale revision conflicts and changes nothing"
	missingConflicts  = "replace of a record that is not there conflicts and creates nothing"
	oneReplaceWins    = "of 32 concurrent replaces one wins each round"
	freshRevisions    = "every write makes a revision that was never there before"
	replacedMoves     = "a record replaced with another enqueued_at moves in the listing"
	keepsFields       = "every field comes back as it was"
	keepsBare         = "a record with hardly a field set comes back as it was"
	keepsNumbers      = "numbers come back digit for digit"
	keepsText         = "text comes back byte for byte"
	keepsMicroseconds = "times keep their microseconds"
	passedInNotKept   = "a record passed in is not kept"
	returnedIsOwn     = "a record returned is the caller's own"
	holdsLarge        = "a record as large as the store says it holds comes back"
	refusesOversize   = "a record that is too large is Oversize and changes nothing"
	honoursContext    = "a request that has ended is Unavailable and leaves nothing half-done"

	listsInOrder       = "a listing is newest first, then greatest id"
	pagesVisitAll      = "pages of every size visit each record once"
	pagesKeepLimit     = "a page is never larger than its limit"
	walksEnd           = "a walk ends with no next position"
	walksSurviveWrites = "writes during a walk neither skip nor repeat the older records"
	listsLatest        = "a listing shows whole records as they were last written"
	filtersSelect      = "each filter, alone and with others, selects exactly what it names"
	filtersReachFar    = "a filter finds what is far behind the newest"
	filtersFollow      = "a filter follows the record as it changes"
)

// mutant is a store with one defect, and the cases that catch it.
type mutant struct {
	name   string
	defect func(good task.Store) task.Store
	caught []string
}

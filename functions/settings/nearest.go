package settings

import (
	"slices"
	"strings"
)

// didYouMean returns "; did you mean X?" for the candidate nearest to name, or
// "" when none is near.
func didYouMean(name string, candidates []string) string {
	if best := nearest(name, candidates); best != "" {
		return suggest(best)
	}
	return ""
}

func suggest(name string) string { return "; did you mean " + name + "?" }

// nearest returns the candidate at the least edit distance from name, whatever
// the case, if at most two of five characters differ: beyond that, a suggestion
// misleads more often than it helps. Of equally near ones the first in order wins.
func nearest(name string, candidates []string) string {
	best, least := "", 0
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		d := distance(strings.ToLower(name), strings.ToLower(c))
		if d*5 <= max(len(name), len(c))*2 && (best == "" || d < least) {
			best, least = c, d
		}
	}
	return best
}

// distance is Levenshtein's: how many bytes to insert, delete or replace to
// turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

package settings

import (
	"slices"
	"strings"
)

// didYouMean returns "; did you mean X?" for the candidate nearest to name, or
// "" when none is near. Near means that at most two of five bytes differ: a
// suggestion beyond that misleads more often than it helps. Case does not
// count, nor does the prefix that all variables share. Of equally near
// candidates the first in order wins.
func didYouMean(name string, candidates []string) string {
	comparable := func(s string) string { return strings.ToLower(strings.TrimPrefix(s, prefix)) }
	name = comparable(name)
	best, shortest := "", 0
	for _, candidate := range slices.Sorted(slices.Values(candidates)) {
		c := comparable(candidate)
		if d := distance(name, c); d*5 <= max(len(name), len(c))*2 && (best == "" || d < shortest) {
			best, shortest = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance is Levenshtein's: the number of bytes to insert, delete or replace
// to turn a into b.
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

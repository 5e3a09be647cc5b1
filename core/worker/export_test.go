package worker

// Within is the check of a message's events_url, for its fuzz test.
func Within(base, events string) error {
	u, err := parseBase(base)
	if err != nil {
		return err
	}
	return within(u, events)
}

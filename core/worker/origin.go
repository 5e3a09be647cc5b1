package worker

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
)

// parseBase reads the base URL that all reports go below.
func parseBase(base string) (*url.URL, error) {
	u, err := url.Parse(base)
	switch {
	case base == "":
		return nil, errors.New("is missing")
	case !token(base):
		return nil, errors.New("has a space, a line break or another character that no URL has")
	case err != nil:
		return nil, errors.New("is not a URL")
	case u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "":
		return nil, errors.New("must be http:// or https:// with a host")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.RawPath != "":
		return nil, errors.New("must be a scheme, a host and at most a plain path")
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return u, nil
}

// within reports why reports must not be sent to the URL: it must have the
// base's scheme, host and port, and a path below the base's, with nothing in it
// that another parser might read in another way.
func within(base *url.URL, events string) error {
	u, err := url.Parse(events)
	switch {
	case err != nil || events == "":
		return errors.New("the message's events_url is missing or is not a URL")
	case u.Scheme != base.Scheme || !strings.EqualFold(u.Hostname(), base.Hostname()) || port(u) != port(base):
		return fmt.Errorf("the message's events_url is at %q, not at the configured base", u.Scheme+"://"+u.Host)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.RawPath != "",
		strings.ContainsRune(u.Path, '\\'), path.Clean(u.Path) != u.Path, !strings.HasPrefix(u.Path, base.Path+"/"):
		return errors.New("the message's events_url is not a plain path below the configured base")
	}
	return nil
}

// port returns the URL's port, by its scheme where it has none (RFC 9110, 4.2).
func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// token reports whether s is printable ASCII without spaces.
func token(s string) bool { return printable(s) && !strings.Contains(s, " ") }

// printable reports whether s can be sent as a header's value as it is.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

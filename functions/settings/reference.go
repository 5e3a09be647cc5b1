package settings

import (
	"strings"
	"unicode"
)

// checkFilledIn returns the rule that a value breaks if a file or a deployment
// has left something in it that is not part of the value, or "". The value may
// be a secret: an unresolved reference would be one that everybody can guess.
func checkFilledIn(v string) (rule string) {
	if strings.HasPrefix(v, byteOrderMark) {
		return "must not begin with a byte order mark (U+FEFF): save the text as UTF-8 without BOM"
	}
	if form := reference(v); form != "" {
		return "holds the reference " + form + " itself, which nothing has resolved: the platform must put the value in its place"
	}
	return ""
}

const byteOrderMark = "\ufeff"

// reference returns the form of the reference that stands in a value, or "".
//   - https://learn.microsoft.com/azure/app-service/app-service-key-vault-references
//     and https://learn.microsoft.com/azure/app-service/app-service-configuration-references
//   - https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/dynamic-references.html
//   - https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_iam-permissions.html
//     and https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-access.html
//   - ${NAME} of shells, Terraform and CloudFormation; $(NAME) of Kubernetes and Azure Pipelines
func reference(v string) (form string) {
	v = strings.TrimSpace(v)
	switch {
	case strings.Contains(strings.ToLower(v), "@microsoft."):
		return "@Microsoft.…(…)"
	case strings.Contains(v, "{{resolve:"):
		return "{{resolve:…}}"
	case strings.HasPrefix(v, "{{") && strings.HasSuffix(v, "}}"):
		return "{{…}}"
	case strings.HasPrefix(v, "arn:") && (strings.Contains(v, ":secretsmanager:") || strings.Contains(v, ":ssm:")):
		return "arn:…"
	case strings.HasPrefix(v, "<") && strings.HasSuffix(v, ">"):
		return "<…>"
	case hasName(v, "${", "}"):
		return "${…}"
	case hasName(v, "$(", ")"):
		return "$(…)"
	}
	return ""
}

// hasName reports whether v holds a name between open and end. A random secret
// may hold the signs, but hardly a name between them.
func hasName(v, open, end string) bool {
	for {
		_, rest, found := strings.Cut(v, open)
		if !found {
			return false
		}
		name, _, closed := strings.Cut(rest, end)
		if closed && name != "" && only(name, letters+digits+`_.:/-[]"`) {
			return true
		}
		v = rest
	}
}

func hasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }

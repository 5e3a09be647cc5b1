package lambdahttp

import (
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// authorizer is what the platform says about the caller. A route has one
// authorizer, so at most one member is set.
type authorizer struct {
	// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html
	JWT *struct {
		Claims map[string]jsontext.Value `json:"claims"`
	} `json:"jwt"`

	// https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html, and for HTTP APIs
	// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-access-control-iam.html
	IAM *struct {
		UserARN string `json:"userArn"`
	} `json:"iam"`

	// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-lambda-authorizer.html
	Lambda map[string]jsontext.Value `json:"lambda"`
}

// caller returns the name of the authenticated caller, which is always the same for
// the same caller; "" = nobody:
//   - of a JWT, issuer#subject. An issuer has no fragment (OpenID Connect
//     Discovery 1.0, section 3), so no two pairs have one name;
//   - of IAM, the principal's ARN, without the session of an assumed role. Whoever
//     assumes the role chooses the session's name, such as the id of a container:
//     it must neither hide tasks from the next session nor give access to others';
//   - of a Lambda authorizer, the principalId in the context that it returns.
func (a authorizer) caller() string {
	switch {
	case a.JWT != nil:
		issuer, subject := text(a.JWT.Claims["iss"]), text(a.JWT.Claims["sub"])
		if issuer == "" || subject == "" {
			return ""
		}
		return issuer + "#" + subject
	case a.IAM != nil:
		return principal(a.IAM.UserARN)
	}
	return text(a.Lambda["principalId"])
}

// principal cuts the session off arn:aws:sts::123456789012:assumed-role/role/session.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
func principal(arn string) string {
	front, role, ok := strings.Cut(arn, ":assumed-role/")
	if !ok {
		return arn
	}
	role, _, _ = strings.Cut(role, "/")
	return front + ":assumed-role/" + role
}

// text returns a JSON string's value, "" of anything else.
func text(v jsontext.Value) (s string) {
	if v.Kind() == '"' && json.Unmarshal(v, &s) == nil {
		return s
	}
	return ""
}

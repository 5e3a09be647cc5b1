package doortest_test

// Short names for the cases.
const (
	methodArrives        = "the method arrives"
	pathArrives          = "the path arrives with its escapes"
	queryArrives         = "query values arrive"
	repeatedQueryArrives = "repeated query keys are not joined"
	headersArrive        = "headers arrive and are not split at commas"
	repeatedHeaders      = "repeated headers keep their values in order"
	cookiesArrive        = "each cookie arrives with its own value"
	claimsChangeNothing  = "forwarded headers of the client are ignored"
	bodyArrives          = "a body of any type arrives unchanged"
	emptyBodyArrives     = "an empty body arrives empty"
	chunkedBodyArrives   = "a body without a length arrives"
	largeBodyArrives     = "a body at the limit arrives"
	statusComesBack      = "the status comes back"
	headersComeBack      = "headers come back, repeated ones in order"
	setCookiesComeBack   = "set-cookie headers are not joined"
	bodyComesBack        = "a body of any type comes back unchanged"
	emptyComesBack       = "an answer without a body stays empty"
	largeBodyComesBack   = "an answer to a body at the limit comes back"
	panicIsBounded       = "a panic in the handler is answered as a failure and does not stop the door"
	concurrentKeepApart  = "concurrent requests do not mix"
	contextHasDeadline   = "the context has the door's deadline"
	contextEnds          = "the context ends when its request ends"
	contextEndsClient    = "the context ends when the client disconnects"
)

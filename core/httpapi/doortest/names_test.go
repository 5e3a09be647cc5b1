package doortest_test

// The names of the cases, short.
const (
	methodArrives        = "the method arrives"
	pathArrives          = "the path arrives as it was escaped"
	queryArrives         = "query values arrive"
	repeatedQueryArrives = "repeated query keys stay apart"
	headersArrive        = "headers arrive and commas split none"
	repeatedHeaders      = "repeated headers keep their values in order"
	cookiesArrive        = "cookies arrive, each its own"
	claimsChangeNothing  = "what a client says of itself changes nothing"
	bodyArrives          = "a body arrives byte for byte, whatever its type"
	emptyBodyArrives     = "an empty body is read as empty"
	chunkedBodyArrives   = "a body without a length arrives"
	largeBodyArrives     = "a body at the limit arrives"
	statusComesBack      = "the status comes back"
	headersComeBack      = "headers come back, repeated ones in order"
	setCookiesComeBack   = "each set-cookie comes back as its own"
	bodyComesBack        = "a body comes back byte for byte, whatever its type"
	emptyComesBack       = "an answer without a body has none"
	largeBodyComesBack   = "an answer to a body at the limit comes back"
	panicIsBounded       = "a handler's panic is a failure in time and stops nothing"
	concurrentKeepApart  = "concurrent requests keep apart"
	contextHasDeadline   = "the context has the door's deadline"
	contextEnds          = "the context ends with its request"
	contextEndsClient    = "the context ends when the client goes away"
)

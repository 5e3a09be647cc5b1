// Command bare is the floor: net/http alone, listening where the Functions host
// says.
package main

import (
	"net"
	"net/http"
	"os"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("FUNCTIONS_CUSTOMHANDLER_PORT"))
	if err != nil {
		panic(err)
	}
	panic(http.Serve(listener, http.NotFoundHandler()))
}

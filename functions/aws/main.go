// Command aws is taskgate on AWS Lambda, behind an HTTP API or a function URL.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/taskgate/taskgate/adapters/aws/lambdahttp"
	"github.com/taskgate/taskgate/adapters/aws/lambdalog"
	"github.com/taskgate/taskgate/core/httpapi"
)

func main() {
	log := slog.New(lambdalog.New(slog.NewJSONHandler(os.Stdout, nil)))
	c, err := readConfig(os.Environ())
	if err != nil {
		fail(err)
	}
	sdk, err := loadSDK(os.Environ())
	if err != nil {
		fail(err)
	}
	api, warm := c.api(sdk, log)
	warm.do(context.Background())
	lambda.Start(&lambdahttp.Handler{HTTP: httpapi.New(api), BasePath: c.basePath(), Log: log})
}

// fail ends the start; Lambda shows what was printed in the function's log.
func fail(err error) {
	fmt.Fprintln(os.Stderr, "taskgate:", err)
	os.Exit(1)
}

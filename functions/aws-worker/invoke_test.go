package main_test

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/taskgate/taskgate/tests/emulators/awsemu"
	"github.com/taskgate/taskgate/tests/emulators/lambdadouble"
)

// invoke sends an event to the worker by Lambda's own API.
func invoke(b *bed, double *lambdadouble.Lambda, payload string) {
	b.Helper()
	client := lambda.NewFromConfig(awsemu.Config(double.URL()))
	if _, err := client.Invoke(b.Context(), &lambda.InvokeInput{
		FunctionName: aws.String("worker"), InvocationType: types.InvocationTypeEvent, Payload: []byte(payload),
	}); err != nil {
		b.Fatal(err)
	}
}

// The Go SDK, and the calls that sidecars make of each other, against Sidegate.
//
// With `app` it is an application that waits for calls, with `invocation` one that makes them, with `steps PROTOCOL`
// one that takes the steps of the common script; `sidegate run` starts them and gives them ports and tokens. With
// `wire PATH` it starts sidecars of the program at PATH itself, and talks to them with the stubs that Dapr's own
// sidecar is made of.
package main

import (
	"fmt"
	"os"

	"sidegate-sdk-tests/app"
	"sidegate-sdk-tests/invocation"
	"sidegate-sdk-tests/steps"
	"sidegate-sdk-tests/wire"
)

func main() {
	var err error
	switch arguments := os.Args[1:]; {
	case len(arguments) == 1 && arguments[0] == "app":
		err = app.Run()
	case len(arguments) == 1 && arguments[0] == "invocation":
		err = invocation.Run()
	case len(arguments) == 2 && arguments[0] == "steps":
		err = steps.Run(arguments[1])
	case len(arguments) == 2 && arguments[0] == "wire":
		err = wire.Run(arguments[1])
	default:
		err = fmt.Errorf("usage: %s app | invocation | steps PROTOCOL | wire PATH", os.Args[0])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

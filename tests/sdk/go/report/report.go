// Package report tells the outcome of cases.
package report

import (
	"errors"
	"fmt"
	"os"
	"reflect"
)

// Case is one thing that has to hold.
type Case struct {
	Name string
	Run  func() error
}

// Run runs cases in their order, and writes one line for each to the file $SDK_RESULTS. The error says that some
// failed.
func Run(cases []Case) error {
	file, err := os.OpenFile(os.Getenv("SDK_RESULTS"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	failed := 0
	for _, c := range cases {
		outcome := "PASS"
		if err := c.Run(); err != nil {
			outcome = "FAIL"
			failed++
			fmt.Fprintf(os.Stderr, "%s: %v\n", c.Name, err)
		}
		if _, err := fmt.Fprintf(file, "%s go %s\n", outcome, c.Name); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d cases failed", failed)
	}
	return nil
}

// Equal is an error where a value is not the expected one.
func Equal[T any](what string, got, expected T) error {
	if reflect.DeepEqual(got, expected) {
		return nil
	}
	return fmt.Errorf("%s is %#v, not %#v", what, got, expected)
}

// All joins what went wrong.
func All(errs ...error) error {
	return errors.Join(errs...)
}

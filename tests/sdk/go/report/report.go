// Package report tells the outcome of cases and steps.
package report

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
)

// Case is one thing that has to hold.
type Case struct {
	Name string
	Run  func() error
}

// A Step is one of the common script.
type Step struct {
	Run func() error
	// Why the SDK has no such step.
	Lacks string
}

// Run runs cases in their order, and writes one line for each to the file $SDK_RESULTS. The error says that some
// failed.
func Run(cases []Case) error {
	return tell(func(line func(outcome, rest string) error) error {
		for _, c := range cases {
			if err := line(passes(c), "go "+c.Name); err != nil {
				return err
			}
		}
		return nil
	})
}

// Take takes the steps of the common script in their order, each by what the map has, as Run does.
func Take(protocol string, steps map[string]Step) error {
	names, err := names()
	if err != nil {
		return err
	}
	if len(steps) != len(names) {
		return fmt.Errorf("%d steps are known here, of %d", len(steps), len(names))
	}
	return tell(func(line func(outcome, rest string) error) error {
		for _, name := range names {
			outcome, rest := "LACKS", fmt.Sprintf("go/%s %s | %s", protocol, name, steps[name].Lacks)
			if step := steps[name]; step.Lacks == "" {
				outcome, rest = passes(Case{name, step.Run}), fmt.Sprintf("go/%s %s", protocol, name)
			}
			if err := line(outcome, rest); err != nil {
				return err
			}
		}
		return nil
	})
}

func names() ([]string, error) {
	text, err := os.ReadFile(os.Getenv("SDK_STEPS"))
	var names []string
	for line := range strings.Lines(string(text)) {
		if name := strings.TrimSpace(line); name != "" && !strings.HasPrefix(name, "#") {
			names = append(names, name)
		}
	}
	return names, err
}

func passes(c Case) string {
	if c.Run == nil {
		c.Run = func() error { return errors.New("there is no such step here") }
	}
	if err := c.Run(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", c.Name, err)
		return "FAIL"
	}
	return "PASS"
}

// Writes the lines that something tells. The error says that some failed.
func tell(all func(line func(outcome, rest string) error) error) error {
	file, err := os.OpenFile(os.Getenv("SDK_RESULTS"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	failed := 0
	err = all(func(outcome, rest string) error {
		if outcome == "FAIL" {
			failed++
		}
		_, err := fmt.Fprintf(file, "%s %s\n", outcome, rest)
		return err
	})
	if failed > 0 {
		err = errors.Join(err, fmt.Errorf("%d failed", failed))
	}
	return err
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

package steps

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/dapr/go-sdk/service/common"
)

// What is published to see whether a subscription is there.
const warmUp = "warm-up"

// An event is what an application is told of a message.
type event struct {
	source, kind, contentType string
	data                      any // of JSON what was read, of text a string, else the bytes
}

// What arrives of a message that this app publishes.
func sent(data any, contentType string) event {
	return event{os.Getenv("APP_ID"), "com.dapr.event.sent", contentType, data}
}

func text(data string) event {
	return sent(data, "text/plain")
}

// A call of the sidecar, and whether the app's token came with it, and no other.
type call struct {
	name       string
	isOwnToken bool
}

// An inbox holds what arrived, by where it arrived.
type inbox struct {
	mutex    sync.Mutex
	all      map[string][]event
	expected map[string][]event
	calls    []call
}

func newInbox() *inbox {
	return &inbox{all: map[string][]event{}, expected: map[string][]event{}}
}

// The number of what arrived there, from 1; 0 if it was sent to see whether it arrives.
func (i *inbox) put(where string, arrived *common.TopicEvent) int {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	isWarmUp := arrived.Data == warmUp
	if isWarmUp {
		where = warmUp + " of " + where
	}
	i.all[where] = append(i.all[where], event{arrived.Source, arrived.Type, arrived.DataContentType, arrived.Data})
	if isWarmUp {
		return 0
	}
	return len(i.all[where])
}

func (i *inbox) at(where string) []event {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	return slices.Clone(i.all[where])
}

// An error where not exactly these arrive there beside what did before, in any order.
func (i *inbox) got(where string, events ...event) error {
	i.expected[where] = append(i.expected[where], events...)
	expected := i.expected[where]
	_ = eventually(func() bool { return len(i.at(where)) >= len(expected) })
	arrived := i.at(where)
	left := slices.Clone(arrived)
	for _, one := range expected {
		at := slices.IndexFunc(left, func(other event) bool { return reflect.DeepEqual(one, other) })
		if at < 0 {
			return fmt.Errorf("%#v is not among what arrived: %#v", one, arrived)
		}
		left = slices.Delete(left, at, at+1)
	}
	if len(left) > 0 {
		return fmt.Errorf("%#v arrived too", left)
	}
	return nil
}

func (i *inbox) gotNothingElse() error {
	for _, where := range append(topics, "urgent", "streamed") {
		if arrived := i.at(where); len(arrived) != len(i.expected[where]) {
			return fmt.Errorf("%s: %#v", where, arrived)
		}
	}
	return nil
}

// Notes a call with the tokens that came with it.
func (i *inbox) note(name string, tokens []string) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	i.calls = append(i.calls, call{name, slices.Equal(tokens, []string{os.Getenv("APP_API_TOKEN")})})
}

func (i *inbox) sawItsToken(names ...string) error {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	for _, name := range names {
		if !slices.ContainsFunc(i.calls, func(c call) bool { return c.name == name }) {
			return fmt.Errorf("%s was not called", name)
		}
	}
	if slices.ContainsFunc(i.calls, func(c call) bool { return !c.isOwnToken }) {
		return fmt.Errorf("not each call came with the token: %v", i.calls)
	}
	return nil
}

// Waits until it holds, for about a minute.
func eventually(holds func() bool) error {
	for range 600 {
		if holds() {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return errors.New("it never came to it")
}

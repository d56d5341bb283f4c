package messages

import (
	"errors"
	"fmt"
	"os"
	"reflect"
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

// An inbox holds what arrived, by where it arrived.
type inbox struct {
	mutex sync.Mutex
	all   map[string][]event
}

// The number of what arrived there, from 1; 0 if it was sent to see whether it arrives.
func (i *inbox) put(where string, arrived *common.TopicEvent) int {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	if arrived.Data == warmUp {
		where = warmUp + " of " + where
	}
	i.all[where] = append(i.all[where], event{arrived.Source, arrived.Type, arrived.DataContentType, arrived.Data})
	if arrived.Data == warmUp {
		return 0
	}
	return len(i.all[where])
}

func (i *inbox) at(where string) []event {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	return append([]event(nil), i.all[where]...)
}

// An error where not exactly these arrive there, in any order.
func (i *inbox) got(where string, expected ...event) error {
	_ = eventually(func() bool { return len(i.at(where)) >= len(expected) })
	arrived := i.at(where)
	left := append([]event(nil), arrived...)
	for _, one := range expected {
		at := -1
		for number, other := range left {
			if reflect.DeepEqual(one, other) {
				at = number
			}
		}
		if at < 0 {
			return fmt.Errorf("%#v is not among what arrived: %#v", one, arrived)
		}
		left = append(left[:at], left[at+1:]...)
	}
	if len(left) > 0 {
		return fmt.Errorf("%#v arrived too", left)
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

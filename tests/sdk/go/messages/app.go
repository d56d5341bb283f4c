package messages

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"

	"github.com/dapr/go-sdk/service/common"
	service "github.com/dapr/go-sdk/service/http"
	"github.com/go-chi/chi/v5"
)

const pubsub = "pubsub"

// An application is what the sidecar sends messages to.
type application struct {
	inbox inbox

	mutex    sync.Mutex
	requests []string // the paths of what the sidecar asked
	strange  []string // those that came without the app's token, or with another one too
	ticks    int
}

// The topics that an application subscribes to.
var topics = []string{"orders", "many", "retried", "refused", "dead"}

// Starts an application, which serves up to the end of the program.
func start() (*application, error) {
	a := &application{inbox: inbox{all: map[string][]event{}}}
	mux := chi.NewMux()
	mux.Use(a.note)
	app := service.NewServiceWithMux(net.JoinHostPort("127.0.0.1", os.Getenv("APP_PORT")), mux)
	retried := func(which int) (retry bool, err error) {
		if which == 1 {
			return true, errors.New("not now")
		}
		return false, nil
	}
	refused := func(which int) (retry bool, err error) {
		if which > 0 {
			return false, errors.New("never")
		}
		return false, nil
	}
	err := errors.Join(
		app.AddTopicEventHandler(&common.Subscription{Topic: "orders", PubsubName: pubsub, Route: "/orders"},
			a.takes("orders", nil)),
		app.AddTopicEventHandler(&common.Subscription{
			Topic: "orders", PubsubName: pubsub, Route: "/urgent", Match: `event.type == "urgent"`, Priority: 1,
		}, a.takes("urgent", nil)),
		app.AddTopicEventHandler(&common.Subscription{Topic: "many", PubsubName: pubsub, Route: "/many"},
			a.takes("many", nil)),
		app.AddTopicEventHandler(&common.Subscription{Topic: "retried", PubsubName: pubsub, Route: "/retried"},
			a.takes("retried", retried)),
		app.AddTopicEventHandler(&common.Subscription{
			Topic: "refused", PubsubName: pubsub, Route: "/refused", DeadLetterTopic: "dead",
		}, a.takes("refused", refused)),
		app.AddTopicEventHandler(&common.Subscription{Topic: "dead", PubsubName: pubsub, Route: "/dead"},
			a.takes("dead", nil)),
		app.AddBindingInvocationHandler("tick", a.tick),
	)
	go func() { _ = app.Start() }()
	return a, err
}

// Notes whether the app's token came with a request, and no other.
func (a *application) note(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mutex.Lock()
		a.requests = append(a.requests, r.URL.Path)
		if !slices.Equal(r.Header.Values("Dapr-Api-Token"), []string{os.Getenv("APP_API_TOKEN")}) {
			a.strange = append(a.strange, r.Method+" "+r.URL.Path)
		}
		a.mutex.Unlock()
		next.ServeHTTP(w, r)
	})
}

// A handler that answers what is decided of the number of a message, from 1, and 0 for what only warms up.
func (a *application) takes(where string, decide func(which int) (bool, error)) common.TopicEventHandler {
	return func(_ context.Context, arrived *common.TopicEvent) (bool, error) {
		which := a.inbox.put(where, arrived)
		if decide == nil {
			return false, nil
		}
		return decide(which)
	}
}

func (a *application) tick(context.Context, *common.BindingEvent) ([]byte, error) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.ticks++
	return nil, nil
}

func (a *application) ticked() int {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	return a.ticks
}

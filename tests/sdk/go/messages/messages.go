// Package messages publishes and gets messages, and uses bindings, beside a sidecar of its own. What is published is
// tested by what arrives.
package messages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/dapr/go-sdk/client"
	"github.com/dapr/go-sdk/service/common"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"sidegate-sdk-tests/report"
)

// A run is an application with a client of its sidecar.
type run struct {
	*application
	sdk client.Client
}

// Run is the application of a sidecar, and a client of it.
func Run() error {
	app, err := start()
	if err != nil {
		return err
	}
	sdk, err := client.NewClient()
	if err != nil {
		return err
	}
	defer sdk.Close()
	r := run{app, sdk}
	token, appToken := os.Getenv("DAPR_API_TOKEN"), os.Getenv("APP_API_TOKEN")
	return report.Run([]report.Case{
		{Name: "is subscribed to its topics", Run: r.isSubscribed},
		{Name: "publishes JSON, text and bytes", Run: r.publishes},
		{Name: "publishes many messages at once", Run: r.publishesMany},
		{Name: "gets messages by a rule", Run: r.isRouted},
		{Name: "gets a message again that it could not handle", Run: r.getsAgain},
		{Name: "drops a message to the dead letter topic", Run: r.drops},
		{Name: "gets messages in a stream", Run: r.streams},
		{Name: "uses an output binding", Run: r.usesAnOutputBinding},
		{Name: "uses an input binding", Run: r.usesAnInputBinding},
		{Name: "sends no message without the token", Run: func() error { return isRefused("") }},
		{Name: "sends no message with a wrong token", Run: func() error { return isRefused(token + "x") }},
		{Name: "sends no message with the app's token", Run: func() error { return isRefused(appToken) }},
		{Name: "got no message twice", Run: r.gotNothingElse},
		{Name: "saw the app's token with each call", Run: r.sawItsToken},
	})
}

func (r run) publish(topic string, data any, options ...client.PublishEventOption) error {
	return r.sdk.PublishEvent(context.Background(), pubsub, topic, data, options...)
}

// The sidecar subscribes as soon as the app listens, which it does not wait for.
func (r run) isSubscribed() error {
	for _, topic := range topics {
		var err error
		arrives := eventually(func() bool {
			err = r.publish(topic, warmUp)
			return err != nil || len(r.inbox.at(warmUp+" of "+topic)) > 0
		})
		if err := errors.Join(err, arrives); err != nil {
			return fmt.Errorf("topic %s: %w", topic, err)
		}
	}
	return nil
}

func (r run) publishes() error {
	return report.All(
		r.publish("orders", map[string]string{"a": "ä"}),
		r.publish("orders", "grüß", client.PublishEventWithContentType("text/plain")),
		r.publish("orders", []byte{0, 255}, client.PublishEventWithContentType("application/octet-stream")),
		r.inbox.got("orders",
			sent(map[string]any{"a": "ä"}, "application/json"),
			text("grüß"),
			sent([]byte{0, 255}, "application/octet-stream")),
	)
}

func (r run) publishesMany() error {
	answer := r.sdk.PublishEvents(context.Background(), pubsub, "many", []any{
		map[string]int{"n": 1}, "two", []byte{0, 255},
	})
	return report.All(answer.Error, r.inbox.got("many",
		sent(map[string]any{"n": 1.0}, "application/json"),
		text("two"),
		sent([]byte{0, 255}, "application/octet-stream")))
}

func (r run) isRouted() error {
	err := r.publish("orders", "now", client.PublishEventWithMetadata(map[string]string{"cloudevent.type": "urgent"}))
	expected := text("now")
	expected.kind = "urgent"
	return report.All(err, r.inbox.got("urgent", expected))
}

func (r run) getsAgain() error {
	return report.All(r.publish("retried", "again"), r.inbox.got("retried", text("again"), text("again")))
}

func (r run) drops() error {
	return report.All(
		r.publish("refused", "no"), r.inbox.got("refused", text("no")), r.inbox.got("dead", text("no")))
}

// With a subscription that lasts to the end: it gets nothing twice either.
func (r run) streams() error {
	answer := func(arrived *common.TopicEvent) common.SubscriptionResponseStatus {
		which := r.inbox.put("streamed", arrived)
		switch {
		case arrived.Data == "drop":
			return common.SubscriptionResponseStatusDrop
		case which == 2: // the second message is refused once
			return common.SubscriptionResponseStatusRetry
		default:
			return common.SubscriptionResponseStatusSuccess
		}
	}
	topic := client.SubscriptionOptions{PubsubName: pubsub, Topic: "streamed"}
	if _, err := r.sdk.SubscribeWithHandler(context.Background(), topic, answer); err != nil {
		return err
	}
	var expected []event
	for _, message := range []struct {
		text  string
		times int
	}{{"keep", 1}, {"again", 2}, {"drop", 1}, {"last", 1}} {
		expected = append(expected, slices.Repeat([]event{text(message.text)}, message.times)...)
		if err := report.All(r.publish("streamed", message.text), r.inbox.got("streamed", expected...)); err != nil {
			return err
		}
	}
	return nil
}

func (r run) usesAnOutputBinding() error {
	answer, err := r.sdk.InvokeBinding(context.Background(), toOutside())
	if err != nil {
		return err
	}
	var seen any
	err = json.Unmarshal(answer.Data, &seen)
	return report.All(err, report.Equal[any]("what was asked outside", seen, map[string]any{
		"verb": "POST", "path": "/orders", "body": map[string]any{"a": "ä"}, "tokens": []any{},
	}))
}

func toOutside() *client.InvokeBindingRequest {
	return &client.InvokeBindingRequest{
		Name: "outside", Operation: "post", Data: []byte(`{"a":"ä"}`), Metadata: map[string]string{"path": "/orders"},
	}
}

func (r run) usesAnInputBinding() error {
	return eventually(func() bool { return r.ticked() >= 2 })
}

func isRefused(token string) error {
	port := os.Getenv("DAPR_GRPC_PORT")
	sdk, err := client.NewClientWithPort(port)
	if err != nil {
		return err
	}
	defer sdk.Close()
	sdk.WithAuthToken(token)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, bound := sdk.InvokeBinding(ctx, toOutside())
	_, subscribed := sdk.Subscribe(ctx, client.SubscriptionOptions{PubsubName: pubsub, Topic: "orders"})
	refused := func(call string, err error) error {
		return report.Equal(call, status.Code(err), codes.Unauthenticated)
	}
	return report.All(
		refused("publishing", sdk.PublishEvent(ctx, pubsub, "orders", "stolen")),
		refused("publishing many", sdk.PublishEvents(ctx, pubsub, "orders", []any{"stolen"}).Error),
		refused("the binding", bound),
		refused("the stream", subscribed),
	)
}

func (r run) gotNothingElse() error {
	counts := map[string]int{}
	for _, where := range append(topics, "urgent", "streamed") {
		counts[where] = len(r.inbox.at(where))
	}
	return report.Equal("how many arrived", counts, map[string]int{
		"orders": 3, "many": 3, "retried": 2, "refused": 1, "dead": 1, "urgent": 1, "streamed": 5,
	})
}

func (r run) sawItsToken() error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for _, path := range []string{"/orders", "/tick"} {
		if !slices.Contains(r.requests, path) {
			return fmt.Errorf("%s was not asked", path)
		}
	}
	return report.Equal("what came without the token", r.strange, nil)
}

package steps

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/dapr/go-sdk/client"
	"github.com/dapr/go-sdk/service/common"

	"sidegate-sdk-tests/report"
)

func (s script) publish(topic string, data any, options ...client.PublishEventOption) error {
	return s.sdk.PublishEvent(background(), pubsub, topic, data, options...)
}

// The sidecar subscribes as soon as the app listens, which it does not wait for.
func (s script) warmUp() error {
	for _, topic := range topics {
		var err error
		arrives := eventually(func() bool {
			err = s.publish(topic, warmUp)
			return err != nil || len(s.at(warmUp+" of "+topic)) > 0
		})
		if err := errors.Join(err, arrives); err != nil {
			return fmt.Errorf("topic %s: %w", topic, err)
		}
	}
	return nil
}

func (s script) publishes() error {
	return report.All(
		s.publish("orders", map[string]string{"a": "ä"}),
		s.publish("orders", "grüß", client.PublishEventWithContentType("text/plain")),
		s.publish("orders", []byte{0, 255}, client.PublishEventWithContentType("application/octet-stream")),
		s.got("orders",
			sent(map[string]any{"a": "ä"}, "application/json"),
			text("grüß"),
			sent([]byte{0, 255}, "application/octet-stream")),
	)
}

func (s script) publishesMany() error {
	answer := s.sdk.PublishEvents(background(), pubsub, "many", []any{
		map[string]int{"n": 1}, "two", []byte{0, 255},
	})
	return report.All(answer.Error, s.got("many",
		sent(map[string]any{"n": 1.0}, "application/json"),
		text("two"),
		sent([]byte{0, 255}, "application/octet-stream")))
}

// By whatever way messages were published.
func (s script) subscribes() error {
	return report.All(s.publishes(), s.publishesMany())
}

func (s script) isRouted() error {
	err := s.publish("orders", "now", client.PublishEventWithMetadata(map[string]string{"cloudevent.type": "urgent"}))
	expected := text("now")
	expected.kind = "urgent"
	return report.All(err, s.got("urgent", expected))
}

func (s script) getsAgain() error {
	return report.All(s.publish("retried", "again"), s.got("retried", text("again"), text("again")))
}

func (s script) drops() error {
	return report.All(s.publish("refused", "no"), s.got("refused", text("no")), s.got("dead", text("no")))
}

// With a subscription that lasts to the end: it gets nothing twice either.
func (s script) streams() error {
	answer := func(arrived *common.TopicEvent) common.SubscriptionResponseStatus {
		which := s.put("streamed", arrived)
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
	if _, err := s.sdk.SubscribeWithHandler(background(), topic, answer); err != nil {
		return err
	}
	for _, message := range []struct {
		text  string
		times int
	}{{"keep", 1}, {"again", 2}, {"drop", 1}, {"last", 1}} {
		expected := slices.Repeat([]event{text(message.text)}, message.times)
		if err := report.All(s.publish("streamed", message.text), s.got("streamed", expected...)); err != nil {
			return err
		}
	}
	return nil
}

func (s script) usesAnOutputBinding() error {
	answer, err := s.sdk.InvokeBinding(background(), toOutside())
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

func (s script) usesAnInputBinding() error {
	return eventually(func() bool { return len(s.at("tick")) >= 2 })
}

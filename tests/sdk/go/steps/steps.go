// Package steps is the common script with the Go SDK, beside a sidecar of its own. What is published is tested by what
// arrives.
package steps

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"github.com/dapr/go-sdk/client"
	"google.golang.org/grpc/codes"

	"sidegate-sdk-tests/report"
)

// A script has an inbox of the application, and a client of its sidecar.
type script struct {
	*inbox
	sdk client.Client
}

// Run is the application of a sidecar by a protocol, and a client of it by gRPC.
func Run(protocol string) error {
	in := newInbox()
	if err := start(protocol, in); err != nil {
		return err
	}
	sdk, err := client.NewClient()
	if err != nil {
		return err
	}
	defer sdk.Close()
	s := script{in, sdk}
	if err := s.warmUp(); err != nil {
		return err
	}
	steps := s.subscriptions()
	for name, run := range s.calls() {
		step := report.Step{Run: run}
		if protocol == "http" {
			step = report.Step{Lacks: "The client speaks gRPC only."}
		}
		steps[name] = step
	}
	names := []string{"/echo", "/orders", "/tick"}
	if protocol == "http" {
		steps["subscribe: in a stream"] = report.Step{Lacks: "Streams of messages are gRPC."}
		names = names[1:]
	} else {
		names = []string{"/OnInvoke", "/OnTopicEvent", "/OnBindingEvent"}
	}
	steps["tokens: the app's comes with each call"] = report.Step{Run: func() error { return s.sawItsToken(names...) }}
	return report.Take(protocol, steps)
}

// What the sidecar calls the application for, by either protocol.
func (s script) subscriptions() map[string]report.Step {
	return map[string]report.Step{
		"subscribe: to topics":             {Run: s.subscribes},
		"subscribe: with a rule":           {Run: s.isRouted},
		"subscribe: again after a failure": {Run: s.getsAgain},
		"subscribe: dead letters":          {Run: s.drops},
		"subscribe: nothing twice":         {Run: s.gotNothingElse},
		"bind: input":                      {Run: s.usesAnInputBinding},
	}
}

// What the client calls the sidecar for.
func (s script) calls() map[string]func() error {
	token, appToken := os.Getenv("DAPR_API_TOKEN"), os.Getenv("APP_API_TOKEN")
	return map[string]func() error{
		"state: save and get":                       func() error { return s.savesAndGets(memory) },
		"state: get a missing key":                  s.missesAKey,
		"state: get many keys":                      s.getsMany,
		"state: delete":                             s.deletes,
		"state: save with an old ETag":              s.savesWithAnOldETag,
		"state: delete with an old ETag":            s.deletesWithAnOldETag,
		"state: transaction":                        s.transacts,
		"state: TTL":                                s.expires,
		"state: Redis, its password a secretKeyRef": func() error { return s.savesAndGets("redis") },
		"secrets: get one":                          s.getsASecret,
		"secrets: get all":                          s.getsAllSecrets,
		"secrets: denied by scope":                  s.isDeniedASecret,
		"secrets: missing":                          s.missesASecret,
		"invoke: a method of the app":               s.invokes,
		"publish: JSON, text and bytes":             s.publishes,
		"publish: many at once":                     s.publishesMany,
		"subscribe: in a stream":                    s.streams,
		"bind: output":                              s.usesAnOutputBinding,
		"configuration: get":                        s.getsSettings,
		"configuration: subscribe":                  s.isToldOfSettings,
		"lock: take and release":                    s.locks,
		"metadata: get":                             s.getsMetadata,
		"metadata: set":                             s.setsMetadata,
		"health: wait for the sidecar":              func() error { return s.sdk.Wait(background(), time.Minute) },
		"tokens: refused without one":               func() error { return isRefused("") },
		"tokens: refused with a wrong one":          func() error { return isRefused(token + "x") },
		"tokens: refused with the app's":            func() error { return isRefused(appToken) },
	}
}

func invoke(ctx context.Context, sdk client.Client) ([]byte, error) {
	content := &client.DataContent{Data: []byte(`{"a":"ä"}`), ContentType: "application/json"}
	return sdk.InvokeMethodWithContent(ctx, os.Getenv("APP_ID"), "echo", "post", content)
}

func (s script) invokes() error {
	answer, err := invoke(background(), s.sdk)
	if err != nil {
		return err
	}
	var seen any
	err = json.Unmarshal(answer, &seen)
	return report.All(err, report.Equal[any]("what the app saw", seen, map[string]any{
		"body": map[string]any{"a": "ä"}, "type": "application/json",
	}))
}

func isRefused(token string) error {
	sdk, err := client.NewClientWithPort(os.Getenv("DAPR_GRPC_PORT"))
	if err != nil {
		return err
	}
	defer sdk.Close()
	sdk.WithAuthToken(token)
	ctx, cancel := context.WithTimeout(background(), time.Minute)
	defer cancel()
	_, got := sdk.GetState(ctx, memory, "order", nil)
	_, secret := sdk.GetSecret(ctx, secrets, "password", nil)
	_, all := sdk.GetBulkSecret(ctx, secrets, nil)
	_, invoked := invoke(ctx, sdk)
	_, bound := sdk.InvokeBinding(ctx, toOutside())
	_, subscribed := sdk.Subscribe(ctx, client.SubscriptionOptions{PubsubName: pubsub, Topic: "orders"})
	_, setting := sdk.GetConfigurationItem(ctx, settings, "color")
	lock := client.LockRequest{ResourceID: "till", LockOwner: "thief", ExpiryInSeconds: 60}
	_, locked := sdk.TryLockAlpha1(ctx, locks, &lock)
	_, told := sdk.GetMetadata(ctx)
	refused := func(call string, err error) error { return hasCode(call, err, codes.Unauthenticated) }
	return report.All(
		refused("getting state", got),
		refused("saving state", sdk.SaveState(ctx, memory, "order", []byte("stolen"), nil)),
		refused("deleting state", sdk.DeleteState(ctx, memory, "order", nil)),
		refused("a secret", secret),
		refused("all secrets", all),
		refused("invoking", invoked),
		refused("publishing", sdk.PublishEvent(ctx, pubsub, "orders", "stolen")),
		refused("publishing many", sdk.PublishEvents(ctx, pubsub, "orders", []any{"stolen"}).Error),
		refused("the binding", bound),
		refused("the stream", subscribed),
		refused("the configuration", setting),
		refused("the lock", locked),
		refused("the metadata", told),
	)
}

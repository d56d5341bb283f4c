package steps

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path"

	"github.com/dapr/go-sdk/service/common"
	grpcservice "github.com/dapr/go-sdk/service/grpc"
	httpservice "github.com/dapr/go-sdk/service/http"
	"github.com/go-chi/chi/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

const pubsub = "pubsub"

// The topics that the application subscribes to.
var topics = []string{"orders", "many", "retried", "refused", "dead"}

// Starts the application, which serves up to the end of the program.
func start(protocol string, in *inbox) error {
	app, err := listen(protocol, in)
	if err != nil {
		return err
	}
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
	subscribe := func(where string, answer func(int) (bool, error), more common.Subscription) error {
		more.PubsubName, more.Route = pubsub, "/"+where
		if more.Topic == "" {
			more.Topic = where
		}
		return app.AddTopicEventHandler(&more, takes(in, where, answer))
	}
	err = errors.Join(
		subscribe("orders", nil, common.Subscription{}),
		subscribe("urgent", nil, common.Subscription{Topic: "orders", Match: `event.type == "urgent"`, Priority: 1}),
		subscribe("many", nil, common.Subscription{}),
		subscribe("retried", retried, common.Subscription{}),
		subscribe("refused", refused, common.Subscription{DeadLetterTopic: "dead"}),
		subscribe("dead", nil, common.Subscription{}),
		app.AddBindingInvocationHandler("tick", func(context.Context, *common.BindingEvent) ([]byte, error) {
			in.put("tick", &common.TopicEvent{})
			return nil, nil
		}),
		app.AddServiceInvocationHandler("/echo", echo),
	)
	go func() { _ = app.Start() }()
	return err
}

// The SDK's service, which notes each call.
func listen(protocol string, in *inbox) (common.Service, error) {
	address := net.JoinHostPort("127.0.0.1", os.Getenv("APP_PORT"))
	if protocol == "http" {
		mux := chi.NewMux()
		mux.Use(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				in.note(r.URL.Path, r.Header.Values("Dapr-Api-Token"))
				next.ServeHTTP(w, r)
			})
		})
		return httpservice.NewServiceWithMux(address, mux), nil
	}
	listener, err := net.Listen("tcp", address)
	note := func(ctx context.Context, asked any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		in.note("/"+path.Base(info.FullMethod), md.Get("dapr-api-token"))
		return next(ctx, asked)
	}
	return grpcservice.NewServiceWithGrpcServer(listener, grpc.NewServer(grpc.UnaryInterceptor(note))), err
}

// A handler that answers what is decided of the number of a message, from 1, and 0 for what only warms up.
func takes(in *inbox, where string, decide func(which int) (bool, error)) common.TopicEventHandler {
	return func(_ context.Context, arrived *common.TopicEvent) (bool, error) {
		which := in.put(where, arrived)
		if decide == nil {
			return false, nil
		}
		return decide(which)
	}
}

func echo(_ context.Context, asked *common.InvocationEvent) (*common.Content, error) {
	data, err := json.Marshal(map[string]any{"body": json.RawMessage(asked.Data), "type": asked.ContentType})
	return &common.Content{Data: data, ContentType: "application/json"}, err
}

// Package app is the application that others invoke, made with the SDK's gRPC service.
package app

import (
	"context"
	"encoding/json"
	"net"
	"os"

	"github.com/dapr/go-sdk/service/common"
	service "github.com/dapr/go-sdk/service/grpc"
	"google.golang.org/grpc"

	"sidegate-sdk-tests/echo"
)

// Run serves until the process is ended.
func Run() error {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", os.Getenv("APP_PORT")))
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	echo.Register(server)
	app := service.NewServiceWithGrpcServer(listener, server)
	if err := app.AddServiceInvocationHandler("orders/echo", answer); err != nil {
		return err
	}
	return app.Start()
}

func answer(ctx context.Context, asked *common.InvocationEvent) (*common.Content, error) {
	seen := echo.See(ctx)
	seen.Verb, seen.Query, seen.ContentType = asked.Verb, asked.QueryString, asked.ContentType
	seen.Body = json.RawMessage(asked.Data)
	data, err := json.Marshal(seen)
	return &common.Content{Data: data, ContentType: "application/json"}, err
}

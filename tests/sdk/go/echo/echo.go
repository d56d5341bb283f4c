// Package echo is a gRPC service with a method of each kind. Its messages are google.protobuf.StringValue, so that no
// stubs have to be made from a proto file; the Python application serves a part of it.
package echo

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The methods, as they stand in the path of a call.
const (
	Say   = "/sidegate.test.Echo/Say"   // one message each way: what was said, and by whom
	Count = "/sidegate.test.Echo/Count" // a number in, and as many messages out
	Join  = "/sidegate.test.Echo/Join"  // many messages in, and all of them in one out
	Talk  = "/sidegate.test.Echo/Talk"  // each message is answered at once
	Fail  = "/sidegate.test.Echo/Fail"  // a status with a detail, and trailers
)

// Reason is in the detail of the status of Fail.
const Reason = "SOLD_OUT"

// Seen is what an application knows of a call.
type Seen struct {
	Verb        string `json:"verb"`
	Query       string `json:"query"`
	ContentType string `json:"contentType"`
	Body        any    `json:"body"` // JSON
	Caller      string `json:"caller"`
	Callee      string `json:"callee"`
	IsOwnToken  bool   `json:"isOwnToken"`
}

// See reads what the metadata of a call says. Whatever came twice is told as `a,b`.
func See(ctx context.Context) Seen {
	md, _ := metadata.FromIncomingContext(ctx)
	all := func(name string) string { return strings.Join(md.Get(name), ",") }
	return Seen{
		Caller:     all("dapr-caller-app-id"),
		Callee:     all("dapr-callee-app-id"),
		IsOwnToken: all("dapr-api-token") == os.Getenv("APP_API_TOKEN"),
	}
}

type text = wrapperspb.StringValue

// Register adds the service to a server.
func Register(server *grpc.Server) {
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "sidegate.test.Echo",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{unary("Say", say), unary("Fail", fail)},
		Streams: []grpc.StreamDesc{
			{StreamName: "Count", Handler: count, ServerStreams: true},
			{StreamName: "Join", Handler: join, ClientStreams: true},
			{StreamName: "Talk", Handler: talk, ServerStreams: true, ClientStreams: true},
		},
	}, struct{}{})
}

func unary(name string, answer func(context.Context, *text) (*text, error)) grpc.MethodDesc {
	handler := func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		asked := new(text)
		if err := decode(asked); err != nil {
			return nil, err
		}
		return answer(ctx, asked)
	}
	return grpc.MethodDesc{MethodName: name, Handler: handler}
}

func say(ctx context.Context, asked *text) (*text, error) {
	seen := See(ctx)
	seen.Body = asked.GetValue()
	answer, err := json.Marshal(seen)
	if err != nil {
		return nil, err
	}
	md, _ := metadata.FromIncomingContext(ctx)
	if err := grpc.SetHeader(ctx, metadata.MD{"said": md.Get("say"), "said-bin": md.Get("say-bin")}); err != nil {
		return nil, err
	}
	return wrapperspb.String(string(answer)), grpc.SetTrailer(ctx, metadata.Pairs("farewell", "goodbye"))
}

func fail(ctx context.Context, _ *text) (*text, error) {
	if err := grpc.SetTrailer(ctx, metadata.Pairs("farewell", "so long")); err != nil {
		return nil, err
	}
	failure, err := status.New(codes.FailedPrecondition, "nothing left: ä").WithDetails(
		&errdetails.ErrorInfo{Reason: Reason, Domain: "shop"})
	if err != nil {
		return nil, err
	}
	return nil, failure.Err()
}

func count(_ any, stream grpc.ServerStream) error {
	asked := new(text)
	if err := stream.RecvMsg(asked); err != nil {
		return err
	}
	last, err := strconv.Atoi(asked.GetValue())
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	for number := range last {
		if err := stream.SendMsg(wrapperspb.String(strconv.Itoa(number))); err != nil {
			return err
		}
	}
	stream.SetTrailer(metadata.Pairs("counted", strconv.Itoa(last)))
	return nil
}

func join(_ any, stream grpc.ServerStream) error {
	var words []string
	for {
		word := new(text)
		err := stream.RecvMsg(word)
		if errors.Is(err, io.EOF) {
			return stream.SendMsg(wrapperspb.String(strings.Join(words, " ")))
		}
		if err != nil {
			return err
		}
		words = append(words, word.GetValue())
	}
}

func talk(_ any, stream grpc.ServerStream) error {
	for {
		word := new(text)
		err := stream.RecvMsg(word)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.SendMsg(wrapperspb.String("you said " + word.GetValue())); err != nil {
			return err
		}
	}
}

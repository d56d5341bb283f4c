package wire

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"sidegate-sdk-tests/report"
)

// What an app saw of a call. It tells it in the header `seen`; whatever came twice is `a,b`.
type seen struct {
	Method, Path, Query, ContentType, List string
	Caller, Callee                         string
	IsOwnToken                             bool
	// The length of the body as it was announced: `chunked` where it was not, `none` without a body.
	Length string
}

// Whether an app answered with this status, and saw this.
func webAnswered(got answer, code int32, expected seen) error {
	var told seen
	text := strings.Join(lower(got.head.GetHeaders())["seen"], ",")
	if err := json.Unmarshal([]byte(text), &told); err != nil {
		return err
	}
	return report.All(
		report.Equal("the status", got.head.GetStatus().GetCode(), code),
		report.Equal("what the app saw", told, expected))
}

// An app that speaks HTTP, and answers with the body that it got. The port.
func serveWeb() (int, error) {
	listener, port, err := listen()
	if err != nil {
		return 0, err
	}
	app := http.NewServeMux()
	app.HandleFunc("/orders/1", answerWeb)
	app.HandleFunc("/sick", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
	})
	go func() { _ = http.Serve(listener, app) }() // up to the end of the program
	return port, nil
}

func answerWeb(w http.ResponseWriter, r *http.Request) {
	all := func(name string) string { return strings.Join(r.Header.Values(name), ",") }
	length := strconv.FormatInt(r.ContentLength, 10)
	switch {
	case r.ContentLength < 0:
		length = "chunked"
	case r.ContentLength == 0 && all("Content-Length") == "":
		length = "none"
	}
	tell(w.Header().Set, seen{
		Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, ContentType: all("Content-Type"),
		List: all("X-List"), Caller: all("Dapr-Caller-App-Id"), Callee: all("Dapr-Callee-App-Id"),
		IsOwnToken: all("Dapr-Api-Token") == appToken, Length: length,
	})
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if contentType := all("Content-Type"); contentType != "" {
		w.Header().Set("Content-Type", contentType)
	}
	w.Header()["X-Answer"] = []string{"a", "b"}
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(body) // a caller that left shows in its case
}

func tell(set func(name, value string), what seen) {
	text, err := json.Marshal(what)
	if err != nil {
		panic(err) // strings and a truth value
	}
	set("seen", string(text))
}

// An app that speaks gRPC, and answers with the data that it got. The port.
func serveRPC() (int, error) {
	listener, port, err := listen()
	if err != nil {
		return 0, err
	}
	server := grpc.NewServer()
	runtimev1.RegisterAppCallbackServer(server, app{})
	go func() { _ = server.Serve(listener) }() // up to the end of the program
	return port, nil
}

type app struct {
	runtimev1.UnimplementedAppCallbackServer
}

func (app) OnInvoke(ctx context.Context, call *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
	if call.GetMethod() == "fail" {
		failure, err := status.New(codes.NotFound, "no such order").WithDetails(durationpb.New(1))
		if err != nil {
			return nil, err
		}
		return nil, failure.Err()
	}
	md, _ := metadata.FromIncomingContext(ctx)
	all := func(name string) string { return strings.Join(md.Get(name), ",") }
	header := metadata.MD{}
	tell(func(name, value string) { header.Set(name, value) }, seen{
		Method: call.GetHttpExtension().GetVerb().String(), Path: call.GetMethod(),
		Query: call.GetHttpExtension().GetQuerystring(), ContentType: call.GetContentType(), List: all("x-list"),
		Caller: all("dapr-caller-app-id"), Callee: all("dapr-callee-app-id"),
		IsOwnToken: all("dapr-api-token") == appToken, Length: strconv.Itoa(len(call.GetData().GetValue())),
	})
	return &commonv1.InvokeResponse{Data: call.GetData(), ContentType: call.GetContentType()},
		grpc.SetHeader(ctx, header)
}

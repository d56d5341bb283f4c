package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	internalv1 "github.com/dapr/dapr/pkg/proto/internals/v1"
	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"sidegate-sdk-tests/report"
)

// A sidecar, and the one that it calls.
type callingOne struct {
	*peer
	api  stubs
	http int
}

// A sidecar that calls one which is made of Dapr's stubs.
func calling(s starter) (cases []report.Case, stop func(), err error) {
	stop = func() {}
	peer, port, err := servePeer()
	if err != nil {
		return nil, stop, err
	}
	names, err := s.names("peer", port)
	if err != nil {
		return nil, stop, err
	}
	sidecar, err := s.start("--app-id=wire-caller", names)
	if err != nil {
		return nil, stop, err
	}
	api, err := dial(sidecar.grpc)
	one := callingOne{peer, api, sidecar.http}
	return []report.Case{
		{Name: "a call over HTTP has every field that Dapr's sidecar reads", Run: one.callsOverHTTP},
		{Name: "a call of many pieces is answered with as many", Run: one.callsWithManyPieces},
		{Name: "a GET without a body is one message, and a half-close", Run: one.callsWithoutABody},
		{Name: "a call for events is one for Dapr's sidecar too", Run: one.callsForEvents},
		{Name: "a call over gRPC keeps its types both ways", Run: one.callsOverGRPC},
		{Name: "a status of the app there is that of the answer", Run: one.getsAStatus},
		{Name: "a failure of an app that speaks gRPC there is passed on", Run: one.getsAFailure},
		{Name: "a refusal of the sidecar there is 403", Run: one.isDenied},
		{Name: "a service of the app there is called with metadata of this sidecar", Run: one.callsAService},
	}, sidecar.stop, err
}

// Calls a method of the peer. The body of the answer is read.
func (c callingOne) invoke(verb, method string, body io.Reader, accept ...string) (*http.Response, []byte, error) {
	url := fmt.Sprintf("http://%s/v1.0/invoke/peer/method/%s", address(c.http), method)
	request, err := http.NewRequest(verb, url, body)
	if err != nil {
		return nil, nil, err
	}
	request.Header = http.Header{
		"Dapr-Api-Token": {apiToken}, "X-List": {"a", "b"}, "Dapr-Caller-App-Id": {"admin"},
		"Connection": {"X-Hop"}, "X-Hop": {"x"},
	}
	if len(accept) > 0 {
		request.Header["Accept"] = accept
	}
	if body != nil {
		request.Header.Set("Content-Type", "text/x")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return response, answer, err
}

// What every call says, however it came.
func headIsWhole(head *internalv1.InternalInvokeRequest) error {
	md := map[string][]string{}
	for name, list := range head.GetMetadata() {
		md[name] = list.GetValues()
	}
	errs := []error{
		report.Equal("the version", head.GetVer(), internalv1.APIVersion_V1),
		report.Equal("the actor", head.GetActor() == nil, true),
		report.Equal("data in the head", len(head.GetMessage().GetData().GetValue()), 0),
		report.Equal("names that differ", len(lower(head.GetMetadata())), len(md)),
		report.Equal("x-list", lower(head.GetMetadata())["x-list"], []string{"a", "b"}),
	}
	for name, values := range map[string][]string{
		"dapr-caller-app-id":    {"wire-caller"},
		"dapr-caller-namespace": {"default"},
		"dapr-callee-app-id":    {"peer"},
		"destination-app-id":    {"peer"},
	} {
		errs = append(errs, report.Equal(name, md[name], values)) // Dapr looks for these in lower case
	}
	for _, name := range []string{"dapr-api-token", "dapr-app-id", "x-hop"} {
		errs = append(errs, report.Equal(name, lower(head.GetMetadata())[name], nil))
	}
	return report.All(errs...)
}

func messageIs(got *commonv1.InvokeRequest, verb commonv1.HTTPExtension_Verb, method, contentType string) error {
	return report.All(
		report.Equal("the method", got.GetMethod(), method),
		report.Equal("the content type", got.GetContentType(), contentType),
		report.Equal("the verb", got.GetHttpExtension().GetVerb(), verb),
		report.Equal("the query", got.GetHttpExtension().GetQuerystring(), "a=1&b=%C3%A4"))
}

func (c callingOne) callsOverHTTP() error {
	response, body, err := c.invoke("POST", "orders/1?a=1&b=%C3%A4", strings.NewReader("whole"))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusCreated {
		return fmt.Errorf("%s: %s", response.Status, body)
	}
	got, err := c.took()
	return report.All(err,
		headIsWhole(got.head),
		messageIs(got.head.GetMessage(), commonv1.HTTPExtension_POST, "orders/1", "text/x"),
		report.Equal("the body", string(got.body), "whole"),
		report.Equal("the answer", string(body), "whole"),
		report.Equal("a header", response.Header.Values("X-Answer"), []string{"a", "b"}),
		report.Equal("tokens in the answer", len(response.Header.Values("Dapr-Api-Token")), 0),
		report.Equal("the content type of the answer", response.Header.Get("Content-Type"), "text/x"))
}

// Of a length that is known, and of one that is not.
func (c callingOne) callsWithManyPieces() error {
	body := bytes.Repeat([]byte("0123456789abcde"), 20_001)
	for _, reader := range []io.Reader{bytes.NewReader(body), io.MultiReader(bytes.NewReader(body))} {
		response, answer, err := c.invoke("PUT", "orders/1?a=1&b=%C3%A4", reader)
		if err != nil {
			return err
		}
		if response.StatusCode != http.StatusCreated {
			return fmt.Errorf("%s: %s", response.Status, answer)
		}
		got, err := c.took()
		err = report.All(err,
			headIsWhole(got.head),
			messageIs(got.head.GetMessage(), commonv1.HTTPExtension_PUT, "orders/1", "text/x"),
			report.Equal("whether the body is whole", bytes.Equal(got.body, body), true),
			report.Equal("whether the answer is whole", bytes.Equal(answer, body), true))
		if err != nil {
			return err
		}
	}
	return nil
}

func (c callingOne) callsWithoutABody() error {
	response, body, err := c.invoke("GET", "orders/1?a=1&b=%C3%A4", nil)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusCreated {
		return fmt.Errorf("%s: %s", response.Status, body)
	}
	got, err := c.took()
	return report.All(err,
		headIsWhole(got.head),
		messageIs(got.head.GetMessage(), commonv1.HTTPExtension_GET, "orders/1", ""),
		report.Equal("the body", len(got.body), 0),
		report.Equal("the answer", len(body), 0))
}

// Dapr's sidecar streams the events of its app where it finds this header under the name that Go gives it
// (IsSSEGrpcRequest in pkg/sse), and is at odds with itself where it finds it under another one.
func (c callingOne) callsForEvents() error {
	const events = "text/event-stream"
	_, _, err := c.invoke("GET", "orders/1", nil, events)
	if err != nil {
		return err
	}
	got, err := c.took()
	return report.All(err,
		report.Equal("Accept", got.head.GetMetadata()["Accept"].GetValues(), []string{events}))
}

// A context with the metadata of a call by a client.
func byClient(more ...string) context.Context {
	md := append([]string{
		"dapr-api-token", apiToken, "x-list", "a", "x-list", "b", "dapr-caller-app-id", "admin",
	}, more...)
	return metadata.AppendToOutgoingContext(context.Background(), md...)
}

func (c callingOne) callsOverGRPC() error {
	data := &anypb.Any{TypeUrl: "type.googleapis.com/a.B", Value: bytes.Repeat([]byte{1, 2, 3}, 2*chunk)}
	answer, err := c.api.InvokeService(byClient(), &runtimev1.InvokeServiceRequest{
		Id: "peer",
		Message: &commonv1.InvokeRequest{
			Method: "types", Data: data, ContentType: "text/x",
			HttpExtension: &commonv1.HTTPExtension{Verb: commonv1.HTTPExtension_PATCH, Querystring: "a=1&b=%C3%A4"},
		},
	})
	if err != nil {
		return err
	}
	got, err := c.took()
	return report.All(err,
		headIsWhole(got.head),
		messageIs(got.head.GetMessage(), commonv1.HTTPExtension_PATCH, "types", "text/x"),
		report.Equal("the type", got.head.GetMessage().GetData().GetTypeUrl(), data.GetTypeUrl()),
		report.Equal("whether the data is whole", bytes.Equal(got.body, data.GetValue()), true),
		report.Equal("the type of the answer", answer.GetData().GetTypeUrl(), data.GetTypeUrl()),
		report.Equal("whether the answer is whole",
			bytes.Equal(answer.GetData().GetValue(), data.GetValue()), true))
}

func (c callingOne) getsAStatus() error {
	response, _, err := c.invoke("POST", "missing", strings.NewReader("x"))
	if err != nil {
		return err
	}
	return report.Equal("the status", response.StatusCode, http.StatusNotFound)
}

func (c callingOne) getsAFailure() error {
	response, _, err := c.invoke("POST", "fail", strings.NewReader("x"))
	if err != nil {
		return err
	}
	_, err = c.api.InvokeService(byClient(), &runtimev1.InvokeServiceRequest{
		Id: "peer", Message: &commonv1.InvokeRequest{Method: "fail"},
	})
	failure := status.Convert(err)
	return report.All(
		report.Equal("the status", response.StatusCode, http.StatusNotFound),
		report.Equal("the code", failure.Code(), codes.NotFound),
		report.Equal("the message", failure.Message(), "no such order"),
		report.Equal("the details", len(failure.Details()), 1))
}

func (c callingOne) isDenied() error {
	response, _, err := c.invoke("GET", "denied", nil)
	if err != nil {
		return err
	}
	return report.Equal("the status", response.StatusCode, http.StatusForbidden)
}

func (c callingOne) callsAService() error {
	answer := new(wrapperspb.StringValue)
	ctx := byClient("dapr-app-id", "peer")
	if err := c.api.Invoke(ctx, "/shop.Orders/List", wrapperspb.String("ä"), answer); err != nil {
		return err
	}
	md := c.proxied.Swap(nil)
	if md == nil {
		return errors.New("no call arrived")
	}
	errs := []error{report.Equal("the answer", answer.GetValue(), "ä")}
	for name, values := range map[string][]string{
		"dapr-caller-app-id": {"wire-caller"},
		"dapr-callee-app-id": {"peer"},
		"x-list":             {"a", "b"},
		"dapr-api-token":     nil,
		"dapr-app-id":        nil,
	} {
		errs = append(errs, report.Equal(name, md.Get(name), values))
	}
	return report.All(errs...)
}

package wire

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	internalv1 "github.com/dapr/dapr/pkg/proto/internals/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"sidegate-sdk-tests/report"
)

// The sidecars that are called, by what their apps are.
type calledOnes struct {
	web, rpc, none, sick stubs
}

// Sidecars that Dapr's stubs call.
func called(s starter) (cases []report.Case, stop func(), err error) {
	var started []*sidecar
	stop = func() {
		for _, sidecar := range started {
			sidecar.stop()
		}
	}
	webPort, err := serveWeb()
	if err != nil {
		return nil, stop, err
	}
	rpcPort, err := serveRPC()
	if err != nil {
		return nil, stop, err
	}
	var ones calledOnes
	for _, one := range []struct {
		stubs *stubs
		flags []string
	}{
		{&ones.web, []string{"--app-id=wire-web", "--app-port=" + strconv.Itoa(webPort)}},
		{&ones.rpc, []string{"--app-id=wire-rpc", "--app-port=" + strconv.Itoa(rpcPort), "--app-protocol=grpc"}},
		{&ones.none, []string{"--app-id=wire-none"}},
		{&ones.sick, []string{
			"--app-id=wire-sick", "--app-port=" + strconv.Itoa(webPort), "--enable-app-health-check",
			"--app-health-check-path=/sick", "--app-health-probe-interval=1", "--app-health-threshold=1",
		}},
	} {
		sidecar, err := s.start(one.flags...)
		if err != nil {
			return nil, stop, err
		}
		started = append(started, sidecar)
		if *one.stubs, err = dial(sidecar.internal); err != nil {
			return nil, stop, err
		}
	}
	return ones.cases(), stop, nil
}

func (c calledOnes) cases() []report.Case {
	return []report.Case{
		{Name: "CallLocal reaches the app with all that it has", Run: c.takesOneMessage},
		{Name: "CallLocalStream reaches the app with all that it has", Run: c.takesAStream},
		{Name: "CallLocalStream carries bodies of many pieces", Run: c.takesManyPieces},
		{Name: "GET without a body has none for the app, either way", Run: c.takesNoBody},
		{Name: "a status of the app is part of the answer", Run: c.passesOnAStatus},
		{Name: "pieces out of order are an error", Run: c.refusesDisorder},
		{Name: "a call without its head is InvalidArgument", Run: c.refusesHeadless},
		{Name: "an app that speaks gRPC gets types, and answers with them", Run: c.callsAnAppOfGRPC},
		{Name: "a failure of an app that speaks gRPC has its details", Run: c.passesOnAFailure},
		{Name: "a sidecar without an app says so", Run: c.lacksAnApp},
		{Name: "a sidecar with an unhealthy app says so", Run: c.hasASickApp},
		{Name: "calls of actors are Unimplemented", Run: c.hasNoActors},
	}
}

// A call as Dapr's sidecar makes it, of the app `callee`.
func request(callee, method string, verb commonv1.HTTPExtension_Verb) *internalv1.InternalInvokeRequest {
	return &internalv1.InternalInvokeRequest{
		Ver: internalv1.APIVersion_V1,
		Metadata: map[string]*internalv1.ListStringValue{
			"x-list":                list("a", "b"),
			"dapr-caller-app-id":    list("shop"),
			"dapr-callee-app-id":    list(callee),
			"dapr-api-token":        list("not the app's"),
			"x-forwarded-for":       list("192.0.2.1"),
			"destination-app-id":    list(callee),
			"dapr-caller-namespace": list("default"),
		},
		Message: &commonv1.InvokeRequest{
			Method:        method,
			HttpExtension: &commonv1.HTTPExtension{Verb: verb, Querystring: "a=1&b=%C3%A4"},
		},
	}
}

func post(callee, method string) *internalv1.InternalInvokeRequest {
	call := request(callee, method, commonv1.HTTPExtension_POST)
	call.Message.ContentType = "text/x"
	return call
}

func (c calledOnes) takesOneMessage() error {
	call := post("wire-web", "orders/1")
	call.Message.Data = &anypb.Any{Value: []byte("whole")}
	head, err := c.web.CallLocal(context.Background(), call)
	if err != nil {
		return err
	}
	return postWasSeen(answer{head, head.GetMessage().GetData().GetValue()}, "whole")
}

func (c calledOnes) takesAStream() error {
	call := post("wire-web", "orders/1")
	call.Metadata["content-length"] = list("5") // as Dapr passes it on
	answer, err := stream(c.web, call, []byte("whole"))
	return report.All(err, postWasSeen(answer, "whole"))
}

func postWasSeen(got answer, body string) error {
	return report.All(
		webAnswered(got, 201, seen{
			Method: "POST", Path: "/orders/1", Query: "a=1&b=%C3%A4", ContentType: "text/x", List: "a,b",
			Caller: "shop", Callee: "wire-web", IsOwnToken: true, Length: strconv.Itoa(len(body)),
		}),
		report.Equal("the body", string(got.body), body),
		report.Equal("the content type", got.head.GetMessage().GetContentType(), "text/x"),
		report.Equal("a header", lower(got.head.GetHeaders())["x-answer"], []string{"a", "b"}))
}

func (c calledOnes) takesManyPieces() error {
	body := bytes.Repeat([]byte("0123456789abcde"), 20_001)
	answer, err := stream(c.web, post("wire-web", "orders/1"), body)
	if err != nil {
		return err
	}
	return report.All(
		report.Equal("the status", answer.head.GetStatus().GetCode(), 201),
		report.Equal("whether the body is whole", bytes.Equal(answer.body, body), true))
}

func (c calledOnes) takesNoBody() error {
	expected := seen{
		Method: "GET", Path: "/orders/1", Query: "a=1&b=%C3%A4", List: "a,b",
		Caller: "shop", Callee: "wire-web", IsOwnToken: true, Length: "none",
	}
	get := request("wire-web", "orders/1", commonv1.HTTPExtension_GET)
	head, err := c.web.CallLocal(context.Background(), get)
	streamed, streamedErr := stream(c.web, get, nil)
	return report.All(err, streamedErr, webAnswered(answer{head: head}, 201, expected),
		webAnswered(streamed, 201, expected), report.Equal("the body", len(streamed.body), 0))
}

func (c calledOnes) passesOnAStatus() error {
	answer, err := stream(c.web, post("wire-web", "missing"), []byte("x"))
	return report.All(err, report.Equal("the status", answer.head.GetStatus().GetCode(), 404))
}

func (c calledOnes) refusesDisorder() error {
	pieces := payloads(make([]byte, 3*chunk))
	pieces[1].Seq = 2
	answer, err := streamed(c.web, post("wire-web", "orders/1"), pieces)
	if err == nil {
		return fmt.Errorf("%d bytes were answered", len(answer.body))
	}
	return nil
}

func (c calledOnes) refusesHeadless() error {
	_, err := stream(c.web, nil, []byte("x"))
	return report.Equal("the code", status.Code(err), codes.InvalidArgument)
}

func (c calledOnes) callsAnAppOfGRPC() error {
	call := post("wire-rpc", "orders/1")
	call.Message.Data = &anypb.Any{TypeUrl: "type.googleapis.com/a.B"}
	body := bytes.Repeat([]byte{1, 2, 3}, 2*chunk)
	got, err := stream(c.rpc, call, body)
	if err != nil {
		return err
	}
	message := got.head.GetMessage()
	expected := seen{
		Method: "POST", Path: "orders/1", Query: "a=1&b=%C3%A4", ContentType: "text/x", List: "a,b",
		Caller: "shop", Callee: "wire-rpc", IsOwnToken: true, Length: strconv.Itoa(len(body)),
	}
	return report.All(
		webAnswered(got, 0, expected),
		report.Equal("the type", message.GetData().GetTypeUrl(), "type.googleapis.com/a.B"),
		report.Equal("the content type", message.GetContentType(), "text/x"),
		report.Equal("whether the body is whole", bytes.Equal(got.body, body), true))
}

func (c calledOnes) passesOnAFailure() error {
	got, err := stream(c.rpc, post("wire-rpc", "fail"), []byte("x"))
	if err != nil {
		return err
	}
	failure := got.head.GetStatus()
	detail, err := failureDetail()
	if err != nil {
		return err
	}
	details := failure.GetDetails()
	return report.All(
		report.Equal("the status", codes.Code(failure.GetCode()), codes.NotFound),
		report.Equal("the message", failure.GetMessage(), "no such order"),
		report.Equal("whether the detail is there", len(details) == 1 && proto.Equal(details[0], detail), true))
}

func failureDetail() (*anypb.Any, error) {
	return anypb.New(durationpb.New(1))
}

func (c calledOnes) lacksAnApp() error {
	_, streamed := stream(c.none, post("wire-none", "orders/1"), []byte("x"))
	_, whole := c.none.CallLocal(context.Background(), post("wire-none", "orders/1"))
	return report.All(
		refusal(streamed, codes.Internal, "app channel is not initialized"),
		refusal(whole, codes.Internal, "app channel is not initialized"))
}

// The app is taken for healthy until its first check.
func (c calledOnes) hasASickApp() error {
	return eventually(func() error {
		_, err := stream(c.sick, post("wire-sick", "orders/1"), []byte("x"))
		return refusal(err, codes.Internal, "app is not in a healthy state")
	})
}

func refusal(err error, code codes.Code, text string) error {
	return report.All(
		report.Equal("the code", status.Code(err), code),
		report.Equal(fmt.Sprintf("whether %v says %q", err, text), strings.Contains(fmt.Sprint(err), text), true))
}

func (c calledOnes) hasNoActors() error {
	call := post("wire-web", "orders/1")
	call.Actor = &internalv1.Actor{ActorType: "a", ActorId: "1"}
	_, whole := c.web.CallActor(context.Background(), call)
	_, reminder := c.web.CallActorReminder(context.Background(), &internalv1.Reminder{ActorType: "a"})
	messages, streamed := c.web.CallActorStream(context.Background(), call)
	if streamed == nil {
		_, streamed = messages.Recv()
	}
	return report.All(
		report.Equal("CallActor", status.Code(whole), codes.Unimplemented),
		report.Equal("CallActorReminder", status.Code(reminder), codes.Unimplemented),
		report.Equal("CallActorStream", status.Code(streamed), codes.Unimplemented))
}

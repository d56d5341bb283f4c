package invocation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

	"sidegate-sdk-tests/echo"
	"sidegate-sdk-tests/report"
)

type text = wrapperspb.StringValue

// What the service of each app has.
func conversations(s session) []report.Case {
	return []report.Case{
		{Name: "calls a service of " + s.callee, Run: s.says},
		{Name: "talks with a service of " + s.callee, Run: s.talks},
	}
}

// What is left of a session by hand, with grpcurl or the like.
func streams(s session) []report.Case {
	return []report.Case{
		{Name: "passes metadata both ways, and trailers", Run: s.passesMetadata},
		{Name: "cannot pass for another caller", Run: s.cannotPassForAnother},
		{Name: "reads a stream of a server to its trailers", Run: s.counts},
		{Name: "sends a stream of a client", Run: s.joins},
		{Name: "gets details and trailers of a failure", Run: s.fails},
		{Name: "is told that a method does not exist", Run: s.missesAMethod},
		{Name: "is told that an app does not exist", Run: s.missesAnApp},
		{Name: "is refused without the token", Run: s.lacksTheToken},
		{Name: "gives up a stream", Run: s.givesUp},
	}
}

func (s session) expected(said string) echo.Seen {
	return echo.Seen{Body: said, Caller: os.Getenv("APP_ID"), Callee: s.callee, IsOwnToken: true}
}

func (s session) says() error {
	answer := new(text)
	err := s.Invoke(s.context(), echo.Say, wrapperspb.String("grüß"), answer)
	return report.All(err, s.saw(answer, "grüß"))
}

func (s session) saw(answer *text, said string) error {
	var seen echo.Seen
	if err := json.Unmarshal([]byte(answer.GetValue()), &seen); err != nil {
		return err
	}
	return report.Equal("what the app saw", seen, s.expected(said))
}

// Each answer is read before the next word is said: nothing may be held back on the way.
func (s session) talks() error {
	stream, err := s.NewStream(s.context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, echo.Talk)
	if err != nil {
		return err
	}
	for _, word := range []string{"one", "", strings.Repeat("long ", 50_000)} {
		if err := stream.SendMsg(wrapperspb.String(word)); err != nil {
			return err
		}
		answer := new(text)
		if err := stream.RecvMsg(answer); err != nil {
			return err
		}
		if answer.GetValue() != "you said "+word {
			return fmt.Errorf("%d bytes were answered with %d", len(word), len(answer.GetValue()))
		}
	}
	return ends(stream)
}

func ends(stream grpc.ClientStream) error {
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if err := stream.RecvMsg(new(text)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the end of the stream is %v", err)
	}
	return nil
}

func (s session) passesMetadata() error {
	ctx := metadata.AppendToOutgoingContext(s.context(), "say", "a", "say", "b", "say-bin", "\x00\xff")
	var header, trailer metadata.MD
	err := s.Invoke(ctx, echo.Say, wrapperspb.String(""), new(text), grpc.Header(&header), grpc.Trailer(&trailer))
	return report.All(err,
		report.Equal("text", header.Get("said"), []string{"a", "b"}),
		report.Equal("bytes", header.Get("said-bin"), []string{"\x00\xff"}),
		report.Equal("trailers", trailer.Get("farewell"), []string{"goodbye"}),
		report.Equal("tokens in the answer", len(header.Get("dapr-api-token")), 0))
}

func (s session) cannotPassForAnother() error {
	ctx := metadata.AppendToOutgoingContext(s.context(), "dapr-caller-app-id", "admin",
		"dapr-caller-namespace", "admin", "dapr-api-token", "x")
	answer := new(text)
	err := s.Invoke(ctx, echo.Say, wrapperspb.String(""), answer)
	return report.All(err, s.saw(answer, ""))
}

func (s session) counts() error {
	const many = 1000
	stream, err := s.NewStream(s.context(), &grpc.StreamDesc{ServerStreams: true}, echo.Count)
	if err != nil {
		return err
	}
	if err := report.All(stream.SendMsg(wrapperspb.String(strconv.Itoa(many))), stream.CloseSend()); err != nil {
		return err
	}
	for number := range many {
		answer := new(text)
		if err := stream.RecvMsg(answer); err != nil {
			return err
		}
		if err := report.Equal("a number", answer.GetValue(), strconv.Itoa(number)); err != nil {
			return err
		}
	}
	return report.All(ends(stream),
		report.Equal("trailers", stream.Trailer().Get("counted"), []string{strconv.Itoa(many)}))
}

func (s session) joins() error {
	stream, err := s.NewStream(s.context(), &grpc.StreamDesc{ClientStreams: true}, echo.Join)
	if err != nil {
		return err
	}
	words := strings.Fields(strings.Repeat("word ", 500))
	for _, word := range words {
		if err := stream.SendMsg(wrapperspb.String(word)); err != nil {
			return err
		}
	}
	answer := new(text)
	if err := report.All(stream.CloseSend(), stream.RecvMsg(answer)); err != nil {
		return err
	}
	return report.Equal("the words", answer.GetValue(), strings.Join(words, " "))
}

func (s session) fails() error {
	var trailer metadata.MD
	failure := status.Convert(s.Invoke(s.context(), echo.Fail, wrapperspb.String(""), new(text), grpc.Trailer(&trailer)))
	reasons := []string{}
	for _, detail := range failure.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			reasons = append(reasons, info.GetReason())
		}
	}
	return report.All(
		report.Equal("the code", failure.Code(), codes.FailedPrecondition),
		report.Equal("the message", failure.Message(), "nothing left: ä"),
		report.Equal("the details", reasons, []string{echo.Reason}),
		report.Equal("trailers", trailer.Get("farewell"), []string{"so long"}))
}

func (s session) missesAMethod() error {
	err := s.Invoke(s.context(), "/sidegate.test.Echo/Missing", wrapperspb.String(""), new(text))
	return report.Equal("the code", status.Code(err), codes.Unimplemented)
}

func (s session) missesAnApp() error {
	s.callee = "callee-missing"
	err := s.Invoke(s.context(), echo.Say, wrapperspb.String(""), new(text))
	return report.All(
		report.Equal("whether it failed", err != nil, true),
		report.Equal("whether it names the app",
			strings.Contains(status.Convert(err).Message(), "couldn't find service: callee-missing"), true))
}

func (s session) lacksTheToken() error {
	ctx := metadata.NewOutgoingContext(s.context(), metadata.Pairs("dapr-app-id", s.callee))
	err := s.Invoke(ctx, echo.Say, wrapperspb.String(""), new(text))
	return report.Equal("the code", status.Code(err), codes.Unauthenticated)
}

// The other calls on the connection go on.
func (s session) givesUp() error {
	ctx, cancel := context.WithCancel(s.context())
	stream, err := s.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, echo.Talk)
	if err != nil {
		cancel()
		return err
	}
	first := report.All(stream.SendMsg(wrapperspb.String("wait")), stream.RecvMsg(new(text)))
	cancel()
	err = stream.RecvMsg(new(text))
	return report.All(first, report.Equal("the code", status.Code(err), codes.Canceled), s.says())
}

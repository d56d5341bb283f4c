package wire

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	internalv1 "github.com/dapr/dapr/pkg/proto/internals/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The sidecar that is called. It answers with the body that it got, in pieces as Dapr makes them.
type peer struct {
	internalv1.UnimplementedServiceInvocationServer
	call    atomic.Pointer[call]        // the last one that came whole
	proxied atomic.Pointer[metadata.MD] // the metadata of the last call of a service of its app
}

// Starts a peer, which serves up to the end of the program. The port.
func servePeer() (*peer, int, error) {
	listener, port, err := listen()
	if err != nil {
		return nil, 0, err
	}
	p := &peer{}
	server := grpc.NewServer(grpc.UnknownServiceHandler(p.proxy))
	internalv1.RegisterServiceInvocationServer(server, p)
	go func() { _ = server.Serve(listener) }()
	return p, port, nil
}

// The call that was answered just now.
func (p *peer) took() (call, error) {
	if got := p.call.Swap(nil); got != nil {
		return *got, nil
	}
	return call{}, errors.New("no call arrived")
}

func (p *peer) CallLocalStream(stream internalv1.ServiceInvocation_CallLocalStreamServer) error {
	whole, err := arrived(stream)
	if err != nil {
		return err
	}
	head := &internalv1.InternalInvokeResponse{
		Status: &internalv1.Status{Code: 201},
		Headers: map[string]*internalv1.ListStringValue{
			"X-Answer": list("a", "b"), "Dapr-Api-Token": list("secret"),
		},
		Message: &commonv1.InvokeResponse{
			ContentType: whole.head.GetMessage().GetContentType(),
			Data:        whole.head.GetMessage().GetData(),
		},
	}
	switch whole.head.GetMessage().GetMethod() {
	case "denied":
		return status.Error(codes.PermissionDenied, "access control policy has denied access")
	case "missing":
		head.Status.Code = 404
	case "types":
		head.Status.Code = 0
	case "fail":
		detail, err := failureDetail()
		if err != nil {
			return err
		}
		head.Status = &internalv1.Status{
			Code: int32(codes.NotFound), Message: "no such order", Details: []*anypb.Any{detail},
		}
	}
	p.call.Store(&whole)
	message := &internalv1.InternalInvokeResponseStream{Response: head}
	for _, piece := range payloads(whole.body) {
		message.Payload = piece
		if err := stream.Send(message); err != nil {
			return err
		}
		message = &internalv1.InternalInvokeResponseStream{}
	}
	if message.GetResponse() == nil {
		return nil
	}
	return stream.Send(message)
}

func (p *peer) CallLocal(
	context.Context, *internalv1.InternalInvokeRequest,
) (*internalv1.InternalInvokeResponse, error) {
	return nil, status.Error(codes.Internal, "bodies have to stream")
}

func (p *peer) proxy(_ any, stream grpc.ServerStream) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	p.proxied.Store(&md)
	for {
		message := new(wrapperspb.StringValue)
		switch err := stream.RecvMsg(message); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := stream.SendMsg(message); err != nil {
			return err
		}
	}
}

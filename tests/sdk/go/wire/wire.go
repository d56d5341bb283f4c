// Package wire checks what sidecars send each other, with the stubs that Dapr's own sidecar is made of: once as the
// client of a sidecar, and once as the sidecar that it calls.
package wire

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strings"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	internalv1 "github.com/dapr/dapr/pkg/proto/internals/v1"
	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"sidegate-sdk-tests/report"
)

// The most bytes of a body that Dapr puts into one message.
const chunk = 2 << 10

// Run checks the program at a path.
func Run(program string) error {
	folder, err := os.MkdirTemp("", "wire")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	starter := starter{program, folder}
	cases, stop, err := called(starter)
	defer stop()
	if err != nil {
		return err
	}
	more, stop, err := calling(starter)
	defer stop()
	if err != nil {
		return err
	}
	return report.Run(append(cases, more...))
}

// Stubs for a sidecar: those of other sidecars, and those of its own app.
type stubs struct {
	internalv1.ServiceInvocationClient
	runtimev1.DaprClient
	*grpc.ClientConn
}

func dial(port int) (stubs, error) {
	target := address(port)
	connection, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return stubs{}, err
	}
	return stubs{
		internalv1.NewServiceInvocationClient(connection), runtimev1.NewDaprClient(connection), connection,
	}, nil
}

// Listens for whatever a program of ours plays.
func listen() (net.Listener, int, error) {
	listener, err := net.Listen("tcp", address(0))
	if err != nil {
		return nil, 0, err
	}
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		return nil, 0, errors.New("no TCP address")
	}
	return listener, address.Port, nil
}

func list(values ...string) *internalv1.ListStringValue {
	return &internalv1.ListStringValue{Values: values}
}

// Metadata by names in lower case; the peers of a sidecar compare them so.
func lower(metadata map[string]*internalv1.ListStringValue) map[string][]string {
	all := map[string][]string{}
	for name, list := range metadata {
		name = strings.ToLower(name)
		all[name] = append(all[name], list.GetValues()...)
	}
	return all
}

// A body in the pieces that Dapr makes of it.
func payloads(body []byte) []*commonv1.StreamPayload {
	var pieces []*commonv1.StreamPayload
	for piece := range slices.Chunk(body, chunk) {
		pieces = append(pieces, &commonv1.StreamPayload{Data: piece, Seq: uint64(len(pieces))})
	}
	return pieces
}

// Calls as Dapr does: the first piece of the body goes with the head.
func stream(peer stubs, call *internalv1.InternalInvokeRequest, body []byte) (answer, error) {
	pieces := payloads(body)
	return streamed(peer, call, pieces)
}

func streamed(peer stubs, call *internalv1.InternalInvokeRequest, pieces []*commonv1.StreamPayload) (answer, error) {
	client, err := peer.CallLocalStream(context.Background())
	if err != nil {
		return answer{}, err
	}
	first := &internalv1.InternalInvokeRequestStream{Request: call}
	if len(pieces) > 0 {
		first.Payload, pieces = pieces[0], pieces[1:]
	}
	// Where sending fails, receiving tells why.
	if client.Send(first) == nil {
		for _, piece := range pieces {
			if client.Send(&internalv1.InternalInvokeRequestStream{Payload: piece}) != nil {
				break
			}
		}
	}
	if err := client.CloseSend(); err != nil {
		return answer{}, err
	}
	return received(client)
}

package wire

import (
	"errors"
	"fmt"
	"io"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	internalv1 "github.com/dapr/dapr/pkg/proto/internals/v1"
)

// A whole answer of a sidecar.
type answer struct {
	head *internalv1.InternalInvokeResponse
	body []byte
}

// A whole call of a sidecar, which it ended with a half-close.
type call struct {
	head *internalv1.InternalInvokeRequest
	body []byte
}

func received(client internalv1.ServiceInvocation_CallLocalStreamClient) (answer, error) {
	var whole answer
	body, err := joined(func() (bool, *commonv1.StreamPayload, error) {
		message, err := client.Recv()
		if whole.head == nil {
			whole.head = message.GetResponse()
		}
		return message.GetResponse() != nil, message.GetPayload(), err
	})
	whole.body = body
	return whole, err
}

func arrived(server internalv1.ServiceInvocation_CallLocalStreamServer) (call, error) {
	var whole call
	body, err := joined(func() (bool, *commonv1.StreamPayload, error) {
		message, err := server.Recv()
		if whole.head == nil {
			whole.head = message.GetRequest()
		}
		return message.GetRequest() != nil, message.GetPayload(), err
	})
	whole.body = body
	return whole, err
}

// Reads messages up to the end, and holds them to the rules in service_invocation.proto: the head is in the first
// message and in no other one, all others have a payload, and payloads are numbered from 0.
func joined(next func() (hasHead bool, payload *commonv1.StreamPayload, err error)) ([]byte, error) {
	body := []byte{}
	var expected uint64
	for first := true; ; first = false {
		hasHead, payload, err := next()
		switch {
		case errors.Is(err, io.EOF) && first:
			return nil, errors.New("there was no message")
		case errors.Is(err, io.EOF):
			return body, nil
		case err != nil:
			return nil, err
		case hasHead != first:
			return nil, fmt.Errorf("a head in the first message: %t, in this one: %t", first, hasHead)
		case payload == nil && !first:
			return nil, errors.New("a later message without a payload")
		case payload == nil:
			continue
		case payload.GetSeq() != expected:
			return nil, fmt.Errorf("piece %d came in place of %d", payload.GetSeq(), expected)
		}
		body = append(body, payload.GetData()...)
		expected++
	}
}

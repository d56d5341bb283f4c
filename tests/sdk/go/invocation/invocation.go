// Package invocation makes calls of the applications beside other sidecars, with the SDK's client and with plain gRPC.
package invocation

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/dapr/go-sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"sidegate-sdk-tests/echo"
	"sidegate-sdk-tests/report"
)

// Run calls the apps in $SDK_CALLEES.
func Run() error {
	sdk, err := client.NewClient()
	if err != nil {
		return err
	}
	defer sdk.Close()
	target := "127.0.0.1:" + os.Getenv("DAPR_GRPC_PORT")
	connection, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	var cases []report.Case
	for _, callee := range strings.Fields(os.Getenv("SDK_CALLEES")) {
		cases = append(cases, report.Case{Name: "finds " + callee, Run: func() error { return finds(sdk, callee) }})
		if callee != "callee-go" {
			cases = append(cases, invocations(sdk, callee)...)
		}
		if callee != "callee-javascript" {
			cases = append(cases, conversations(session{connection, callee})...)
		}
		if callee == "callee-go" {
			cases = append(cases, streams(session{connection, callee})...)
		}
	}
	return report.Run(cases)
}

func invokes(sdk client.Client, callee string) (echo.Seen, error) {
	content := &client.DataContent{Data: []byte(`{"a":"ä"}`), ContentType: "application/json"}
	answer, err := sdk.InvokeMethodWithContent(
		context.Background(), callee, "orders/echo?a=1&b=%C3%A4", "post", content)
	var seen echo.Seen
	if err != nil {
		return seen, err
	}
	if err := json.Unmarshal(answer, &seen); err != nil {
		return seen, fmt.Errorf("the answer is %q: %w", answer, err)
	}
	return seen, nil
}

// The other sidecars start at the same time as this one.
func finds(sdk client.Client, callee string) error {
	var err error
	for range 600 {
		if _, err = invokes(sdk, callee); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

func invocations(sdk client.Client, callee string) []report.Case {
	return []report.Case{
		{Name: "invokes " + callee + " over gRPC", Run: func() error {
			seen, err := invokes(sdk, callee)
			expected := echo.Seen{
				Verb: "POST", Query: "a=1&b=%C3%A4", ContentType: "application/json", Body: map[string]any{"a": "ä"},
				Caller: os.Getenv("APP_ID"), Callee: callee, IsOwnToken: true,
			}
			if callee == "callee-python" { // its SDK shows neither to the app
				expected.Verb, expected.Query = "", ""
			}
			return report.All(err, report.Equal("what the app saw", seen, expected))
		}},
		{Name: "is told by " + callee + " that a method is missing, over gRPC", Run: func() error {
			_, err := sdk.InvokeMethod(context.Background(), callee, "missing", "get")
			expected := map[string]codes.Code{
				"callee-python": codes.Unimplemented, "callee-javascript": codes.NotFound,
			}
			return report.Equal("the code", status.Code(err), expected[callee])
		}},
	}
}

// A session with an app, past the SDK: its client sends no metadata of the caller beside a token.
type session struct {
	*grpc.ClientConn
	callee string
}

func (s session) context() context.Context {
	return metadata.AppendToOutgoingContext(context.Background(),
		"dapr-app-id", s.callee, "dapr-api-token", os.Getenv("DAPR_API_TOKEN"))
}

package wire

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// The tokens of all sidecars here.
const (
	apiToken = "api-token-of-the-wire"
	appToken = "app-token-of-the-wire"
)

// Starts sidecars.
type starter struct {
	program, folder string
}

// A sidecar that runs.
type sidecar struct {
	process *exec.Cmd
	// Its ports.
	http, grpc, internal int
}

func address(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// Starts a sidecar on free ports and waits until its API answers.
func (s starter) start(flags ...string) (*sidecar, error) {
	ports, err := freePorts(4)
	if err != nil {
		return nil, err
	}
	started := &sidecar{http: ports[0], grpc: ports[1], internal: ports[2]}
	flags = append([]string{
		"sidecar", "--log-level=warn", "--dapr-listen-addresses=127.0.0.1", "--metrics-listen-address=127.0.0.1",
		fmt.Sprintf("--dapr-http-port=%d", ports[0]), fmt.Sprintf("--dapr-grpc-port=%d", ports[1]),
		fmt.Sprintf("--dapr-internal-grpc-port=%d", ports[2]), fmt.Sprintf("--metrics-port=%d", ports[3]),
	}, flags...)
	started.process = exec.Command(s.program, flags...)
	started.process.Env = append(os.Environ(), "DAPR_API_TOKEN="+apiToken, "APP_API_TOKEN="+appToken)
	started.process.Stderr = os.Stderr
	if err := started.process.Start(); err != nil {
		return nil, err
	}
	url := "http://" + address(ports[0]) + "/v1.0/healthz/outbound"
	if err := eventually(func() error { return isHealthy(url) }); err != nil {
		started.stop()
		return nil, fmt.Errorf("the sidecar does not start: %w", err)
	}
	return started, nil
}

func isHealthy(url string) error {
	response, err := http.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}

func (s *sidecar) stop() {
	if s.process.Process.Signal(syscall.SIGTERM) == nil {
		_ = s.process.Wait() // its exit code tells nothing of the cases
	}
}

// Writes a Configuration by which an app is found at a port of this machine.
func (s starter) names(app string, port int) (flag string, err error) {
	path := filepath.Join(s.folder, app+".yaml")
	text := fmt.Sprintf(`apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: wire
spec:
  nameResolution:
    component: structuredformat
    configuration:
      structuredType: jsonString
      stringValue: '{"appInstances": {%q: [{"ipv4": "127.0.0.1", "port": %d}]}}'
`, app, port)
	return "--config=" + path, os.WriteFile(path, []byte(text), 0o600)
}

// Ports that were free a moment ago, all of them different.
func freePorts(count int) ([]int, error) {
	ports := make([]int, count)
	for i := range ports {
		listener, port, err := listen()
		if err != nil {
			return nil, err
		}
		defer listener.Close()
		ports[i] = port
	}
	return ports, nil
}

// Tries until it holds, for about a minute.
func eventually(holds func() error) error {
	var err error
	for range 600 {
		if err = holds(); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

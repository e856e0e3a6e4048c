// A kubelet's device manager in Go, as a foreign peer for interop tests and measurements: the same gRPC library, the
// same generated API and the same way of dialling as the real kubelet, driven by JSON lines.
//
// Usage: foreignkubelet DIR. Commands come on stdin, one JSON object a line; events and answers go to stdout. An
// answer repeats the command's "seq". The vocabulary is in test/support/foreign.ts.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const (
	dialTimeout     = 10 * time.Second
	preStartTimeout = 30 * time.Second
	checkpoint      = "kubelet_internal_checkpoint"
)

type object = map[string]any

// plugin is one connected endpoint.
type plugin struct {
	endpoint string
	conn     *grpc.ClientConn
	client   api.DevicePluginClient
	cancel   context.CancelFunc
}

// kubelet serves Registration and keeps the plugins that came.
type kubelet struct {
	api.UnimplementedRegistrationServer
	dir string

	out sync.Mutex

	mu      sync.Mutex
	server  *grpc.Server
	plugins map[string]*plugin
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: foreignkubelet DIR")
		os.Exit(2)
	}
	k := &kubelet{dir: os.Args[1], plugins: map[string]*plugin{}}
	if err := k.start(); err != nil {
		fmt.Fprintln(os.Stderr, "Cannot start:", err)
		os.Exit(1)
	}
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, 64<<20)
	for input.Scan() {
		var c command
		if err := json.Unmarshal(input.Bytes(), &c); err != nil {
			fmt.Fprintln(os.Stderr, "Cannot read command:", err)
			os.Exit(1)
		}
		if c.Cmd == "quit" {
			break
		}
		k.serve(c)
	}
	k.stop()
}

func (k *kubelet) emit(event string, fields object) {
	line := object{"event": event}
	for key, value := range fields {
		line[key] = value
	}
	text, err := json.Marshal(line)
	if err != nil {
		panic(err) // only our own maps of strings and numbers come here
	}
	k.out.Lock()
	defer k.out.Unlock()
	os.Stdout.Write(append(text, '\n'))
}

// start empties the directory as a starting kubelet does and listens on kubelet.sock.
func (k *kubelet) start() error {
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() == checkpoint || entry.IsDir() {
			continue
		}
		if err := os.Remove(filepath.Join(k.dir, entry.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	path := filepath.Join(k.dir, "kubelet.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	api.RegisterRegistrationServer(server, k)
	k.mu.Lock()
	k.server = server
	k.mu.Unlock()
	go func() {
		if err := server.Serve(listener); err != nil {
			fmt.Fprintln(os.Stderr, "Registration server ended:", err)
		}
	}()
	k.emit("listening", object{"path": path})
	return nil
}

func (k *kubelet) stop() {
	k.mu.Lock()
	server, plugins := k.server, k.plugins
	k.server, k.plugins = nil, map[string]*plugin{}
	k.mu.Unlock()
	for _, p := range plugins {
		p.close()
	}
	if server != nil {
		server.Stop()
	}
}

func (p *plugin) close() {
	p.cancel()
	p.conn.Close()
}

// dial blocks until the plugin's socket answers. The authority is what makes Node's HTTP/2 accept the connection.
func dial(path string) (*grpc.ClientConn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	//lint:ignore SA1019 the kubelet dials in this way, blocking
	return grpc.DialContext(ctx, path,
		grpc.WithAuthority("localhost"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithBlock(),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", address)
		}),
	)
}

// Register dials back inside the call, takes the plugin in and answers; the stream is opened afterwards.
func (k *kubelet) Register(ctx context.Context, r *api.RegisterRequest) (*api.Empty, error) {
	if r.Version != api.Version {
		return nil, fmt.Errorf("version %q is not %s", r.Version, api.Version)
	}
	conn, err := dial(filepath.Join(k.dir, r.Endpoint))
	if err != nil {
		k.emit("refused", object{"resource": r.ResourceName, "endpoint": r.Endpoint, "reason": err.Error()})
		return nil, fmt.Errorf("no plugin answers on %s: %w", r.Endpoint, err)
	}
	client := api.NewDevicePluginClient(conn)
	options, err := client.GetDevicePluginOptions(ctx, &api.Empty{})
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("asking %s for its options: %w", r.Endpoint, err)
	}
	stream, cancel := context.WithCancel(context.Background())
	p := &plugin{endpoint: r.Endpoint, conn: conn, client: client, cancel: cancel}
	k.mu.Lock()
	old := k.plugins[r.ResourceName]
	k.plugins[r.ResourceName] = p
	k.mu.Unlock()
	if old != nil {
		old.close()
	}
	k.emit("registered", object{
		"resource": r.ResourceName, "endpoint": r.Endpoint,
		"options":        optionsOf(options),
		"requestOptions": optionsOf(r.Options),
	})
	go k.watch(stream, r.ResourceName, p)
	return &api.Empty{}, nil
}

func optionsOf(o *api.DevicePluginOptions) object {
	return object{"preStartRequired": o.GetPreStartRequired(), "preferredAvailable": o.GetGetPreferredAllocationAvailable()}
}

func (k *kubelet) watch(ctx context.Context, resource string, p *plugin) {
	stream, err := p.client.ListAndWatch(ctx, &api.Empty{})
	for err == nil {
		var list *api.ListAndWatchResponse
		if list, err = stream.Recv(); err == nil {
			devices := []object{}
			for _, d := range list.Devices {
				numa := []int64{}
				for _, node := range d.GetTopology().GetNodes() {
					numa = append(numa, node.ID)
				}
				devices = append(devices, object{"id": d.ID, "health": d.Health, "numa": numa})
			}
			k.emit("list", object{"resource": resource, "devices": devices})
		}
	}
	k.mu.Lock()
	inCharge := k.plugins[resource] == p
	if inCharge {
		delete(k.plugins, resource)
	}
	k.mu.Unlock()
	if inCharge {
		p.close()
		k.emit("stream-ended", object{"resource": resource, "reason": err.Error()})
	}
}

// command is one line of stdin.
type command struct {
	Cmd         string     `json:"cmd"`
	Seq         int        `json:"seq"`
	Resource    string     `json:"resource"`
	Ids         []string   `json:"ids"`
	Containers  [][]string `json:"containers"`
	Available   []string   `json:"available"`
	MustInclude []string   `json:"mustInclude"`
	Size        int32      `json:"size"`
	N           int        `json:"n"`
	Clients     int        `json:"clients"`
}

func (k *kubelet) serve(c command) {
	event, fields, err := k.do(c)
	if err != nil {
		s := status.Convert(err)
		k.emit("error", object{"seq": c.Seq, "cmd": c.Cmd, "code": int(s.Code()), "message": s.Message()})
		return
	}
	fields["seq"] = c.Seq
	k.emit(event, fields)
}

func (k *kubelet) do(c command) (string, object, error) {
	if c.Cmd == "restart" {
		k.stop()
		return "restarted", object{}, k.start()
	}
	k.mu.Lock()
	p := k.plugins[c.Resource]
	k.mu.Unlock()
	if p == nil {
		return "", nil, fmt.Errorf("no plugin of %q is connected", c.Resource)
	}
	ctx := context.Background()
	switch c.Cmd {
	case "allocate":
		response, err := p.client.Allocate(ctx, c.allocateRequest())
		return "allocated", object{"resource": c.Resource, "responses": responsesOf(response)}, err
	case "options":
		options, err := p.client.GetDevicePluginOptions(ctx, &api.Empty{})
		return "options", optionsOf(options), err
	case "preferred":
		response, err := p.client.GetPreferredAllocation(ctx, &api.PreferredAllocationRequest{
			ContainerRequests: []*api.ContainerPreferredAllocationRequest{{
				AvailableDeviceIDs: c.Available, MustIncludeDeviceIDs: c.MustInclude, AllocationSize: c.Size,
			}},
		})
		ids := []string{}
		for _, container := range response.GetContainerResponses() {
			ids = append(ids, container.DeviceIDs...)
		}
		return "preferred", object{"resource": c.Resource, "ids": ids}, err
	case "preStart":
		limited, cancel := context.WithTimeout(ctx, preStartTimeout)
		defer cancel()
		_, err := p.client.PreStartContainer(limited, &api.PreStartContainerRequest{DevicesIds: c.Ids})
		return "preStarted", object{"resource": c.Resource}, err
	case "bench":
		fields, err := k.bench(p, c)
		return "bench", fields, err
	}
	return "", nil, fmt.Errorf("unknown command %q", c.Cmd)
}

func (c command) allocateRequest() *api.AllocateRequest {
	containers := c.Containers
	if containers == nil {
		containers = [][]string{c.Ids}
	}
	request := &api.AllocateRequest{}
	for _, ids := range containers {
		request.ContainerRequests = append(request.ContainerRequests, &api.ContainerAllocateRequest{DevicesIds: ids})
	}
	return request
}

func responsesOf(response *api.AllocateResponse) []object {
	responses := []object{}
	for _, container := range response.GetContainerResponses() {
		mounts, devices, cdi := []object{}, []object{}, []string{}
		for _, m := range container.Mounts {
			mounts = append(mounts, object{"containerPath": m.ContainerPath, "hostPath": m.HostPath, "readOnly": m.ReadOnly})
		}
		for _, d := range container.Devices {
			devices = append(devices, object{"containerPath": d.ContainerPath, "hostPath": d.HostPath, "permissions": d.Permissions})
		}
		for _, d := range container.CdiDevices {
			cdi = append(cdi, d.Name)
		}
		responses = append(responses, object{
			"envs": stringMap(container.Envs), "annotations": stringMap(container.Annotations),
			"mounts": mounts, "devices": devices, "cdiDevices": cdi,
		})
	}
	return responses
}

// stringMap keeps JSON's {} for an absent map, where Go would write null.
func stringMap(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// reachable is where the plugin can be dialled now: it may have registered under a name that was for that call only.
func (k *kubelet) reachable(p *plugin) string {
	path := filepath.Join(k.dir, p.endpoint)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if sockets, _ := filepath.Glob(filepath.Join(k.dir, "rdma-*.sock")); len(sockets) == 1 {
		return sockets[0]
	}
	return path
}

// bench makes n Allocates per client, one after the other; every client has a connection of its own.
func (k *kubelet) bench(p *plugin, c command) (object, error) {
	clients, n := max(c.Clients, 1), max(c.N, 1)
	took := make([][]time.Duration, clients)
	failures := make([]error, clients)
	connections := make([]*grpc.ClientConn, clients)
	for i := range connections {
		conn, err := dial(k.reachable(p))
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		connections[i] = conn
	}
	var all sync.WaitGroup
	begin := time.Now()
	for i, conn := range connections {
		all.Add(1)
		go func() {
			defer all.Done()
			client, request := api.NewDevicePluginClient(conn), c.allocateRequest()
			for range n {
				start := time.Now()
				if _, err := client.Allocate(context.Background(), request); err != nil {
					failures[i] = err
					return
				}
				took[i] = append(took[i], time.Since(start))
			}
		}()
	}
	all.Wait()
	seconds := time.Since(begin).Seconds()
	for _, err := range failures {
		if err != nil {
			return nil, err
		}
	}
	var every []time.Duration
	for _, times := range took {
		every = append(every, times...)
	}
	sort.Slice(every, func(a, b int) bool { return every[a] < every[b] })
	micros := func(share float64) float64 {
		at := min(int(share*float64(len(every))), len(every)-1)
		return float64(every[at].Nanoseconds()) / 1000
	}
	return object{
		"n": n, "clients": clients, "p50us": micros(0.5), "p99us": micros(0.99), "maxus": micros(1),
		"perSecond": float64(len(every)) / seconds,
	}, nil
}

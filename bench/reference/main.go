// The least that a device plugin in Go can be, to measure against: it serves one resource with constant devices, gives
// every Allocate the same prepared answer, registers, and registers again when the kubelet makes a new socket. It looks
// at no hardware, checks nothing and never changes its list; a real plugin in Go can only be slower and bigger.
//
// Usage: reference DIR [RESOURCE]. It ends with SIGTERM.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const endpoint = "reference.sock"

type plugin struct {
	api.UnimplementedDevicePluginServer
	devices  []*api.Device
	response *api.AllocateResponse
	options  *api.DevicePluginOptions
}

func newPlugin() *plugin {
	env := map[string]string{}
	// As many variables and nodes as our plugin gives for one HCA, so that both send the same amount.
	for name, value := range map[string]string{
		"RDMA_HCAS": "mlx5_0", "RDMA_PCI_ADDRESSES": "0000:3b:00.0", "RDMA_NETDEVS": "", "RDMA_UVERBS": "/dev/infiniband/uverbs0",
	} {
		env[name] = value
		env[name+"_TENCENT_COM_RDMA"] = value
	}
	node := func(path string) *api.DeviceSpec {
		return &api.DeviceSpec{HostPath: path, ContainerPath: path, Permissions: "rw"}
	}
	return &plugin{
		devices: []*api.Device{{ID: "mlx5_0", Health: api.Healthy}},
		response: &api.AllocateResponse{ContainerResponses: []*api.ContainerAllocateResponse{{
			Envs: env,
			Devices: []*api.DeviceSpec{
				node("/dev/infiniband/uverbs0"), node("/dev/infiniband/umad0"), node("/dev/infiniband/rdma_cm"),
			},
		}}},
		options: &api.DevicePluginOptions{},
	}
}

func (p *plugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return p.options, nil
}

func (p *plugin) ListAndWatch(_ *api.Empty, stream api.DevicePlugin_ListAndWatchServer) error {
	if err := stream.Send(&api.ListAndWatchResponse{Devices: p.devices}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

func (p *plugin) Allocate(context.Context, *api.AllocateRequest) (*api.AllocateResponse, error) {
	return p.response, nil
}

func (p *plugin) serve(dir string) (*grpc.Server, error) {
	path := filepath.Join(dir, endpoint)
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	server := grpc.NewServer()
	api.RegisterDevicePluginServer(server, p)
	go server.Serve(listener)
	return server, nil
}

func register(dir, resource string) error {
	conn, err := grpc.NewClient("unix://"+filepath.Join(dir, "kubelet.sock"),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = api.NewRegistrationClient(conn).Register(context.Background(), &api.RegisterRequest{
		Version: api.Version, Endpoint: endpoint, ResourceName: resource,
	}, grpc.WaitForReady(true))
	return err
}

// kubeletStarts returns a channel that gets a value for every kubelet.sock that is made in the directory.
func kubeletStarts(dir string) (<-chan struct{}, error) {
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if _, err := syscall.InotifyAddWatch(fd, dir, syscall.IN_CREATE); err != nil {
		return nil, err
	}
	starts := make(chan struct{}, 16)
	go func() {
		buffer := make([]byte, 64*1024)
		for {
			size, err := syscall.Read(fd, buffer)
			if err != nil {
				fail(err)
			}
			for at := 0; at < size; {
				event := (*syscall.InotifyEvent)(unsafe.Pointer(&buffer[at]))
				name := buffer[at+syscall.SizeofInotifyEvent : at+syscall.SizeofInotifyEvent+int(event.Len)]
				if strings.TrimRight(string(name), "\x00") == "kubelet.sock" {
					starts <- struct{}{}
				}
				at += syscall.SizeofInotifyEvent + int(event.Len)
			}
		}
	}()
	return starts, nil
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "reference:", err)
	os.Exit(1)
}

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("usage: reference DIR [RESOURCE]"))
	}
	dir, resource := os.Args[1], "example.com/reference"
	if len(os.Args) > 2 {
		resource = os.Args[2]
	}
	starts, err := kubeletStarts(dir)
	if err != nil {
		fail(err)
	}
	p := newPlugin()
	for {
		server, err := p.serve(dir)
		if err != nil {
			fail(err)
		}
		if err := register(dir, resource); err != nil {
			fmt.Fprintln(os.Stderr, "reference: will try again when the kubelet starts:", err)
		}
		<-starts
		server.Stop()
	}
}

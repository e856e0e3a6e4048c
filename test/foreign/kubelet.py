"""A kubelet's device manager on gRPC's C core, as a foreign peer for interop tests.

Usage: kubelet.py DIR PROTO_DIR. It needs Debian's python3-grpcio, python3-protobuf and protoc. The messages are made
at start from the project's .proto files, by descriptor; no generated code is kept anywhere.

Commands come on stdin, one JSON object a line; events and answers go to stdout. An answer repeats the command's "seq".
The vocabulary is in test/support/foreign.ts.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

DIAL_SECONDS = 10
VERSION = "v1beta1"
CHECKPOINT = "kubelet_internal_checkpoint"
SERVICE = "/v1beta1.DevicePlugin/"


def load_messages(proto_dir):
    """Message classes of package v1beta1 by name."""
    with tempfile.NamedTemporaryFile(suffix=".pb") as out:
        command = ["protoc", "-I", proto_dir, "--descriptor_set_out", out.name, "deviceplugin.proto"]
        subprocess.run(command, check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    names = [message.name for file in files.file for message in file.message_type]
    classes = message_factory.MessageFactory(pool)
    return {name: classes.GetPrototype(pool.FindMessageTypeByName(f"v1beta1.{name}")) for name in names}


class Output:
    """JSON lines on stdout, whole lines from any thread."""

    def __init__(self):
        self._lock = threading.Lock()

    def emit(self, event, **fields):
        with self._lock:
            sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
            sys.stdout.flush()


class Plugin:
    """One connected endpoint."""

    def __init__(self, path, messages):
        # The C core sends "localhost" as the authority of a unix socket by itself.
        self.channel = grpc.insecure_channel(f"unix:{path}")
        self.stream = None
        try:
            grpc.channel_ready_future(self.channel).result(timeout=DIAL_SECONDS)
        except grpc.FutureTimeoutError:
            self.channel.close()
            raise

        def unary(name, request, response):
            return self.channel.unary_unary(
                SERVICE + name, messages[request].SerializeToString, messages[response].FromString
            )

        self.options = unary("GetDevicePluginOptions", "Empty", "DevicePluginOptions")
        self.allocate = unary("Allocate", "AllocateRequest", "AllocateResponse")
        self.preferred = unary("GetPreferredAllocation", "PreferredAllocationRequest", "PreferredAllocationResponse")
        self.watch = self.channel.unary_stream(
            SERVICE + "ListAndWatch", messages["Empty"].SerializeToString, messages["ListAndWatchResponse"].FromString
        )

    def close(self):
        if self.stream is not None:
            self.stream.cancel()
        self.channel.close()


class Kubelet:
    """Serves Registration and keeps the plugins that came."""

    def __init__(self, directory, messages, output):
        self.directory = directory
        self.messages = messages
        self.emit = output.emit
        self.lock = threading.Lock()
        self.plugins = {}
        self.server = None

    def start(self):
        for name in os.listdir(self.directory):
            path = os.path.join(self.directory, name)
            if name != CHECKPOINT and not os.path.isdir(path):
                os.remove(path)
        register = grpc.unary_unary_rpc_method_handler(
            self.register,
            request_deserializer=self.messages["RegisterRequest"].FromString,
            response_serializer=self.messages["Empty"].SerializeToString,
        )
        service = grpc.method_handlers_generic_handler("v1beta1.Registration", {"Register": register})
        self.server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
        self.server.add_generic_rpc_handlers((service,))
        path = os.path.join(self.directory, "kubelet.sock")
        if self.server.add_insecure_port(f"unix:{path}") == 0:
            raise OSError(f"Cannot listen on {path}")
        self.server.start()
        self.emit("listening", path=path)

    def stop(self):
        with self.lock:
            plugins, self.plugins = self.plugins, {}
        for plugin in plugins.values():
            plugin.close()
        self.server.stop(None).wait()

    def register(self, request, context):
        """Dials back inside the call, takes the plugin in and answers; the stream is opened in a thread of its own."""
        refused = {"resource": request.resource_name, "endpoint": request.endpoint}
        if request.version != VERSION:
            context.abort(grpc.StatusCode.UNKNOWN, f"version {request.version!r} is not {VERSION}")
        try:
            plugin = Plugin(os.path.join(self.directory, request.endpoint), self.messages)
        except grpc.FutureTimeoutError:
            self.emit("refused", **refused, reason="nobody answers")
            context.abort(grpc.StatusCode.UNKNOWN, f"no plugin answers on {request.endpoint}")
        try:
            options = plugin.options(self.messages["Empty"]())
        except grpc.RpcError as error:
            plugin.close()
            context.abort(grpc.StatusCode.UNKNOWN, f"asking {request.endpoint} for its options: {error.details()}")
        with self.lock:
            old = self.plugins.get(request.resource_name)
            self.plugins[request.resource_name] = plugin
        if old is not None:
            old.close()
        self.emit(
            "registered",
            resource=request.resource_name,
            endpoint=request.endpoint,
            options=options_of(options),
            requestOptions=options_of(request.options),
        )
        threading.Thread(target=self.follow, args=(request.resource_name, plugin), daemon=True).start()
        return self.messages["Empty"]()

    def follow(self, resource, plugin):
        """Reads lists until the stream ends."""
        reason = "the plugin ended the stream"
        try:
            plugin.stream = plugin.watch(self.messages["Empty"]())
            for answer in plugin.stream:
                devices = [
                    {"id": each.ID, "health": each.health, "numa": [node.ID for node in each.topology.nodes]}
                    for each in answer.devices
                ]
                self.emit("list", resource=resource, devices=devices)
        except grpc.RpcError as error:
            reason = f"{error.code().name}: {error.details()}"
        except ValueError as error:
            # The channel was closed between connecting and asking: somebody else is in charge already.
            reason = str(error)
        with self.lock:
            in_charge = self.plugins.get(resource) is plugin
            if in_charge:
                del self.plugins[resource]
        if in_charge:
            plugin.close()
            self.emit("stream-ended", resource=resource, reason=reason)

    def serve(self, command):
        """Does one command and emits its answer or its error."""
        seq = command.get("seq", 0)
        try:
            event, fields = self.do(command)
        except grpc.RpcError as error:
            code = error.code().value[0]
            self.emit("error", seq=seq, cmd=command["cmd"], code=code, message=error.details())
        except LookupError as error:
            message = str(error.args[0])
            self.emit("error", seq=seq, cmd=command["cmd"], code=grpc.StatusCode.UNKNOWN.value[0], message=message)
        else:
            self.emit(event, seq=seq, **fields)

    def do(self, command):
        name = command["cmd"]
        if name == "restart":
            self.stop()
            self.start()
            return "restarted", {}
        resource = command["resource"]
        with self.lock:
            plugin = self.plugins.get(resource)
        if plugin is None:
            raise LookupError(f"no plugin of {resource!r} is connected")
        if name == "allocate":
            request = self.messages["AllocateRequest"]()
            for ids in command.get("containers") or [command.get("ids", [])]:
                request.container_requests.add(devices_ids=ids)
            response = plugin.allocate(request)
            return "allocated", {"resource": resource, "responses": [answer_of(c) for c in response.container_responses]}
        if name == "options":
            return "options", options_of(plugin.options(self.messages["Empty"]()))
        if name == "preferred":
            request = self.messages["PreferredAllocationRequest"]()
            request.container_requests.add(
                available_deviceIDs=command.get("available", []),
                must_include_deviceIDs=command.get("mustInclude", []),
                allocation_size=command.get("size", 0),
            )
            answers = plugin.preferred(request).container_responses
            return "preferred", {"resource": resource, "ids": [each for answer in answers for each in answer.deviceIDs]}
        raise LookupError(f"unknown command {name!r}")


def options_of(options):
    return {
        "preStartRequired": options.pre_start_required,
        "preferredAvailable": options.get_preferred_allocation_available,
    }


def answer_of(container):
    return {
        "envs": dict(container.envs),
        "annotations": dict(container.annotations),
        "mounts": [
            {"containerPath": each.container_path, "hostPath": each.host_path, "readOnly": each.read_only}
            for each in container.mounts
        ],
        "devices": [
            {"containerPath": each.container_path, "hostPath": each.host_path, "permissions": each.permissions}
            for each in container.devices
        ],
        "cdiDevices": [each.name for each in container.cdi_devices],
    }


def main():
    directory, proto_dir = sys.argv[1:]
    kubelet = Kubelet(directory, load_messages(proto_dir), Output())
    kubelet.start()
    for line in sys.stdin:
        command = json.loads(line)
        if command["cmd"] == "quit":
            break
        kubelet.serve(command)
    kubelet.stop()


if __name__ == "__main__":
    main()

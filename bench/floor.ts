/**
 * How fast a plugin on this runtime could be at best: two servers that know one answer and do nothing else, one on the
 * runtime's HTTP/2 alone and one on the gRPC library with handlers for bytes. What our plugin is slower than the second
 * is its own doing; the rest is the library's and the runtime's.
 *
 *     floor.ts http2|grpc DIRECTORY RESOURCE
 *
 * @module
 */
import { type handleUnaryCall, Server, ServerCredentials, type UntypedHandleCall } from "@grpc/grpc-js";
import { Buffer } from "node:buffer";
import { createServer, type ServerHttp2Stream } from "node:http2";
import { join } from "node:path";
import process, { execPath } from "node:process";
import { fileURLToPath } from "node:url";
import { devicePluginServices } from "../src/kubelet/api.ts";
import { protoCodec } from "../src/device_plugin/codec.ts";
import { register } from "../src/device_plugin/registration.ts";
import type { NodeGrant } from "../src/pool/allocate.ts";
import { byCommand, type Subject, V8_FLAGS } from "../test/support/subject.ts";

const KINDS = { http2: overHttp2, grpc: overGrpc } as const;
type Kind = keyof typeof KINDS;

/** As many variables and nodes as the plugin gives for one HCA. */
function answers(): { readonly list: Buffer; readonly allocate: Buffer; readonly options: Buffer } {
  const node = (name: string): NodeGrant => {
    const path = `/dev/infiniband/${name}`;
    return { hostPath: path, containerPath: path, permissions: "rw" };
  };
  const values = { RDMA_HCAS: "mlx5_0", RDMA_PCI_ADDRESSES: "0000:3b:00.0", RDMA_NETDEVS: "", RDMA_UVERBS: "uverbs0" };
  const env = Object.fromEntries(
    Object.entries(values).flatMap(([name, value]) => [[name, value], [`${name}_TENCENT_COM_RDMA`, value]]),
  );
  const grant = { hcas: [], nodes: ["uverbs0", "umad0", "rdma_cm"].map(node), mounts: [], env };
  const codec = protoCodec();
  return {
    list: codec.list([{ id: "mlx5_0", healthy: true, numaNodes: [] }]),
    allocate: codec.allocateResponse([{ grant, cdi: null }]),
    options: Buffer.from([0x10, 0x01]),
  };
}

function overHttp2(socket: string): Promise<void> {
  const framed = (message: Buffer) => {
    const head = Buffer.alloc(5);
    head.writeUInt32BE(message.length, 1);
    return Buffer.concat([head, message]);
  };
  const { list, allocate, options } = answers();
  const known = new Map([["Allocate", framed(allocate)], ["GetDevicePluginOptions", framed(options)]]);
  const server = createServer();
  server.on("stream", (stream: ServerHttp2Stream, headers: Readonly<Record<string, unknown>>) => {
    const method = String(headers[":path"]).replace(/^.*\//, "");
    stream.respond({ ":status": 200, "content-type": "application/grpc+proto" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.resume();
    if (method === "ListAndWatch") stream.write(framed(list));
    else stream.on("end", () => stream.end(known.get(method)));
  });
  return new Promise((resolve) => void server.listen(socket, resolve));
}

function overGrpc(socket: string): Promise<void> {
  const same = (bytes: Buffer) => bytes;
  const service = Object.fromEntries(
    Object.entries(devicePluginServices()["v1beta1.DevicePlugin"]).map(([name, one]) => [name, {
      ...one,
      requestSerialize: same,
      requestDeserialize: same,
      responseSerialize: same,
      responseDeserialize: same,
    }]),
  );
  const { list, allocate, options } = answers();
  const always = (bytes: Buffer): handleUnaryCall<Buffer, Buffer> => (_call, callback) => callback(null, bytes);
  const handlers: Record<string, UntypedHandleCall> = {
    Allocate: always(allocate),
    GetDevicePluginOptions: always(options),
    GetPreferredAllocation: always(Buffer.alloc(0)),
    PreStartContainer: always(Buffer.alloc(0)),
    ListAndWatch: (stream: { write(bytes: Buffer): void }) => stream.write(list),
  };
  const server = new Server({ "grpc.enable_channelz": 0 });
  server.addService(service, handlers);
  return new Promise((resolve, reject) => {
    const credentials = ServerCredentials.createInsecure();
    server.bindAsync(`unix:${socket}`, credentials, (error) => error === null ? resolve() : reject(error));
  });
}

/** Both as subjects, under this runtime with the image's V8 flags. */
export function floors(): readonly Subject[] {
  const script = fileURLToPath(import.meta.url);
  const config = fileURLToPath(new URL("../deno.json", import.meta.url));
  const runtime = `${execPath} run -A --quiet --no-check --config ${config} --v8-flags=${V8_FLAGS}`;
  return Object.keys(KINDS).map((kind) => ({
    ...byCommand(`${runtime} ${script} ${kind} {kubelet} example.com/${kind}`),
    name: kind,
    resource: `example.com/${kind}`,
    returns: false,
  }));
}

if (import.meta.main) {
  const [kind = "", directory = "", resource = ""] = process.argv.slice(2);
  const serve = KINDS[kind as Kind];
  if (serve === undefined) throw new Error(`"${kind}" is none of ${Object.keys(KINDS).join(", ")}`);
  await serve(join(directory, `${kind}.sock`));
  await register(join(directory, "kubelet.sock"), resource, `${kind}.sock`, new AbortController().signal);
}

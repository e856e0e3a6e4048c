import { equal, rejects } from "@std/assert";
import { createServer } from "node:net";
import { join } from "node:path";
import { register } from "../../src/device_plugin/registration.ts";
import { podsByDevice } from "../../src/kubelet/pod_resources.ts";
import { temporaryDir } from "../support/temp.ts";

// The test runner counts the timers and sockets of each test, and fails the one that leaves any, and the next.
for (let n = 0; n < 10; n++) {
  Deno.test(`a client that finds no one leaves no timer behind (${n})`, async () => {
    using dir = temporaryDir();
    const { signal } = new AbortController();
    await rejects(register(join(dir.path, "none"), "example.com/rdma", "rdma.sock", signal));
  });

  Deno.test(`a client of a server that hangs up leaves no timer behind (${n})`, async () => {
    using dir = temporaryDir();
    const socket = join(dir.path, "s");
    const server = createServer((connection) => connection.destroy());
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    equal((await podsByDevice(socket)).ok, false);
    await rejects(register(socket, "example.com/rdma", "rdma.sock", new AbortController().signal));
    await new Promise<void>((resolve) => server.close(() => resolve()));
  });

  Deno.test(`a client that is cancelled while it connects leaves neither timer nor connection behind (${n})`, async () => {
    using dir = temporaryDir();
    const socket = join(dir.path, "s");
    const server = createServer((connection) => connection.resume());
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    const stop = new AbortController();
    const call = rejects(register(socket, "example.com/rdma", "rdma.sock", stop.signal));
    const connected = new Promise((resolve) => server.once("connection", resolve));
    if (n % 2 === 0) await connected;
    stop.abort();
    await call;
    await new Promise<void>((resolve) => server.close(() => resolve()));
  });
}

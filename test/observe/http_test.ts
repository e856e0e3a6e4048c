import { deepEqual, equal, match, ok } from "@std/assert";
import { connect } from "node:net";
import { PRESETS } from "../../sim/host/host.ts";
import { parseAddress } from "../../src/observe/address.ts";
import { HttpServer, plain } from "../../src/observe/http.ts";
import { dead, unready } from "../../src/observe/readiness.ts";
import { within } from "../support/temp.ts";
import { get, registered, rig } from "../support/rig.ts";
import { sessionStatus } from "../support/session_status.ts";

const HOST = PRESETS["connectx-roce-vfs"];

Deno.test("parseAddress() takes a host, every host, IPv6 in brackets, and nothing else", () => {
  deepEqual(parseAddress("127.0.0.1:9178"), { host: "127.0.0.1", port: 9178 });
  deepEqual(parseAddress(":9178"), { host: undefined, port: 9178 });
  deepEqual(parseAddress("[::1]:0"), { host: "::1", port: 0 });
  deepEqual(parseAddress("localhost:80"), { host: "localhost", port: 80 });
  for (const wrong of ["", "9178", "::1:9178", "host", "host:", "host:65536", "a b:1", "[zz]:1", "http://x:1"]) {
    equal(parseAddress(wrong), null, wrong);
  }
});

Deno.test("dead() speaks only when there is a timer and it is three rescans late", () => {
  equal(dead(1e9, 0), null);
  equal(dead(104_000, 30_000), null);
  match(dead(106_000, 30_000)!, /ended 106 s ago; there should be one every 30 s/);
});

Deno.test("unready() has a line per resource that is not registered, and for standby", () => {
  const one = sessionStatus({ resource: "a/b", phase: "standby", code: "standby", reason: "x" });
  deepEqual(unready([one, { ...one, resource: "a/c", phase: "registered", streams: 0, reason: null }]), [
    "a/b is standby: x",
    "a/c is registered: the kubelet has no open ListAndWatch stream",
  ]);
  equal(unready(null).length, 1);
  equal(unready([]).length, 1);
  deepEqual(unready([{ ...one, phase: "registered" }]), []);
});

Deno.test("/readyz is 503 until registered, 200 after, 503 while the kubelet is away, 200 again", async () => {
  await using plugin = await rig({ host: HOST, kubelet: false });
  const before = await plugin.get("/readyz");
  equal(before.status, 503);
  match(before.body, /^tencent\.com\/rdma is waiting: .+\n$/);
  equal((await plugin.get("/livez")).status, 200);

  await plugin.kubelet.start();
  await plugin.state(registered, "the plugin registers");
  deepEqual((({ status, body }) => ({ status, body }))(await plugin.get("/readyz")), { status: 200, body: "ok\n" });

  await plugin.kubelet.stop();
  await plugin.state((state) => !registered(state), "the plugin notices that the kubelet is gone");
  equal((await plugin.get("/readyz")).status, 503);
  equal((await plugin.get("/livez")).status, 200);

  await plugin.kubelet.start();
  await plugin.state(registered, "the plugin registers again");
  equal((await plugin.get("/readyz")).status, 200);
});

Deno.test("the server answers GET and HEAD, and nothing else", async () => {
  await using plugin = await rig({ host: HOST });
  await plugin.registered();
  for (const path of ["/", "/metrics", "/livez", "/state.json"]) {
    const [whole, head] = [await plugin.get(path), await plugin.get(path, "HEAD")];
    equal(whole.status, 200, path);
    equal(head.status, 200, path);
    equal(head.body, "");
    equal(head.headers["content-type"], whole.headers["content-type"]);
    equal(whole.headers["x-content-type-options"], "nosniff");
  }
  equal((await plugin.get("/events", "HEAD")).headers["content-type"], "text/event-stream; charset=utf-8");
  for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) {
    const refused = await plugin.get("/", method);
    equal(refused.status, 405, method);
    equal(refused.headers.allow, "GET, HEAD");
  }
  for (const path of ["/nothing", "/../etc/passwd", "/metrics/", "//", "/__proto__", "/constructor", "/%00", "*"]) {
    equal((await plugin.get(path)).status, 404, path);
  }
  equal((await plugin.get("/livez?verbose=1")).status, 200);
});

/** Speaks to the server byte by byte; resolves with what came, once the server has closed the connection. */
function raw(port: number, text: string, what: string): Promise<string> {
  let got = "";
  const closed = new Promise<string>((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(text));
    socket.on("data", (bytes) => got += bytes);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => resolve(got));
  });
  return within(closed, what);
}

Deno.test("the server lets nobody hold it: slow heads, idle connections, huge heads, bodies", async () => {
  const limits = { headMs: 100, idleMs: 100, headerBytes: 2_048 };
  await using plugin = await rig({ host: HOST, limits });
  await plugin.registered();
  equal(await raw(plugin.port, "", "a connection without a request is closed"), "");
  equal(await raw(plugin.port, "GET / HTTP/1.1\r\nHost: x\r\n", "a request that does not end is closed"), "");
  equal(await raw(plugin.port, `GET / HTTP/1.1\r\nHost: x\r\nA: ${"a".repeat(4_096)}\r\n\r\n`, "a huge head"), "");
  equal(await raw(plugin.port, "\0garbage\r\n\r\n", "no HTTP"), "");
  const idle = await raw(
    plugin.port,
    "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "a kept connection is closed when idle",
  );
  match(idle, /^HTTP\/1\.1 200 OK\r\n/);
  const body = "GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc";
  match(await raw(plugin.port, body, "a body that does not come"), /^HTTP\/1\.1 200 OK\r\n/);
  equal((await plugin.get("/livez")).status, 200);
});

Deno.test("the server takes only so many connections, and has room again when they go", async () => {
  const server = await HttpServer.listen({ host: "127.0.0.1", port: 0 }, {
    routes: { "/": { kind: "answer", answer: () => plain(200, "ok") } },
    onRequest: () => {},
    onProblem: () => {},
    limits: { connections: 2, headMs: 200 },
  });
  const both = [raw(server.port, "", "first"), raw(server.port, "", "second")];
  const third = await get(server.port, "/").then(() => "answered", () => "refused");
  await Promise.all(both);
  const later = await get(server.port, "/");
  await server.close();
  equal(third, "refused");
  equal(later.status, 200);
});

Deno.test("the server cuts off a client that does not read its answer", async () => {
  const big = "x".repeat(64 * 1024 * 1024);
  const server = await HttpServer.listen({ host: "127.0.0.1", port: 0 }, {
    routes: {
      "/": { kind: "answer", answer: () => plain(200, "ok") },
      "/big": { kind: "answer", answer: () => plain(200, big) },
    },
    onRequest: () => {},
    onProblem: () => {},
    limits: { connections: 1, readMs: 200 },
  });
  // With room for one, the next one is let in only after this one is gone.
  const lazy = connect(server.port, "127.0.0.1", () => lazy.write("GET /big HTTP/1.1\r\nHost: x\r\n\r\n"));
  lazy.on("error", () => lazy.destroy());
  await within(new Promise((resolve) => lazy.once("readable", resolve)), "the answer begins");
  const letIn = async () => {
    while (await get(server.port, "/").then(() => false, () => true));
  };
  await within(letIn(), "the lazy client is cut off").finally(() => {
    lazy.destroy();
    return server.close();
  });
  ok(lazy.bytesRead < big.length);
});

Deno.test("an answer that cannot be made is a 500 with a sentence, and the log says why", async () => {
  const problems: string[] = [];
  const server = await HttpServer.listen({ host: "127.0.0.1", port: 0 }, {
    routes: { "/": { kind: "answer", answer: () => Promise.reject(new Error("broken")) } },
    onRequest: () => {},
    onProblem: (sentence) => problems.push(sentence),
  });
  const got = await get(server.port, "/").finally(() => server.close());
  equal(got.status, 500);
  ok(!got.body.includes("broken"));
  deepEqual(problems, ["Cannot answer /: broken"]);
});

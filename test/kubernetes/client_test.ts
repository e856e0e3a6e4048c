import { deepEqual, equal, match, ok } from "@std/assert";
import { writeFileSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { join } from "node:path";
import { inClusterServer } from "../../src/kubernetes/access.ts";
import { Backoff, pause } from "../../src/kubernetes/backoff.ts";
import { ApiClient, portOf } from "../../src/kubernetes/client.ts";
import { type ResourceSlice, SLICES_PATH } from "../../src/kubernetes/resource_api.ts";
import { SLICES } from "../../sim/api_server/server.ts";
import { sliceObject as slice, withApiServer } from "../support/api_server.ts";
import { within } from "../support/temp.ts";

Deno.test("inClusterServer() puts an IPv6 address into brackets and knows when it is not in a cluster", () => {
  equal(
    inClusterServer({ KUBERNETES_SERVICE_HOST: "10.96.0.1", KUBERNETES_SERVICE_PORT: "443" }),
    "https://10.96.0.1:443",
  );
  equal(
    inClusterServer({ KUBERNETES_SERVICE_HOST: "fd00::1", KUBERNETES_SERVICE_PORT: "443" }),
    "https://[fd00::1]:443",
  );
  equal(inClusterServer({ KUBERNETES_SERVICE_HOST: "" }), null);
});

Deno.test("ApiClient creates, reads, updates and deletes, and gives the server's words as a value", () =>
  withApiServer(async (api, client) => {
    const made = await client.call<ResourceSlice>("POST", SLICES_PATH, { body: slice("a") });
    ok(made.ok, JSON.stringify(made));
    const stale = made.value;
    const newer = await client.call<ResourceSlice>("PUT", `${SLICES_PATH}/a`, { body: slice("a", { generation: 2 }) });
    ok(newer.ok);
    // What changes nothing is no write.
    const same = await client.call<ResourceSlice>("PUT", `${SLICES_PATH}/a`, { body: newer.value });
    deepEqual(same, newer);
    const conflict = await client.call("PUT", `${SLICES_PATH}/a`, { body: stale });
    ok(!conflict.ok);
    equal(conflict.error.status, 409);
    equal(conflict.error.reason, "Conflict");
    match(conflict.error.message, /has been modified/);
    const missing = await client.call("GET", `${SLICES_PATH}/b`);
    equal(missing.ok ? null : missing.error.reason, "NotFound");
    const invalid = await client.call("POST", SLICES_PATH, { body: slice("c", { driver: "No_Domain" }) });
    equal(invalid.ok ? null : invalid.error.status, 422);
    ok((await client.call("DELETE", `${SLICES_PATH}/a`)).ok);
    equal(api.slices.length, 0);
  }));

Deno.test("ApiClient says that a watch ended because its connection was cut", () =>
  withApiServer(async (api, client) => {
    const begun = Promise.withResolvers<void>();
    const watching = client.watch(SLICES_PATH, {}, 300, () => begun.resolve(), new AbortController().signal);
    await api.waitFor(() => api.watches > 0, "the watch");
    api.store.create(SLICES, slice("x"));
    await within(begun.promise, "an event: before it, the request fails and not the watch");
    api.cutWatches();
    equal((await within(watching, "the end of the watch"))?.reason, "Unreachable");
  }));

Deno.test("ApiClient reads the token for each request, and a 401 once more", () =>
  withApiServer(async (api, client) => {
    ok((await client.call("GET", SLICES_PATH)).ok);
    api.rotateToken();
    ok((await client.call("GET", SLICES_PATH)).ok);
    const before = api.requests.length;
    api.expireToken();
    const refused = await client.call("GET", SLICES_PATH);
    equal(refused.ok ? null : refused.error.status, 401);
    equal(api.requests.length - before, 2);
    api.rotateToken();
    ok((await client.call("GET", SLICES_PATH)).ok);
  }));

Deno.test("ApiClient gives a value when the server is down, silent, overloaded, or somebody else's", () =>
  withApiServer(async (api, client, dir) => {
    api.fault = { kind: "error", status: 429, retryAfterSeconds: 7 };
    const busy = await client.call("GET", SLICES_PATH);
    ok(!busy.ok);
    equal(busy.error.retryAfterMs, 7_000);
    api.fault = { kind: "silent" };
    const silent = await client.call("GET", SLICES_PATH, { timeoutMs: 100 });
    match(silent.ok ? "" : silent.error.message, /cannot be reached \(no answer within 0.1 s\)/);
    api.fault = null;
    const stranger = join(dir, "none.crt");
    writeFileSync(stranger, "");
    const untrusting = new ApiClient({ ...api.access, caFile: stranger });
    equal((await untrusting.call("GET", SLICES_PATH)).ok, false);
    untrusting.close();
    const tokenless = new ApiClient({ ...api.access, tokenFile: join(dir, "no-token") });
    match((await tokenless.call("GET", SLICES_PATH) as { error: { message: string } }).error.message, /no-token/);
    tokenless.close();
    await api.down();
    const gone = await client.call("GET", SLICES_PATH);
    equal(gone.ok ? null : gone.error.reason, "Unreachable");
    await api.up();
    ok((await client.call("GET", SLICES_PATH)).ok);
  }));

Deno.test("ApiClient leaves the connections of a server that is lost: the next request does not wait on another of them", async () => {
  // A server that loses its power: what is connected gets no answer and no end, and others take new connections.
  const [old, held]: [Set<Socket>, ServerResponse[]] = [new Set(), []];
  let lost = false;
  const server = createServer((request, response) => {
    if (lost && old.has(request.socket)) return;
    old.add(request.socket);
    held.push(response);
    // Three requests at the same time take three connections.
    if (lost || held.length === 3) { for (const one of held.splice(0)) one.end("{}"); }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const client = new ApiClient({
    server: `http://127.0.0.1:${port}`,
    compressed: false,
    credentials: () => Promise.resolve({ tls: {}, headers: {} }),
  });
  try {
    const ask = (timeoutMs: number) => client.call("GET", "/version", { timeoutMs });
    deepEqual((await Promise.all([1, 2, 3].map(() => ask(10_000)))).map((one) => one.ok), [true, true, true]);
    equal(old.size, 3);
    lost = true;
    equal((await ask(100)).ok, false);
    deepEqual(await ask(10_000), { ok: true, value: {} });
  } finally {
    client.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

Deno.test("ApiClient does not wait for a day because a proxy says so", () =>
  withApiServer(async (api, client) => {
    api.fault = { kind: "error", status: 503, retryAfterSeconds: 86_400 };
    const refused = await client.call("GET", SLICES_PATH);
    equal(refused.ok ? null : refused.error.retryAfterMs, 60_000);
  }));

Deno.test("portOf(): 80 for http and 443 for https where the address has none", () => {
  const addresses = [
    "http://a",
    "http://a:80",
    "https://a",
    "https://a:443",
    "https://a:6443/k8s/clusters/c",
    "http://[::1]:8001",
  ];
  deepEqual(addresses.map((one) => portOf(new URL(one))), [80, 80, 443, 443, 6443, 8001]);
});

Deno.test("Backoff doubles up to its limit and starts again after success; pause() ends early on abort", async () => {
  const backoff = new Backoff(1_000, 60_000, () => 0);
  deepEqual(Array.from({ length: 8 }, () => backoff.next()), [1e3, 2e3, 4e3, 8e3, 16e3, 32e3, 60e3, 60e3]);
  backoff.reset();
  equal(backoff.next(), 1_000);
  equal(new Backoff(1_000, 60_000, () => 1).next(), 750);
  const stop = new AbortController();
  const paused = pause(3_600_000, stop.signal);
  stop.abort();
  await paused;
});

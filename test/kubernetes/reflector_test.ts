import { deepEqual, equal, ok } from "@std/assert";
import type { ApiClient } from "../../src/kubernetes/client.ts";
import { listPages } from "../../src/kubernetes/pages.ts";
import { type ApiObject, Reflector } from "../../src/kubernetes/reflector.ts";
import { type FakeApiServer, NODES, PODS } from "../../sim/api_server/server.ts";
import { withApiServer } from "../support/api_server.ts";
import { within } from "../support/temp.ts";

const never = new AbortController().signal;

function fill(api: FakeApiServer, count: number): void {
  for (let i = 0; i < count; i++) api.store.create(NODES, { metadata: { name: `n${String(i).padStart(2, "0")}` } });
}

const reflector = (client: ApiClient) =>
  new Reflector<ApiObject & { wanted?: boolean }, string>(client, {
    path: "/api/v1/nodes",
    keep: (node) => node.wanted === false ? null : node.metadata.name!,
  });

Deno.test("listPages() reads a collection in pages of one version", () =>
  withApiServer(async (api, client) => {
    fill(api, 7);
    const names: string[] = [];
    const add = (item: ApiObject) => {
      names.push(item.metadata.name!);
      // Created while the list is read: not in the snapshot.
      if (names.length === 1) api.store.create(NODES, { metadata: { name: "n99" } });
    };
    const version = String(api.store.version);
    const listed = await listPages<ApiObject>(client, "/api/v1/nodes", {}, { add, restart: () => {} }, never, 3);
    deepEqual(listed, { ok: true, value: version });
    deepEqual(names, ["n00", "n01", "n02", "n03", "n04", "n05", "n06"]);
    equal(api.requests.length, 3);
  }));

Deno.test("listPages() starts again when the continue token has expired, and gives up when that goes on", () =>
  withApiServer(async (api, client) => {
    fill(api, 5);
    let names: string[] = [];
    let expiries = 1;
    const sink = {
      add: (item: ApiObject) => {
        names.push(item.metadata.name!);
        if (expiries-- > 0) api.snapshots.expire();
      },
      restart: () => void (names = []),
    };
    ok((await listPages(client, "/api/v1/nodes", {}, sink, never, 2)).ok);
    deepEqual(names, ["n00", "n01", "n02", "n03", "n04"]);
    expiries = Infinity;
    const failed = await listPages(client, "/api/v1/nodes", {}, sink, never, 2);
    equal(failed.ok ? null : failed.error.status, 410);
  }));

Deno.test("listPages() asks a busy server again after what it says, and not one that is away or refuses", () =>
  withApiServer(async (api, client) => {
    fill(api, 1);
    const sink = { add: () => {}, restart: () => {} };
    api.fault = { kind: "error", status: 429, retryAfterSeconds: 0 };
    const busy = listPages(client, "/api/v1/nodes", {}, sink, never);
    await api.waitFor(() => api.requests.length >= 2, "the second try");
    api.fault = null;
    ok((await busy).ok);
    api.fault = { kind: "forbidden", verb: "GET", resource: "nodes" };
    const before = api.requests.length;
    const refused = await listPages(client, "/api/v1/nodes", {}, sink, never);
    equal(refused.ok ? null : refused.error.reason, "Forbidden");
    equal(api.requests.length - before, 1);
    await api.down();
    const away = await listPages(client, "/api/v1/nodes", {}, sink, never);
    equal(away.ok ? null : away.error.reason, "Unreachable");
  }));

Deno.test("listPages() selects by fields and labels; a namespaced path gives its namespace alone", () =>
  withApiServer(async (api, client) => {
    const pod = (name: string, phase: string) => ({ metadata: { name, labels: { app: name } }, status: { phase } });
    api.store.create(PODS, pod("a", "Running"), "x");
    api.store.create(PODS, pod("b", "Failed"), "x");
    api.store.create(PODS, pod("c", "Running"), "y");
    const names = async (path: string, query: Record<string, string>) => {
      const found: string[] = [];
      const add = (item: ApiObject) => void found.push(item.metadata.name!);
      ok((await listPages<ApiObject>(client, path, query, { add, restart: () => {} }, never)).ok);
      return found;
    };
    deepEqual(await names("/api/v1/pods", { fieldSelector: "status.phase!=Failed" }), ["a", "c"]);
    deepEqual(await names("/api/v1/pods", { labelSelector: "app=b" }), ["b"]);
    deepEqual(await names("/api/v1/namespaces/x/pods", {}), ["a", "b"]);
  }));

Deno.test("Reflector keeps what its function makes of each object, and follows what happens", () =>
  withApiServer(async (api, client) => {
    fill(api, 2);
    const nodes = reflector(client);
    await nodes.list(never);
    deepEqual([...nodes.kept.values()], ["n00", "n01"]);
    const stop = new AbortController();
    let changed = Promise.withResolvers<void>();
    const following = nodes.follow(() => changed.resolve(), stop.signal);
    const next = async () => {
      await within(changed.promise, "a change");
      changed = Promise.withResolvers();
    };
    await api.waitFor(() => api.watches === 1, "the watch");
    api.store.create(NODES, { metadata: { name: "n02" } });
    await next();
    deepEqual([...nodes.kept.keys()], ["n00", "n01", "n02"]);
    api.store.update(NODES, "n00", { metadata: { name: "n00" }, wanted: false });
    await next();
    deepEqual([...nodes.kept.keys()], ["n01", "n02"]);
    api.store.delete(NODES, "n01");
    await next();
    deepEqual([...nodes.kept.keys()], ["n02"]);
    stop.abort();
    await following;
  }));

Deno.test("Reflector reads the collection again when its watch breaks, and keeps what it knew meanwhile", () =>
  withApiServer(async (api, client) => {
    fill(api, 1);
    const nodes = reflector(client);
    await nodes.list(never);
    const stop = new AbortController();
    const changed = Promise.withResolvers<void>();
    const following = nodes.follow(() => nodes.kept.size === 2 && changed.resolve(), stop.signal);
    await api.waitFor(() => api.watches === 1, "the watch");
    await api.down();
    api.store.create(NODES, { metadata: { name: "n01" } });
    deepEqual([...nodes.kept.keys()], ["n00"]);
    await api.up();
    await within(changed.promise, "the node that came meanwhile");
    stop.abort();
    await following;
  }));

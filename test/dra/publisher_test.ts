import { deepEqual, equal } from "@std/assert";
import { draDevices } from "../../src/dra/devices.ts";
import { Publisher, type PublisherOptions } from "../../src/dra/publisher.ts";
import type { Hca } from "../../src/hca/types.ts";
import { pause as realPause } from "../../src/kubernetes/backoff.ts";
import { SILENT } from "../../src/text/log.ts";
import { type FakeApiServer, NODES, SLICES } from "../../sim/api_server/server.ts";
import type { KubeObject } from "../../sim/api_server/store.ts";
import { Waits } from "../../sim/waits.ts";
import { withApiServer } from "../support/api_server.ts";
import { draSpec, DRIVER } from "../support/dra.ts";
import { after, hca, port } from "../support/hcas.ts";
import { within } from "../support/temp.ts";

const TIMING = {
  roundMs: 10,
  firstRetryMs: 10,
  longestRetryMs: 50,
  watchSeconds: 300,
  silentMs: 60_000,
  standbyMs: 20,
};
const SHARED = draSpec({ mode: { kind: "shared", shares: 2, of: "one" } });

/** A publisher at a server of its own. */
function withPublisher(
  run: (api: FakeApiServer, publisher: Publisher, status: (holds: () => boolean) => Promise<void>) => Promise<void>,
  over: Pick<Partial<PublisherOptions>, "successor" | "timing" | "pause"> = {},
): Promise<void> {
  return withApiServer(async (api, client) => {
    api.store.create(NODES, { metadata: { name: "n1" } });
    const waits = new Waits();
    const publisher = new Publisher({
      client,
      driver: DRIVER,
      node: "n1",
      pool: "n1",
      log: SILENT,
      onStatus: waits.changed,
      ...over,
      timing: { ...TIMING, ...over.timing },
    });
    const stop = new AbortController();
    const running = publisher.run(stop.signal);
    try {
      await run(api, publisher, async (holds) => void await waits.until(holds, "the publisher's status"));
    } finally {
      stop.abort();
      await running;
    }
  });
}

function want(publisher: Publisher, hcas: readonly Hca[], spec = draSpec()): void {
  const { devices } = draDevices(after(new Map(), [spec], hcas, 0).states, new Map());
  publisher.want({ devices, netnsMode: "shared" });
}

const names = (api: FakeApiServer) =>
  api.slices.flatMap((one) => (one.spec.devices ?? []).map((device) => device.name));

Deno.test("Publisher takes back what somebody else wrote into its slice, and removes what is not its own", () =>
  withPublisher(async (api, publisher) => {
    want(publisher, [hca(0), hca(1)]);
    await api.waitFor(() => names(api).length === 2, "the slice");
    const slice = api.slices[0]!;
    const other = { ...slice, spec: { ...slice.spec, devices: [] } };
    api.store.update(SLICES, slice.metadata.name!, other as unknown as KubeObject);
    await api.waitFor(() => names(api).length === 2, "the devices again");
    const stray = {
      metadata: { name: "stray" },
      spec: { ...slice.spec, pool: { ...slice.spec.pool, name: "old-pool" } },
    };
    api.store.create(SLICES, stray as unknown as KubeObject);
    await api.waitFor(() => api.slices.length === 1, "the stray slice to go");
  }));

Deno.test("Publisher goes on after a conflict, a cut watch, a compaction, and a server that was silent", () =>
  withPublisher(async (api, publisher) => {
    want(publisher, [hca(0)]);
    await api.waitFor(() => names(api).length === 1, "the slice");
    await api.waitFor(() => api.watches > 0, "the watch");
    api.cutWatches();
    api.store.compact();
    for (let n = 2; n < 5; n++) {
      // The object changes under the publisher: its version is not the one that it knows.
      const slice = api.slices[0]!;
      api.store.update(
        SLICES,
        slice.metadata.name!,
        { ...slice, metadata: { ...slice.metadata, annotations: { n: String(n) } } } as unknown as KubeObject,
      );
      want(publisher, Array.from({ length: n }, (_, i) => hca(i)));
      await api.waitFor(() => names(api).length === n, `${n} devices`);
    }
    api.fault = { kind: "slow", ms: 50 };
    want(publisher, [hca(0)]);
    await api.waitFor(() => names(api).length === 1, "one device, slowly");
  }));

Deno.test("Publisher publishes an empty pool: a node without HCAs is known to have none", () =>
  withPublisher(async (api, publisher) => {
    want(publisher, []);
    await api.waitFor(() => api.slices.length === 1, "the slice");
    deepEqual(api.slices[0]!.spec.devices, []);
  }));

Deno.test("Publisher keeps facts that a scan misses although a kubelet deleted the slices", () =>
  withPublisher(async (api, publisher) => {
    want(publisher, [hca(0)]);
    await api.waitFor(() => names(api).length === 1, "the slice");
    const before = api.slices[0]!.spec.devices![0]!.attributes!;
    // A CNI has moved the net device into a pod and the port is down when the kubelet starts.
    want(publisher, [hca(0, { netdevs: [], ports: [port(1, { state: "DOWN", rateGbps: 10 })] })]);
    await api.waitFor(() => (api.slices[0]?.spec.devices?.[0]?.taints ?? []).length > 0, "the taint");
    const old = api.slices[0]!.metadata.uid;
    api.store.delete(SLICES, api.slices[0]!.metadata.name!);
    await api.waitFor(() => api.slices.length === 1 && api.slices[0]!.metadata.uid !== old, "the slice again");
    deepEqual(api.slices[0]!.spec.devices![0]!.attributes, before);
    // Another adapter in the same slot.
    want(publisher, [hca(0, { nodeGuid: "ec0d:9a03:0000:9999", netdevs: [] })]);
    await api.waitFor(() => api.slices[0]!.spec.devices![0]!.attributes!.netdev === undefined, "its own facts");
  }));

Deno.test("Publisher owns its slices by the Node of now: a Node that was made again does not take them along for ever", () =>
  withPublisher(async (api, publisher) => {
    want(publisher, [hca(0)]);
    await api.waitFor(() => api.slices.length === 1, "the slice");
    api.store.delete(NODES, "n1");
    const { metadata } = api.store.create(NODES, { metadata: { name: "n1" } });
    // The garbage collector: the owner is gone.
    api.store.delete(SLICES, api.slices[0]!.metadata.name!);
    await api.waitFor(() => api.slices.length === 1, "the slice again");
    equal(api.slices[0]!.metadata.ownerReferences?.[0]?.uid, metadata.uid);
  }));

Deno.test("Publisher reads its Node again when slices are gone that it has not seen go", () =>
  withPublisher(async (api, publisher) => {
    want(publisher, [hca(0)]);
    await api.waitFor(() => api.slices.length === 1 && api.watches > 0, "the slice and the watch");
    await api.down();
    api.store.delete(NODES, "n1");
    const { metadata } = api.store.create(NODES, { metadata: { name: "n1" } });
    api.store.delete(SLICES, api.slices[0]!.metadata.name!);
    api.store.compact();
    await api.up();
    await api.waitFor(() => api.slices.length === 1, "the slice again");
    equal(api.slices[0]!.metadata.ownerReferences?.[0]?.uid, metadata.uid);
  }));

Deno.test("Publisher keeps the age of a taint although a kubelet deleted the slice", () =>
  withPublisher(async (api, publisher) => {
    want(publisher, [hca(0, { ports: [port(1, { state: "DOWN" })] })]);
    const taints = () => api.slices[0]?.spec.devices?.[0]?.taints ?? [];
    await api.waitFor(() => taints().length > 0 && api.watches > 0, "the taint");
    const slice = api.slices[0]!;
    const timeAdded = "2026-01-01T00:00:00Z";
    const devices = slice.spec.devices!.map((one) => ({
      ...one,
      taints: one.taints!.map((taint) => ({ ...taint, timeAdded })),
    }));
    const old = { ...slice, spec: { ...slice.spec, devices } };
    api.store.update(SLICES, slice.metadata.name!, old as unknown as KubeObject);
    // The publisher has seen it when it has written what comes after.
    want(publisher, [hca(0, { ports: [port(1, { state: "DOWN" })] }), hca(1)]);
    await api.waitFor(() => names(api).length === 2, "the second device");
    api.store.delete(SLICES, slice.metadata.name!);
    await api.waitFor(() => api.slices.length === 1, "the slice again");
    equal(taints()[0]!.timeAdded, timeAdded);
  }));

Deno.test("Publisher lives through answers that are none of an API server's", () =>
  withPublisher(async (api, publisher, status) => {
    for (const body of [{}, [], "ok", 7, { metadata: {}, items: [{}] }, { metadata: { uid: "u" }, spec: 3 }]) {
      api.fault = { kind: "odd", body };
      api.cutWatches();
      want(publisher, [hca(0), hca(1)]);
      await status(() => publisher.status.reason !== null);
      api.fault = null;
      want(publisher, [hca(0)]);
      await status(() => publisher.status.reason === null);
      await api.waitFor(() => names(api).length === 1, "the slice");
    }
  }));

Deno.test("Publisher notices by itself that a watch is half-open", () =>
  withPublisher(async (api, publisher) => {
    want(publisher, [hca(0)]);
    await api.waitFor(() => names(api).length === 1 && api.watches > 0, "the slice and the watch");
    api.freezeWatches();
    api.store.delete(SLICES, api.slices[0]!.metadata.name!);
    await api.waitFor(() => names(api).length === 1, "the slice again");
  }, { timing: { silentMs: 200 } }));

Deno.test("Publisher asks more and more seldom where a watch is refused, when the server says so, and probes it once", async () => {
  const pauses: number[] = [];
  const enough = Promise.withResolvers<void>();
  const pause: PublisherOptions["pause"] = (ms, signal) => {
    if (ms !== TIMING.roundMs) pauses.push(Math.round(ms));
    if (pauses.length === 8) enough.resolve();
    // As long as anything lasts here, and not longer.
    return pauses.length < 8 ? Promise.resolve() : realPause(60_000, signal);
  };
  await withPublisher(async (api, publisher) => {
    api.fault = { kind: "no-watch", status: 429, retryAfterSeconds: 2 };
    want(publisher, [hca(0)]);
    await within(enough.promise, "eight pauses");
    const doubled = Array.from({ length: 8 }, (_, i) => 1_000 * 2 ** i);
    deepEqual(
      pauses.map((one, i) => one >= Math.max(2_000, doubled[i]! * 0.75) && one <= Math.max(2_000, doubled[i]!)),
      pauses.map(() => true),
      pauses.join(),
    );
    equal(api.requests.filter((one) => one.dryRun).length, 1);
    equal(publisher.status.published, true);
  }, { pause, timing: { firstRetryMs: 1_000, longestRetryMs: 3_600_000 } });
});

Deno.test("Publisher says what an API server lacks that is too old", () =>
  withPublisher(async (api, publisher, status) => {
    api.fault = { kind: "absent", group: "resource.k8s.io/v1" };
    want(publisher, [hca(0)]);
    await status(() => publisher.status.reason?.includes("1.34") === true);
    api.fault = null;
    await api.waitFor(() => names(api).length === 1, "the slice");
  }));

Deno.test("Publisher reads its Node once: slices that it removes itself are no sign of a new one", () =>
  withPublisher(async (api, publisher) => {
    const many = (count: number) => Array.from({ length: count }, (_, i) => hca(i));
    want(publisher, many(70));
    await api.waitFor(() => api.slices.length === 2 && api.watches > 0, "two slices");
    want(publisher, many(3));
    await api.waitFor(() => api.slices.length === 1, "one slice");
    for (const n of [4, 5]) {
      want(publisher, many(n));
      await api.waitFor(() => names(api).length === n, `${n} devices`);
    }
    equal(api.requests.filter((one) => one.path.includes("/nodes/")).length, 1);
  }));

Deno.test("Publisher takes up what one gate of several that were off allows, and says so in its status", () =>
  withPublisher(async (api, publisher, status) => {
    await api.down();
    api.gates = { DRADeviceTaints: false, DRAConsumableCapacity: false, DRAPartitionableDevices: true };
    await api.up();
    want(publisher, [hca(0)], SHARED);
    await status(() => !publisher.status.features.taints && !publisher.status.features.sharing);
    await api.waitFor(() => names(api).length === 1, "the slice");
    await status(() => publisher.status.notes.some((one) => one.includes("DRAConsumableCapacity is off")));
    await api.down();
    api.gates = { ...api.gates, DRAConsumableCapacity: true };
    await api.up();
    await api.waitFor(() => api.slices[0]?.spec.devices?.[0]?.allowMultipleAllocations === true, "sharing");
    // What was sent with a field that was dropped was never stored.
    deepEqual(api.writes().map((one) => one.method), ["POST", "PUT"]);
    deepEqual(publisher.status.features, { taints: false, sharing: true, counters: true });
    await api.down();
    api.gates = { ...api.gates, DRADeviceTaints: true };
    await api.up();
    await status(() => publisher.status.features.taints);
  }));

Deno.test("Publisher leaves the slices to a newer process of the driver, and takes them back when that is gone", () => {
  let successor: string | null = null;
  return withPublisher(async (api, publisher) => {
    want(publisher, [hca(0)]);
    await api.waitFor(() => names(api).length === 1, "the slice");
    successor = "/plugins/dra-2.sock";
    const slice = api.slices[0]!;
    const spec = { ...slice.spec, devices: [] };
    api.store.update(SLICES, slice.metadata.name!, { ...slice, spec } as unknown as KubeObject);
    const { length } = api.requests;
    want(publisher, [hca(0), hca(1)]);
    // It looks whether the other one is still there, and asks the API server nothing meanwhile.
    await asked(4);
    deepEqual([names(api), api.requests.length], [[], length]);
    successor = null;
    await api.waitFor(() => names(api).length === 2, "both devices");
  }, { successor: () => Promise.resolve(ask(successor)) });
});

Deno.test("Publisher plans again when another process was faster: a complete pool never has halves of two states", () =>
  withPublisher(async (api, publisher) => {
    const many = (count: number) => Array.from({ length: count }, (_, i) => hca(i));
    want(publisher, many(70));
    await api.waitFor(() => api.slices.length === 2 && api.watches > 0, "two slices");
    // Another process begins a new generation, and this one has not seen it yet.
    api.freezeWatches();
    const [first] = api.slices;
    const pool = { ...first!.spec.pool, generation: 2 };
    const theirs = { ...first!, spec: { ...first!.spec, pool, devices: [{ name: "theirs" }] } };
    api.store.update(SLICES, first!.metadata.name!, theirs as unknown as KubeObject);
    const mixed: string[] = [];
    api.store.listen(() => {
      const newest = Math.max(...api.slices.map(({ spec }) => spec.pool.generation));
      const current = api.slices.filter(({ spec }) => spec.pool.generation === newest);
      if (current.length < current[0]!.spec.pool.resourceSliceCount) return;
      if (current.some((one) => one.spec.devices?.[0]?.name === "theirs")) mixed.push(String(newest));
    });
    want(publisher, many(80));
    await api.waitFor(() => names(api).length === 80 && !names(api).includes("theirs"), "its own devices");
    deepEqual(mixed, []);
  }));

let count = 0;
let waiting: { readonly until: number; readonly resolve: () => void } | null = null;

function ask<T>(value: T): T {
  count++;
  if (waiting !== null && count >= waiting.until) waiting.resolve();
  return value;
}

function asked(times: number): Promise<void> {
  return within(new Promise<void>((resolve) => waiting = { until: count + times, resolve }), "questions");
}

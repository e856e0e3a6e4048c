import { deepEqual, equal } from "@std/assert";
import { join } from "node:path";
import { draDevices } from "../../src/dra/devices.ts";
import { Publisher } from "../../src/dra/publisher.ts";
import { ApiClient } from "../../src/kubernetes/client.ts";
import type { Hca } from "../../src/hca/types.ts";
import { SILENT } from "../../src/text/log.ts";
import { FakeApiServer, NODES, SLICES } from "../../sim/api_server/server.ts";
import type { KubeObject } from "../../sim/api_server/store.ts";
import { draSpec, DRIVER } from "../support/dra.ts";
import { after, hca } from "../support/hcas.ts";
import { temporaryDir, within } from "../support/temp.ts";

const TIMING = { roundMs: 10, firstRetryMs: 10, longestRetryMs: 50, watchSeconds: 300 };
const SHARED = draSpec({ mode: { kind: "shared", shares: 2, of: "one" } });

/** A publisher at a server of its own. */
async function withPublisher(
  run: (api: FakeApiServer, publisher: Publisher, status: (holds: () => boolean) => Promise<void>) => Promise<void>,
): Promise<void> {
  using dir = temporaryDir();
  await using api = await FakeApiServer.start(join(dir.path, "sa"));
  api.store.create(NODES, { metadata: { name: "n1" } });
  const client = new ApiClient(api.access);
  const publisher = new Publisher({
    client,
    driver: DRIVER,
    node: "n1",
    pool: "n1",
    log: SILENT,
    onStatus: () => waiting.forEach((check) => check()),
    timing: TIMING,
  });
  const waiting = new Set<() => void>();
  const status = (holds: () => boolean) => {
    const found = Promise.withResolvers<void>();
    const check = () => {
      if (holds()) found.resolve();
    };
    waiting.add(check);
    check();
    return within(found.promise, "the publisher's status");
  };
  const stop = new AbortController();
  const running = publisher.run(stop.signal);
  try {
    await run(api, publisher, status);
  } finally {
    stop.abort();
    client.close();
    await running;
  }
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

Deno.test("Publisher learns by a dry run what the server keeps, and again when the server was away", () =>
  withPublisher(async (api, publisher, status) => {
    api.gates = { ...api.gates, DRAConsumableCapacity: false };
    want(publisher, [hca(0)], SHARED);
    await api.waitFor(() => names(api).length === 1, "the slice");
    const shared = () => api.slices[0]?.spec.devices?.[0]?.allowMultipleAllocations === true;
    equal(shared(), false);
    await status(() => publisher.status.notes.some((one) => one.includes("DRAConsumableCapacity is off")));
    await api.down();
    api.gates = { ...api.gates, DRAConsumableCapacity: true };
    await api.up();
    await api.waitFor(shared, "sharing");
    // What was sent with a field that was dropped was never stored.
    deepEqual(api.writes().map((one) => one.method), ["POST", "PUT"]);
  }));

Deno.test("Publisher publishes an empty pool: a node without HCAs is known to have none", () =>
  withPublisher(async (api, publisher) => {
    want(publisher, []);
    await api.waitFor(() => api.slices.length === 1, "the slice");
    deepEqual(api.slices[0]!.spec.devices, []);
  }));

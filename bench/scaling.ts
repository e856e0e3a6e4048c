/**
 * What grows with the machine: a scan by its HCAs, a list by its devices, a change by the resources beside it. Ours
 * alone: nobody else's inside can be called.
 *
 * @module
 */
import { Client, type ClientReadableStream, credentials } from "@grpc/grpc-js";
import { Buffer } from "node:buffer";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FakeHost, manyHcas } from "../sim/mod.ts";
import { parseCommandLine } from "../src/cli/flags.ts";
import { Inspector } from "../src/cli/inspector.ts";
import type { Depth } from "../src/hca/events/trigger.ts";
import { CLIENT_OPTIONS, devicePluginServices } from "../src/kubelet/api.ts";
import { protoCodec } from "../src/device_plugin/codec.ts";
import { PluginServer } from "../src/device_plugin/server.ts";
import { DevicePluginResource } from "../src/agent/device_plugin_resource.ts";
import type { HostFacts } from "../src/pool/allocate.ts";
import { devices } from "../src/pool/devices.ts";
import { prefer } from "../src/pool/prefer.ts";
import type { PoolState } from "../src/pool/states.ts";
import { DEFAULT_SPEC, type Mode, type ResourceSpec } from "../src/pool/spec.ts";
import { HCAS, LONG_LIST, MOST, RESOURCES, SHARES } from "./catalogue.ts";
import { type Figures, PLUGIN } from "./figure.ts";
import type { Client as BenchClient, List } from "./kubelet.ts";
import type { Subject } from "../test/support/subject.ts";
import { median } from "../test/support/statistics.ts";

const codec = protoCodec();
const HOST: HostFacts = { rdmaCm: true, knem: false, has: () => false, ownersOf: () => [] };

/** A scan at hosts of every size, with one device per HCA. */
export async function looks(repeats: number, figures: Figures): Promise<void> {
  const took = { quick: new Map<number, number>(), full: new Map<number, number>() };
  for (const hcas of HCAS) {
    using host = FakeHost.create(FakeHost.temporaryRoot(), manyHcas(hcas));
    using inspector = inventory(host, [DEFAULT_SPEC]);
    for (const depth of ["quick", "full"] as const) {
      const ms = await timed(inspector, depth, repeats);
      took[depth].set(hcas, ms);
      figures.add(PLUGIN, `scan.${depth}.${hcas}`, ms * 1e3);
    }
    const { states } = await inspector.scan("full");
    const poolState = states.get(DEFAULT_SPEC.name)!;
    figures.add(PLUGIN, `list.${hcas}.bytes`, codec.list(devices(poolState)).length);
    if (hcas !== MOST) continue;
    figures.add(PLUGIN, "scan.full.turn", await longestTurn(() => inspector.scan("full")));
    figures.add(PLUGIN, "prefer", await preferring(poolState, repeats));
  }
  for (const depth of ["quick", "full"] as const) {
    figures.add(PLUGIN, `scan.${depth}.growth`, exponent(took[depth], HCAS[1], MOST));
  }
}

/** How what was taken grows from one size to another: 1 is in step with it, 2 is with its square. */
function exponent(took: ReadonlyMap<number, number>, from: number, to: number): number {
  return Math.log(took.get(to)! / took.get(from)!) / Math.log(to / from);
}

/** Milliseconds of the longest turn of the event loop while the work is under way: so long an Allocate may wait. */
async function longestTurn(work: () => Promise<unknown>): Promise<number> {
  let longest = 0;
  let over = false;
  let last = performance.now();
  const turn = () => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    if (!over) setImmediate(turn);
  };
  setImmediate(turn);
  await work();
  over = true;
  return Math.max(longest, performance.now() - last);
}

/** Milliseconds of a choice among all devices: the median. */
function preferring(poolState: PoolState, repeats: number): Promise<number> {
  const available = devices(poolState).map(({ id }) => id);
  const question = { available, mustInclude: available.slice(5, 6), size: 8 };
  return medianMs(repeats, () => prefer(poolState, question));
}

/** Milliseconds that something takes: the median of so many times. */
async function medianMs(repeats: number, work: (time: number) => unknown): Promise<number> {
  const took: number[] = [];
  for (let i = 0; i < repeats; i++) {
    const begin = performance.now();
    await work(i);
    took.push(performance.now() - begin);
  }
  return median(took);
}

/** A hundred HCAs as more and more resources, each with a thousand shares of its HCAs. */
export async function resources(repeats: number, figures: Figures): Promise<void> {
  using host = FakeHost.create(FakeHost.temporaryRoot(), manyHcas(100));
  for (const count of RESOURCES) {
    const specs = sharing(count);
    using inspector = inventory(host, specs);
    figures.add(PLUGIN, `resources.${count}.scan`, await timed(inspector, "quick", repeats) * 1e3);
    const { states } = await inspector.scan("full");
    const bytes = [...states.values()].reduce((sum, poolState) => sum + codec.list(devices(poolState)).length, 0);
    figures.add(PLUGIN, `resources.${count}.bytes`, bytes);
  }
}

/** The real process with a hundred resources: how long until all are listed, and what one change sends. */
export async function manyResources(subject: Subject, client: BenchClient, figures: Figures): Promise<void> {
  const count = RESOURCES.at(-1)!;
  await using cleanup = new AsyncDisposableStack();
  const dir = mkdtempSync(join(tmpdir(), "rdma-bench-"));
  cleanup.defer(() => rmSync(dir, { recursive: true, force: true }));
  const host = FakeHost.create(FakeHost.temporaryRoot(), manyHcas(count));
  cleanup.defer(() => host.close());
  const kubeletDir = join(dir, "device-plugins");
  mkdirSync(kubeletDir);
  const kubelet = await client.start(kubeletDir);
  const config = join(dir, "config.json");
  const resources = Array.from({ length: count }, (_, n) => ({
    name: `bench/r${n}`,
    mode: "shared",
    share: "all",
    shares: SHARES,
    select: { hcas: [`mlx5_${n}`] },
  }));
  writeFileSync(config, JSON.stringify({ resources }));
  const begin = performance.now();
  const running = await subject.start({ host, kubeletDir, scratch: dir }, "--config", config);
  cleanup.defer(() => running.stop());
  cleanup.use(kubelet);
  await Promise.all(resources.map(({ name }) => kubelet.list(are(name, "Healthy"), `${SHARES} devices of ${name}`)));
  figures.add(PLUGIN, "resources.start", performance.now() - begin);

  // A second change is the proof that nothing more came of the first: its list would have been behind.
  const before = kubelet.lists;
  for (const n of [7, 8]) {
    await host.portDown(`mlx5_${n}`, 1);
    await kubelet.list(are(`bench/r${n}`, "Unhealthy"), `bench/r${n} without a healthy device`, before);
  }
  figures.add(PLUGIN, "resources.lists", (kubelet.lists - before) / 2);
}

function are(resource: string, health: string): (list: List) => boolean {
  return (list) =>
    list.resource === resource && list.devices.length === SHARES && list.devices.every((one) => one.health === health);
}

/** From the state of a changed resource to the bytes of its list at the other end of a real socket. */
export async function longList(repeats: number, figures: Figures): Promise<void> {
  using host = FakeHost.create(FakeHost.temporaryRoot(), manyHcas(1));
  const [spec] = sharing(1, LONG_LIST);
  using inspector = inventory(host, [spec!]);
  const poolState = async () => (await inspector.scan("quick")).states.get(spec!.name)!;
  const up = await poolState();
  await host.portDown("mlx5_0", 1);
  const down = await poolState();
  await using wire = await Wire.open(up);
  const ms = await medianMs(2 * repeats, (time) => {
    const arrived = wire.next();
    wire.offer.update(time % 2 === 0 ? down : up, HOST);
    return arrived;
  });
  figures.add(PLUGIN, "list.long", ms);
}

/** An offer behind the plugin's own server, and a client that takes what comes as bytes. */
class Wire implements AsyncDisposable {
  readonly offer: DevicePluginResource;
  readonly #server: PluginServer;
  readonly #client: Client;
  readonly #stream: ClientReadableStream<Buffer>;
  readonly #dir: string;
  #arrived = () => {};

  private constructor(offer: DevicePluginResource, server: PluginServer, dir: string) {
    this.offer = offer;
    this.#server = server;
    this.#dir = dir;
    this.#client = new Client(`unix:${server.path}`, credentials.createInsecure(), {
      ...CLIENT_OPTIONS,
      "grpc.max_receive_message_length": -1,
    });
    const bytes = (buffer: Buffer) => buffer;
    const { path } = devicePluginServices()["v1beta1.DevicePlugin"].ListAndWatch!;
    this.#stream = this.#client.makeServerStreamRequest(path, bytes, bytes, Buffer.alloc(0));
    this.#stream.on("data", () => this.#arrived());
    // Cancelling it is an error; nothing is waited for then.
    this.#stream.on("error", () => {});
  }

  static async open(poolState: PoolState): Promise<Wire> {
    const dir = mkdtempSync(join(tmpdir(), "rdma-bench-"));
    const offer = new DevicePluginResource(poolState, HOST, {
      codec,
      sysfsRoot: "/nowhere",
      rescan: () => Promise.resolve(),
      onAllocated: () => {},
    });
    const events = { onStreams: () => {}, onListSent: () => {}, onCall: () => {} };
    const server = await PluginServer.listen(join(dir, "list.sock"), offer, events);
    const wire = new Wire(offer, server, dir);
    const first = wire.next();
    await first;
    return wire;
  }

  /** Resolves when the next list is there. */
  next(): Promise<void> {
    return new Promise((resolve) => this.#arrived = resolve);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stream.cancel();
    this.#client.close();
    await this.#server.close(1_000);
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

/** `count` resources that take turns at the HCAs. */
function sharing(count: number, shares = SHARES): readonly ResourceSpec[] {
  const mode: Mode = { kind: "shared", shares, of: "all" };
  return Array.from({ length: count }, (_, n): ResourceSpec => {
    // mlx5_7 and mlx5_17 to mlx5_97 are the eighth of ten resources.
    const tail = count === 1 ? "*" : count === 10 ? `*${n}` : `${n}`;
    return { ...DEFAULT_SPEC, name: `bench/r${n}`, mode, select: [{ hcas: [`mlx5_${tail}`] }] };
  });
}

function inventory(host: FakeHost, specs: readonly ResourceSpec[]): Inspector {
  const parsed = parseCommandLine(["--sysfs-root", host.sysfsRoot, "--dev-root", host.devRoot], {});
  if (!parsed.ok) throw new Error(parsed.message);
  return new Inspector(parsed.values, specs);
}

/** Milliseconds of a scan with all that follows from it: the median. */
async function timed(inspector: Inspector, depth: Depth, repeats: number): Promise<number> {
  await inspector.scan("full");
  return medianMs(repeats, () => inspector.scan(depth));
}

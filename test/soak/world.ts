/**
 * What a soak plays with: a fake host, a fake kubelet, and the real plugin as a process of its own between them, with a
 * configuration that can change.
 *
 * @module
 */
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "../support/free_port.ts";
import { openFiles } from "../support/process_figures.ts";
import { V8_FLAGS } from "../support/subject.ts";
import { FakeHost, FakeKubelet, pluginCommand, pluginFlags, PluginProcess, preset } from "../../sim/mod.ts";
import { type Figures, figuresOf } from "./figures.ts";
import { socketParent } from "../../sim/host/temporary.ts";
import { Waits } from "../../sim/waits.ts";

/** One resource of the configuration, as far as the truth about it goes. */
export interface Resource {
  readonly name: string;
  readonly kind: "pf" | "vf";
  /** Shares of each HCA; null for whole ones. */
  readonly shares: number | null;
}

/** How resources register: by a call on kubelet.sock, or by a socket where the plugin watcher looks. */
export type Registration = "socket" | "watcher";

/** Milliseconds that the kubelet may take to see something; generous, since nothing here is a benchmark. */
const PATIENCE = 60_000;

/** Milliseconds without a descriptor coming or going after which connections are taken for closed, and between scans. */
const STILL = 100;
const STEP = 20;

export class World implements AsyncDisposable {
  readonly host = FakeHost.create(FakeHost.temporaryRoot(), preset("connectx-roce-vfs"));
  readonly #dir = mkdtempSync(join(socketParent(), "rdma-soak-"));
  readonly #config = join(this.#dir, "config/config.json");
  readonly kubeletDir = join(this.#dir, "kubelet/device-plugins");
  readonly kubelet = new FakeKubelet({
    dir: this.kubeletDir,
    pluginsRegistry: join(this.#dir, "kubelet/plugins_registry"),
    cdiDirs: [join(this.#dir, "cdi")],
  });
  #plugin: PluginProcess | null = null;
  #http = "";
  #inForce = 0;
  /** Registrations by resource, as the plugin tells of them when they are over. */
  readonly #told = new Map<string, number>();
  readonly #waits = new Waits();
  #resources: readonly Resource[] = [];
  /** Fewest descriptors at rest, from the first sample on. */
  #atRest: number | null = null;

  readonly registration: Registration;

  private constructor(registration: Registration) {
    this.registration = registration;
  }

  /** Starts everything; resolves when the kubelet's lists are the host. */
  static async start(resources: readonly Resource[], registration: Registration): Promise<World> {
    const world = new World(registration);
    try {
      await world.#start(resources);
      return world;
    } catch (error) {
      await world[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #start(resources: readonly Resource[]): Promise<void> {
    mkdirSync(join(this.#dir, "config"));
    mkdirSync(join(this.#dir, "cdi"));
    await this.kubelet.start();
    this.#write(resources);
    this.#http = `127.0.0.1:${await freePort()}`;
    const flags = [
      "--config",
      this.#config,
      "--cdi-dir",
      join(this.#dir, "cdi"),
      "--http",
      this.#http,
      "--registration",
      this.registration,
    ];
    const command = [...pluginCommand(`--v8-flags=${V8_FLAGS}`), ...pluginFlags(this.host, this.kubeletDir), ...flags];
    const onLine = (line: string) => {
      if (/configuration .* is active/.test(line)) this.#inForce++;
      const [, resource] = /registered with the kubelet\b.* resource=(\S+)/.exec(line) ?? [];
      if (resource !== undefined) this.#told.set(resource, this.#told.get(resource)! + 1 || 1);
      this.#waits.changed();
    };
    this.#plugin = new PluginProcess(command, { onLine });
    await this.#hears("the first registrations", () => this.resources.every(({ name }) => this.#told.has(name)));
    await this.agrees("the start");
  }

  get pid(): number {
    return this.plugin.pid;
  }

  get plugin(): PluginProcess {
    if (this.#plugin === null) throw new Error("The plugin was not started");
    return this.#plugin;
  }

  get resources(): readonly Resource[] {
    return this.#resources;
  }

  /** What the kubelet must have: resource → "device:health", sorted. */
  truth(): ReadonlyMap<string, readonly string[]> {
    const now = this.host.describe();
    return new Map(this.#resources.map(({ name, kind, shares }) => [
      name,
      now.filter((hca) => hca.kind === kind).flatMap((hca) => {
        const healthy = hca.uverbsNode !== null && hca.ports.some((port) => port.state === "4: ACTIVE");
        const ids = shares === null ? [hca.name] : Array.from({ length: shares }, (_, k) => `${hca.name}::${k}`);
        return ids.map((id) => `${id}:${healthy ? "Healthy" : "Unhealthy"}`);
      }).sort(),
    ]));
  }

  /** Resolves when the kubelet's lists are the host, resource by resource, and nobody else is connected. */
  async agrees(after: string): Promise<void> {
    const truth = this.truth();
    const agree = this.kubelet.waitFor((state) => {
      const connected = Object.values(state.resources).filter((one) => one.endpoint !== null);
      return connected.length === truth.size && connected.every((one) => {
        const devices = one.devices.map((device) => `${device.id}:${device.health}`).sort();
        return devices.join() === truth.get(one.name)?.join();
      });
    }, { timeoutMs: PATIENCE, what: `${after}: ${JSON.stringify([...truth])}` });
    await this.#alive(agree);
  }

  /** Replaces the configuration as an editor does; resolves when the plugin says that it is in force. */
  async configure(resources: readonly Resource[]): Promise<void> {
    await this.reloads(() => this.#write(resources));
  }

  /** Does something after which the plugin says that a configuration is in force. */
  async reloads(work: () => void): Promise<void> {
    const before = this.#inForce;
    work();
    await this.#hears("the new configuration", () => this.#inForce > before);
  }

  /**
   * Does something after which resources register, and waits until the plugin says that they have and its connections
   * for that are closed.
   *
   * What befalls the kubelet next then finds the plugin at rest; faults inside Register have tests of their own.
   */
  async registers(work: () => Promise<void>, only?: string): Promise<void> {
    const before = new Map(this.#told);
    await work();
    const names = only === undefined ? this.#resources.map(({ name }) => name) : [only];
    await this.#hears(
      `registrations of ${names.join(" and ")}`,
      () => names.every((name) => (this.#told.get(name) ?? 0) > (before.get(name) ?? 0)),
    );
    await this.#still(STILL);
  }

  /** Resolves when it is so, asked after every line that the plugin logs. */
  async #hears(what: string, isSo: () => boolean): Promise<void> {
    const message = (reason: string) => `The plugin did not tell of ${what}: ${reason}${this.#tail()}`;
    await this.#alive(this.#waits.until(isSo, message, PATIENCE));
  }

  /**
   * A sample at rest: when as few descriptors are open as in the first one, or in vain after a while.
   *
   * @param patience milliseconds; connections that were given up may take their time to be closed
   */
  async sample(patience: number): Promise<Figures> {
    return await figuresOf(this.pid, this.#http, () => this.#rest(patience));
  }

  async #rest(patience: number): Promise<void> {
    const until = performance.now() + patience;
    let last = await this.#still(5 * STILL);
    while (last > (this.#atRest ?? Infinity) && performance.now() < until) last = await this.#still(STILL);
    this.#atRest = Math.min(last, this.#atRest ?? Infinity);
  }

  /** Resolves with the number of descriptors when it has been the same for so many milliseconds. */
  async #still(ms: number): Promise<number> {
    let last = -1;
    for (let since = 0; since < ms;) {
      await delay(STEP);
      const fds = openFiles(this.pid).length;
      since = fds === last ? since + STEP : 0;
      last = fds;
    }
    return last;
  }

  #write(resources: readonly Resource[]): void {
    this.#resources = resources;
    const config = {
      resources: resources.map(({ name, kind, shares }) => ({
        name,
        select: { kinds: [kind] },
        // Nothing settles and nothing lingers: what the kubelet must see is what the host is, VFs with their links.
        health: { policy: "port-active", settle: "0s", grace: "0s" },
        ...shares === null ? {} : { mode: "shared", share: "one", shares },
      })),
    };
    writeFileSync(`${this.#config}.new`, JSON.stringify(config));
    renameSync(`${this.#config}.new`, this.#config);
  }

  /** What the plugin said last, as the end of an error's message. */
  #tail(): string {
    return `; its log ends with\n${this.#plugin?.log.slice(-30).join("\n")}`;
  }

  /** The promise, unless the plugin ends first. */
  async #alive<T>(promise: Promise<T>): Promise<T> {
    const died = this.#plugin?.ended.then(({ code, signal }): never => {
      throw new Error(`the plugin ended with ${code ?? signal}${this.#tail()}`);
    });
    died?.catch(() => {});
    promise.catch(() => {});
    return await (died === undefined ? promise : Promise.race([promise, died]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kubelet.close();
    await this.#plugin?.stop();
    this.host.close();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

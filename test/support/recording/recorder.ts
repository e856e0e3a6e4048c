/**
 * Records what a kubelet does to a plugin's socket: which calls come, in which order, with which headers and deadline,
 * and how long after what caused them.
 *
 * @module
 */
import { Waits } from "../../../sim/waits.ts";
import { type ObservedCall, PluginStub, type StubOptions } from "../plugin_stub.ts";

/** One thing that a kubelet did, or that was done to it. */
export interface Recorded {
  /** Whose socket it came to; "" for what was done to the kubelet. */
  readonly plugin: string;
  readonly event: string;
  readonly authority?: string;
  readonly userAgent?: string;
  /** Seconds that the caller gives the call; null: no limit. */
  readonly deadline?: number | null;
  /** Milliseconds since the last thing that was done to the kubelet; not compared. */
  readonly afterMs: number;
}

/** A kubelet that can be recorded. */
export interface RecordedKubelet {
  readonly pluginDir: string;
  readonly registryDir: string;
  /** How it is called in extended resource names: each recording needs its own. */
  readonly resource: string;
  /** Waits until it offers that many devices of a resource. */
  offers(resource: string, count: number): Promise<void>;
  /** A pod of containers that ask for these numbers of devices; resolves when it runs. */
  admit(pod: string, resource: string, counts: readonly number[]): Promise<void>;
  stop(how: "ends" | "is killed"): Promise<void>;
  start(): Promise<void>;
}

/** Collects events of any number of plugins. */
export class Recorder implements AsyncDisposable {
  readonly events: Recorded[] = [];
  readonly #waits = new Waits();
  readonly #stubs: PluginStub[] = [];
  #since = performance.now();

  /** Notes what is done to the kubelet now. */
  cause(event: string): void {
    this.#since = performance.now();
    this.events.push({ plugin: "", event, afterMs: 0 });
  }

  /** Starts a plugin whose calls are recorded under that name. */
  async plugin(name: string, dir: string, options: StubOptions): Promise<PluginStub> {
    const stub = await PluginStub.listen(dir, {
      endpoint: `${name}.sock`,
      ...options,
      observe: (event, call) => this.#record(name, event, call),
    });
    this.#stubs.push(stub);
    return stub;
  }

  /** Waits until so many events of that kind came; what comes beside is recorded all the same. */
  async until(event: string, count: number): Promise<void> {
    const came = () => this.events.filter((one) => one.event === event).length >= count;
    await this.#waits.until(came, (reason) => `Cannot see "${event}": ${reason}: ${JSON.stringify(this.events)}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#stubs.map((stub) => stub.close()));
  }

  #record(plugin: string, event: string, call: ObservedCall): void {
    const afterMs = Math.round(performance.now() - this.#since);
    if (event.startsWith("the kubelet")) return this.#add({ plugin, event, afterMs });
    const deadline = Number(call.getDeadline());
    this.#add({
      plugin,
      event,
      authority: call.getHost().startsWith("%2F") ? "the socket's path, percent-encoded" : call.getHost(),
      // The library's version is no property of the kubelet.
      userAgent: String(call.metadata.get("user-agent")[0] ?? "").replace(/\/.*/, ""),
      deadline: Number.isFinite(deadline) ? Math.round((deadline - Date.now()) / 1e3) : null,
      afterMs,
    });
  }

  #add(recorded: Recorded): void {
    this.events.push(recorded);
    this.#waits.changed();
  }
}

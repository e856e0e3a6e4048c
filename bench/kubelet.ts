/**
 * The kubelet's side of every measurement: grpc-go, the kubelet's own library, where Go is there, and the sim's on
 * grpc-js where it is not. Both see the same events; only who measures Allocate differs, and the tables say who did.
 *
 * @module
 */
import { FakeKubelet } from "../sim/mod.ts";
import { count } from "../test/support/kubelet.ts";
import { type BenchResult, buildGoKubelet, type ForeignEvent, ForeignKubelet } from "../test/support/foreign.ts";
import { median, quantile } from "../test/support/statistics.ts";

/** One list that came through ListAndWatch. */
export interface List {
  readonly resource: string;
  readonly devices: readonly { readonly id: string; readonly health: string }[];
}

/** A device manager that can be waited on. */
export interface Kubelet extends AsyncDisposable {
  /** How many lists have come so far. */
  readonly lists: number;
  /** Resolves with the first list, of those from number `since` on, that matches. */
  list(matches: (list: List) => boolean, what: string, since?: number): Promise<List>;
  /** How many registrations it has accepted so far. */
  readonly registrations: number;
  /** Resolves when it has accepted one of `resource` (null: of anybody), of those from number `since` on. */
  registered(resource: string | null, since?: number): Promise<string>;
  /** `n` Allocates of `ids` per client, one after the other; a connection each with grpc-go. */
  bench(resource: string, ids: readonly string[], n: number, clients: number): Promise<BenchResult>;
  restart(): Promise<void>;
}

/** How a kubelet is started on a directory. */
export interface Client {
  /** "grpc-go", "grpc-js" */
  readonly name: string;
  start(dir: string): Promise<Kubelet>;
}

const TIMEOUT_MS = 60_000;

/** The best client of this machine. */
export async function bestClient(): Promise<Client> {
  try {
    const program = await buildGoKubelet();
    return { name: "grpc-go", start: async (dir) => new GoKubelet(await ForeignKubelet.go(program, dir)) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error; // Go is there, and did not build
    return SIM_CLIENT;
  }
}

/** The sim's kubelet, in the bench's own process. */
export const SIM_CLIENT: Client = {
  name: "grpc-js",
  async start(dir) {
    const kubelet = new FakeKubelet({ dir });
    await kubelet.start();
    return new SimKubelet(kubelet);
  },
};

class GoKubelet implements Kubelet {
  readonly #kubelet: ForeignKubelet;

  constructor(kubelet: ForeignKubelet) {
    this.#kubelet = kubelet;
  }

  get lists(): number {
    return this.#count("list");
  }

  get registrations(): number {
    return this.#count("registered");
  }

  async list(matches: (list: List) => boolean, what: string, since = 0): Promise<List> {
    return await this.#kubelet.waitFor(
      (event): event is ForeignEvent & { event: "list" } => event.event === "list" && matches(event),
      { what, timeoutMs: TIMEOUT_MS, since: this.#indexOf("list", since) },
    );
  }

  async registered(resource: string | null, since = 0): Promise<string> {
    const event = await this.#kubelet.waitFor(
      (event): event is ForeignEvent & { event: "registered" } =>
        event.event === "registered" && (resource === null || event.resource === resource),
      {
        what: `${resource ?? "a plugin"} registered`,
        timeoutMs: TIMEOUT_MS,
        since: this.#indexOf("registered", since),
      },
    );
    return event.resource;
  }

  bench(resource: string, ids: readonly string[], n: number, clients: number): Promise<BenchResult> {
    return this.#kubelet.bench(resource, ids, n, clients);
  }

  restart(): Promise<void> {
    return this.#kubelet.restart();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#kubelet.close();
  }

  #count(kind: ForeignEvent["event"]): number {
    return this.#kubelet.events.filter((event) => event.event === kind).length;
  }

  /** Where in all events the one of this kind with that number is, or will be. */
  #indexOf(kind: ForeignEvent["event"], number: number): number {
    let seen = 0;
    const index = this.#kubelet.events.findIndex((event) => event.event === kind && seen++ === number);
    return index === -1 ? this.#kubelet.events.length : index;
  }
}

class SimKubelet implements Kubelet {
  readonly #kubelet: FakeKubelet;

  constructor(kubelet: FakeKubelet) {
    this.#kubelet = kubelet;
  }

  get lists(): number {
    return count(this.#kubelet, "list");
  }

  get registrations(): number {
    return count(this.#kubelet, "registered");
  }

  async list(matches: (list: List) => boolean, what: string, since = 0): Promise<List> {
    return await this.#kubelet.waitFor(
      (_, history) => history.filter((event) => event.kind === "list").slice(since).find(matches),
      { what, timeoutMs: TIMEOUT_MS },
    );
  }

  async registered(resource: string | null, since = 0): Promise<string> {
    const event = await this.#kubelet.waitFor(
      (_, history) =>
        history.filter((event) => event.kind === "registered").slice(since)
          .find((event) => resource === null || event.resource === resource),
      { what: `${resource ?? "a plugin"} registered`, timeoutMs: TIMEOUT_MS },
    );
    return event.resource;
  }

  async bench(resource: string, ids: readonly string[], n: number, clients: number): Promise<BenchResult> {
    const took: number[] = [];
    const begin = performance.now();
    await Promise.all(Array.from({ length: clients }, async () => {
      for (let call = 0; call < n; call++) {
        const start = performance.now();
        await this.#kubelet.allocate(resource, [ids]);
        took.push((performance.now() - start) * 1e3);
      }
    }));
    const seconds = (performance.now() - begin) / 1e3;
    const [p50us, p99us, maxus] = [median(took), quantile(took, 0.99), quantile(took, 1)];
    return { n, clients, p50us, p99us, maxus, perSecond: took.length / seconds };
  }

  restart(): Promise<void> {
    return this.#kubelet.restart();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#kubelet.close();
  }
}

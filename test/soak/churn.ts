/**
 * Five minutes of a busy node, played as fast as it goes: everything that can happen to a plugin, each time with the
 * kubelet's list held against the host.
 *
 * @module
 */
import { Client, type ClientReadableStream, credentials } from "@grpc/grpc-js";
import { CLIENT_OPTIONS, devicePluginServices, type ListAndWatchResponse, method } from "../../src/kubelet/api.ts";
import type { Resource, World } from "./world.ts";
import { Waits } from "../../sim/waits.ts";

/** What was done, by kind. */
export type Counts = Record<
  | "link events"
  | "HCAs removed and back"
  | "node swaps"
  | "VFs made"
  | "allocations"
  | "refusals"
  | "preferences"
  | "watchers"
  | "kubelet restarts"
  | "lost streams"
  | "hangups"
  | "configurations"
  | "lists",
  number
>;

/** All kinds at zero. */
export function noCounts(): Counts {
  return {
    "link events": 0,
    "HCAs removed and back": 0,
    "node swaps": 0,
    "VFs made": 0,
    "allocations": 0,
    "refusals": 0,
    "preferences": 0,
    "watchers": 0,
    "kubelet restarts": 0,
    "lost streams": 0,
    "hangups": 0,
    "configurations": 0,
    "lists": 0,
  };
}

const PF: Resource = { name: "rdma/pf", kind: "pf", shares: null };
const VF: Resource = { name: "rdma/vf", kind: "vf", shares: null };
const SHARED: Resource = { name: "rdma/shared-pf", kind: "pf", shares: 8 };

/** What the node is configured as: at first, and in turns afterwards. All that stays keeps its socket. */
export const AT_FIRST: readonly Resource[] = [PF, VF];
const SHARED_VFS: readonly Resource[] = [PF, { ...VF, shares: 2 }];
/** A resource goes and another comes. */
const OTHERS: readonly Resource[] = [VF, SHARED];

/** Simulated seconds that one round stands for. */
export const ROUND_SECONDS = 300;

/** Plays one round after the other. Everything is counted, and everything that is not as it must be throws. */
export class Churn {
  readonly counts = noCounts();
  readonly #world: World;
  #round = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** One round; the host, the configuration and the connections are in the end what they were at its beginning. */
  async round(): Promise<void> {
    const round = this.#round++;
    await this.#flap(round);
    await this.#removeAndRestore(round);
    await this.#swap();
    await this.#vfs(round);
    await this.#watchers(8);
    await this.#allocate(60);
    await this.#reconfigure();
    if (this.#world.registration === "socket") await this.#lostStream();
    await this.#hangup();
    await this.#restart(round % 2 === 0 ? "goes" : "stays");
    await this.#otherResources();
  }

  /** Cables out and in again. Each of the two is exactly one list, of exactly the one resource that it is about. */
  async #flap(round: number): Promise<void> {
    const { host } = this.#world;
    for (const [i, hca] of host.describe().entries()) {
      const how = (["carrierLost", "portDown", "portInit"] as const)[(round + i) % 3]!;
      for (const change of [how, "portUp"] as const) {
        const before = this.#lists();
        await host[change](hca.name, 1);
        await this.#world.agrees(`${change} of ${hca.name}`);
        const seen = this.#lists();
        for (const { name, kind } of this.#world.resources) {
          const wanted = before.get(name)! + (kind === hca.kind ? 1 : 0);
          if (seen.get(name) !== wanted) {
            throw new Error(`${change} of ${hca.name}: ${seen.get(name)} lists of ${name} and not ${wanted}`);
          }
        }
        this.counts["link events"]++;
        this.counts.lists++;
      }
    }
  }

  /** A VF's driver leaves and comes back with another node number, while its neighbour's link goes down. */
  async #removeAndRestore(round: number): Promise<void> {
    const { host } = this.#world;
    const vfs = host.describe().filter((hca) => hca.kind === "vf");
    const one = vfs[round % vfs.length]!;
    await host.removeHca(one.name);
    await this.#world.agrees(`${one.name} removed`);
    const taken = new Set(host.describe().map((hca) => hca.uverbs));
    const number = Array.from({ length: 64 }, (_, i) => (round + i) % 64 + 16).find((n) => !taken.has(`uverbs${n}`))!;
    await host.restoreHca(one.name, { uverbs: number });
    await this.#world.agrees(`${one.name} back as uverbs${number}`);
    await this.#right("rdma/vf", one.name);
    this.counts["HCAs removed and back"]++;
  }

  /** Two HCAs change their node numbers: no list tells of it, and yet nobody gets the other's node. */
  async #swap(): Promise<void> {
    const { host } = this.#world;
    const [a, b] = host.describe().filter((hca) => hca.kind === "vf");
    await host.swapUverbs(a!.name, b!.name);
    await this.#right("rdma/vf", a!.name);
    await this.#right("rdma/vf", b!.name);
    this.counts["node swaps"]++;
  }

  async #vfs(round: number): Promise<void> {
    const { host } = this.#world;
    const pfs = host.describe().filter((hca) => hca.kind === "pf");
    const pf = pfs[round % pfs.length]!;
    await host.removeVfs(pf.name);
    await this.#world.agrees(`VFs of ${pf.name} destroyed`);
    await host.addVfs(pf.name, 4);
    await this.#world.agrees(`VFs of ${pf.name} created`);
    this.counts["VFs made"] += 4;
  }

  /** Further readers of a list, as a restarting kubelet leaves behind: each gets the list, and the next, and goes. */
  async #watchers(count: number): Promise<void> {
    const { host, kubelet } = this.#world;
    const socket = kubelet.state().resources["rdma/pf"]!.endpoint!;
    const watchers = Array.from({ length: count }, () => new Watcher(socket));
    try {
      await Promise.all(watchers.map((one) => one.has(2)));
      const [pf] = host.describe().filter((hca) => hca.kind === "pf");
      await host.carrierLost(pf!.name, 1);
      await Promise.all(watchers.map((one) => one.has(1)));
      await host.portUp(pf!.name, 1);
      await Promise.all(watchers.map((one) => one.has(2)));
      await this.#world.agrees("watchers");
    } finally {
      for (const one of watchers) one.close();
    }
    this.counts.watchers += count;
    this.counts["link events"] += 2;
  }

  /** Containers start: good IDs and bad ones, and the questions before. */
  async #allocate(count: number): Promise<void> {
    const { kubelet, host } = this.#world;
    const all = host.describe();
    for (let i = 0; i < count; i++) {
      const hca = all[i % all.length]!;
      const resource = `rdma/${hca.kind}`;
      await this.#right(resource, hca.name);
      if (i % 2 === 0) {
        const available = all.filter((one) => one.kind === hca.kind).map((one) => one.name);
        const [chosen] = await kubelet.preferred(resource, [{ available, mustInclude: [hca.name], size: 2 }]);
        if (chosen?.length !== 2 || !chosen.includes(hca.name)) throw new Error(`preferred ${chosen} of ${available}`);
        this.counts.preferences++;
      }
      if (i % 6 === 0) {
        // No two are the same: whatever is remembered of requests must have an end.
        const id = `nobody-${this.#round}-${i}`;
        const refused = await kubelet.allocate(resource, [[id]]).then(() => false, () => true);
        if (!refused) throw new Error(`${id} was handed out`);
        this.counts.refusals++;
      }
    }
  }

  /** Another configuration of a resource that stays, and back. */
  async #reconfigure(): Promise<void> {
    for (const resources of [SHARED_VFS, AT_FIRST]) {
      await this.#world.configure(resources);
      await this.#world.agrees("a new configuration");
      this.counts.configurations++;
    }
  }

  /** A resource leaves and another one comes, and back, while the kubelet is away: see {@link World.registers}. */
  async #otherResources(): Promise<void> {
    const { kubelet } = this.#world;
    for (const resources of [OTHERS, AT_FIRST]) {
      await this.#world.registers(async () => {
        await kubelet.stop();
        await this.#world.configure(resources);
        await kubelet.start();
      });
      await this.#world.agrees("other resources");
      this.counts.configurations++;
      this.counts["kubelet restarts"]++;
    }
  }

  async #lostStream(): Promise<void> {
    await this.#world.registers(() => Promise.resolve(this.#world.kubelet.dropStream("rdma/vf")), "rdma/vf");
    await this.#world.agrees("a lost stream");
    this.counts["lost streams"]++;
  }

  async #hangup(): Promise<void> {
    const { plugin, registration } = this.#world;
    const reload = () => this.#world.reloads(() => plugin.kill("SIGHUP"));
    // A socket that the watcher has found is not registered again as long as it is there.
    if (registration === "socket") await this.#world.registers(reload);
    else await reload();
    await this.#world.agrees("SIGHUP");
    this.counts.hangups++;
  }

  async #restart(socket: "goes" | "stays"): Promise<void> {
    await this.#world.registers(() => this.#world.kubelet.restart({ socket }));
    await this.#world.agrees("a kubelet's restart");
    this.counts["kubelet restarts"]++;
  }

  /** A container with this HCA gets its node, and no other's. */
  async #right(resource: string, hca: string): Promise<void> {
    const { kubelet, host } = this.#world;
    const [answer] = await kubelet.allocate(resource, [[hca]]);
    const nodes = (answer?.devices ?? []).map((one) => one.host_path).filter((path) => path?.includes("/uverbs"));
    const own = host.describe().find((one) => one.name === hca)!.uverbs;
    if (nodes.join() !== `/dev/infiniband/${own}`) throw new Error(`${hca} is ${own}, and its container got ${nodes}`);
    this.counts.allocations++;
  }

  #lists(): Map<string, number> {
    const { resources } = this.#world.kubelet.state();
    return new Map(Object.values(resources).map((one) => [one.name, one.lists]));
  }
}

/** One more reader of a resource's list. */
class Watcher {
  readonly #client: Client;
  readonly #stream: ClientReadableStream<ListAndWatchResponse>;
  #healthy = -1;
  readonly #waits = new Waits();

  constructor(socket: string) {
    const { path, requestSerialize, responseDeserialize } = method<object, ListAndWatchResponse>(
      devicePluginServices()["v1beta1.DevicePlugin"],
      "ListAndWatch",
    );
    this.#client = new Client(`unix:${socket}`, credentials.createInsecure(), {
      ...CLIENT_OPTIONS,
      "grpc.default_authority": "localhost",
    });
    this.#stream = this.#client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, {});
    this.#stream.on("data", (list: ListAndWatchResponse) => {
      this.#healthy = (list.devices ?? []).filter((one) => one.health === "Healthy").length;
      this.#waits.changed();
    });
    this.#stream.on("error", (error: Error) => this.#waits.end(error.message));
  }

  /** Resolves when the last list has so many healthy devices. */
  async has(healthy: number): Promise<void> {
    const message = (reason: string) => `a watcher has ${this.#healthy} and not ${healthy} devices: ${reason}`;
    await this.#waits.until(() => this.#healthy === healthy, message);
  }

  close(): void {
    this.#stream.cancel();
    this.#client.close();
  }
}

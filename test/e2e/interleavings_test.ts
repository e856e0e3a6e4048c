import { deepEqual, ok } from "@std/assert";
import { existsSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { DEFAULT_SPEC } from "../../src/pool/spec.ts";
import type { FakeHost, MutationOptions } from "../../sim/mod.ts";
import { seen, type World, world } from "../support/world.ts";

const RESOURCE = DEFAULT_SPEC.name;
const INTERLEAVINGS = 1_000;
/** Machines after public reports, and how many interleavings each. */
const MACHINES = { "rails-in-pods": 250, "vfs-down": 150, "roce-lag": 50, "smi-subdevice": 100 } as const;

/** One thing that happens; numbers choose among what is there at that moment. */
const step = fc.record({
  what: fc.constantFrom(
    "port-down",
    "port-up",
    "carrier-lost",
    "remove",
    "restore",
    "restore-elsewhere",
    "swap",
    "rename",
    "vfs",
    "no-vfs",
    "hide",
    "show",
    "netdevs-leave",
    "netdevs-leave",
    "raised-in-pod",
    "netdevs-return",
    "look",
    "allocate",
    "allocate",
    "allocate",
  ),
  a: fc.nat(99),
  b: fc.nat(99),
  /** Nobody is told; only the next scan finds out. */
  quiet: fc.boolean(),
  /** A pod is admitted in the middle of the change. */
  between: fc.boolean(),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Which HCA every uverbs node belongs to, and what the kubelet should be told. */
function truth(host: FakeHost) {
  const here = host.describe();
  // A second RDMA device of a function that never has a uverbs node is no adapter.
  const isServed = (pci: string | null) => here.some((one) => one.pci === pci && one.uverbs !== null);
  const now = here.filter((one) => one.uverbs !== null || !isServed(one.pci));
  return {
    nodes: new Map(now.map((one): [string, string] => [`/dev/infiniband/${one.uverbs}`, one.name])),
    devices: now.map((one) => {
      // Of a VF or sub-function nothing more is asked than that it is there: its link is raised inside a pod.
      // Of an Ethernet port whose net device is in a pod nothing is asked at all.
      const inPod = one.netdevs.length === 0 && one.ports.every((port) => port.linkLayer === "Ethernet");
      const up = one.kind === "vf" || one.kind === "sf" || inPod ||
        one.ports.some((port) => port.state === "4: ACTIVE");
      const healthy = one.uverbs !== null && one.uverbsNode && up;
      return `${one.name}:${healthy ? "Healthy" : "Unhealthy"}`;
    }).sort(),
  };
}

class Play {
  readonly #world: World;
  /** The truth at every moment so far. */
  readonly #moments: ReturnType<typeof truth>[] = [];
  readonly #calls: Promise<void>[] = [];
  readonly wrong: string[] = [];
  allocated = 0;
  refused = 0;

  constructor(one: World) {
    this.#world = one;
    this.note();
  }

  note(): void {
    this.#moments.push(truth(this.#world.host));
  }

  /** Asks for one device of what the kubelet knows, without waiting for the answer. */
  allocate(pick: number): void {
    const ids = this.#world.kubelet.state().resources[RESOURCE]?.devices.map((device) => device.id) ?? [];
    if (ids.length === 0) return;
    const id = ids[pick % ids.length]!;
    const from = this.#moments.length - 1;
    this.#calls.push(
      this.#world.kubelet.allocate(RESOURCE, [[id]]).then(([answer]) => {
        this.allocated++;
        this.note();
        const paths = (answer?.devices ?? []).map((device) => device.host_path ?? "");
        for (const path of paths.filter((one) => one.includes("/uverbs"))) {
          if (this.#moments.slice(from).some((moment) => moment.nodes.get(path) === id)) continue;
          this.wrong.push(`${id} got ${path}, which was never its node between the question and the answer`);
        }
        if (!paths.some((one) => one.includes("/uverbs"))) this.wrong.push(`${id} got no uverbs node`);
      }, () => {
        this.refused++;
      }),
    );
  }

  async do({ what, a, b, quiet, between }: Step): Promise<void> {
    const { host, agent } = this.#world;
    const here = host.describe().filter((one) => one.uverbs !== null).map((one) => one.name);
    const name = here[a % here.length];
    const gone = host.removedHcas();
    const options: MutationOptions = {
      quiet,
      ...between ? { between: () => (this.note(), this.allocate(b), Promise.resolve()) } : {},
    };
    if (what === "look") return await agent.scan("test");
    if (what === "allocate") return this.allocate(a);
    if (what === "restore" || what === "restore-elsewhere") {
      const back = gone[a % gone.length];
      if (back !== undefined) {
        const uverbs = 20 + b;
        const taken = host.describe().some((one) => one.uverbs === `uverbs${uverbs}`);
        await host.restoreHca(back, { ...options, ...what === "restore" || taken ? {} : { uverbs } });
      }
    } else if (name !== undefined) {
      const other = here[b % here.length]!;
      if (what === "port-down") await host.portDown(name, 1, options);
      if (what === "port-up") await host.portUp(name, 1, options);
      if (what === "carrier-lost") await host.carrierLost(name, 1, options);
      if (what === "remove" && here.length > 2) await host.removeHca(name, options);
      if (what === "swap" && other !== name) await host.swapUverbs(name, other, options);
      if (what === "rename" && !here.includes(`mlx5_r${b}`) && !gone.includes(`mlx5_r${b}`)) {
        await host.renameHca(name, `mlx5_r${b}`, options);
      }
      if (what === "hide") await host.hideUverbsNode(name, options);
      if (what === "show") await host.showUverbsNode(name, options);
      const left = host.describe().find((one) => one.name === name)?.netdevs.length;
      if (what === "netdevs-leave" && left !== undefined && left > 0) await host.moveNetdevsToPod(name, options);
      if (what === "netdevs-return" && left === 0) await host.returnNetdevs(name, options);
      if (what === "raised-in-pod" && left === 0) {
        await host.setGids(name, 1, [{ index: 0, gid: LINK_LOCAL, type: "RoCE v2", netdev: "net1" }], options);
        await host.portUp(name, 1, options);
      }
      const pf = host.describe().find((one) =>
        one.kind === "pf" && existsSync(`${host.hcaPath(one.name)}/device/sriov_numvfs`)
      );
      const hasVfs = pf !== undefined &&
        Number(readFileSync(`${host.hcaPath(pf.name)}/device/sriov_numvfs`, "utf8")) > 0;
      if (what === "vfs" && pf !== undefined && !hasVfs) await host.addVfs(pf.name, 1 + b % 3, options);
      if (what === "no-vfs" && pf !== undefined && hasVfs) await host.removeVfs(pf.name, options);
    }
    this.note();
  }

  /** Lets every call end, looks once more, and waits until the kubelet's list is the host. */
  async quiet(): Promise<void> {
    const { agent, kubelet, host } = this.#world;
    await Promise.all(this.#calls.splice(0));
    await agent.scan("test");
    const { devices } = truth(host);
    await kubelet.waitFor(() => JSON.stringify(seen(kubelet)) === JSON.stringify(devices), {
      what: `the host's ${devices.join(" ")}`,
    });
    this.#moments.splice(0, this.#moments.length - 1);
  }
}

const LINK_LOCAL = "fe80:0000:0000:0000:0000:0000:0000:0001";

/** Plays so many interleavings on one machine, which lives on from one to the next. */
async function play(machine: string, runs: number): Promise<Play> {
  await using one = await world({ host: machine });
  const playing = new Play(one);
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 8 }), async (steps) => {
      for (const each of steps) await playing.do(each);
      await playing.quiet();
      deepEqual(playing.wrong, []);
    }),
    // So a failure cannot be made smaller by playing it again.
    { numRuns: runs, endOnFailure: true },
  );
  return playing;
}

for (const [machine, runs] of Object.entries(MACHINES)) {
  Deno.test(`after any of ${runs} interleavings on ${machine} the kubelet's list is the host`, async () => {
    await play(machine, runs);
  });
}

Deno.test(`after any of ${INTERLEAVINGS} interleavings the kubelet's list is the host, and no Allocate gave another HCA's node`, async () => {
  const playing = await play("connectx-roce-vfs", INTERLEAVINGS);
  ok(playing.allocated > INTERLEAVINGS / 4, `only ${playing.allocated} pods were admitted`);
  ok(playing.refused > 0, "no pod was ever refused: the interleavings are too tame");
});

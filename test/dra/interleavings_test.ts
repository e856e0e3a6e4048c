import { deepEqual, ok } from "@std/assert";
import fc from "fast-check";
import { rmSync, writeFileSync } from "node:fs";
import type { Claims } from "../../src/dra/claims.ts";
import { DISK, type Disk } from "../../src/dra/claim_files.ts";
import type { Hca } from "../../src/hca/types.ts";
import type { ClaimedDevice } from "../../src/kubelet/pod_resources.ts";
import { claim, ClaimNode, result } from "../support/claims.ts";
import { hca } from "../support/hcas.ts";

/** What reaches the disk in time is not what is tested here. */
const QUICK: Disk = { ...DISK, write: (path, text, mode) => writeFileSync(path, text, { mode }) };

const HCAS = 3, UIDS = 5;
const all = Array.from({ length: HCAS }, (_, n) => hca(n));
const deviceOf = (n: number) => `pci-0000-0${n}-00-0`;

type Step =
  | { readonly kind: "prepare"; readonly uid: number; readonly device: number; readonly process: number }
  | { readonly kind: "unprepare"; readonly uid: number; readonly process: number }
  | { readonly kind: "scan"; readonly present: readonly boolean[]; readonly uverbs: number }
  | { readonly kind: "restart"; readonly process: number }
  | { readonly kind: "reboot" | "delete claims" }
  | { readonly kind: "api"; readonly down: boolean }
  | { readonly kind: "plugin"; readonly device: number; readonly held: boolean };

const process = fc.integer({ min: 0, max: 1 });
const uid = fc.integer({ min: 0, max: UIDS - 1 });
const device = fc.integer({ min: 0, max: HCAS - 1 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("prepare" as const), uid, device, process }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("unprepare" as const), uid, process }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("scan" as const),
      present: fc.array(fc.boolean(), { minLength: HCAS, maxLength: HCAS }),
      uverbs: fc.integer({ min: 0, max: 20 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("restart" as const), process }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("reboot" as const, "delete claims" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("api" as const), down: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("plugin" as const), device, held: fc.boolean() }) },
);

/** What is known of the node from the answers alone. */
class World implements Disposable {
  readonly node = new ClaimNode(all);
  /** Claims that were answered well and not unprepared, with their device. */
  readonly held = new Map<string, string>();
  /** Claims of which a prepare was tried: they may have left a record. */
  readonly tried = new Set<string>();
  #processes: Claims[] = [this.node.start(QUICK), this.node.start(QUICK)];

  async play(one: Step): Promise<void> {
    const { node } = this;
    switch (one.kind) {
      case "prepare": {
        const name = `u-${one.uid}`;
        // A claim keeps its allocation until it is unprepared, as the API server has it.
        const object = node.api.get(`default/claim-${name}`) ?? claim(name, [result(deviceOf(one.device))]);
        const ref = node.put(object);
        this.tried.add(name);
        const answer = await this.#processes[one.process]!.prepare(ref);
        if (answer.ok) this.held.set(name, answer.devices[0]!.device);
        return;
      }
      case "unprepare": {
        const name = `u-${one.uid}`;
        const trouble = await this.#processes[one.process]!.unprepare({
          namespace: "default",
          name: `claim-${name}`,
          uid: name,
        });
        ok(trouble === null, trouble ?? "");
        this.held.delete(name);
        this.tried.delete(name);
        node.api.delete(`default/claim-${name}`);
        return;
      }
      case "scan":
        node.hcas = all.filter((_, n) => one.present[n]).map((each, n): Hca => ({
          ...each,
          uverbs: { name: `uverbs${one.uverbs + n}`, dev: null, abiVersion: 1, present: true },
        }));
        rmSync(node.sysfsRoot, { recursive: true, force: true });
        node.writeSysfs(node.hcas);
        return await this.#processes[0]!.refresh();
      case "restart":
        this.#processes[one.process] = node.start(QUICK);
        return await this.#processes[one.process]!.refresh();
      case "reboot":
        rmSync(node.cdiDir, { recursive: true, force: true });
        this.#processes = [node.start(QUICK), node.start(QUICK)];
        return await this.#processes[0]!.refresh();
      case "delete claims":
        // The objects of claims that pods still use are deleted; nothing may follow from that here.
        node.now += 200_000;
        node.api.clear();
        return await this.#processes[1]!.removeAbandoned(
          [...this.held].map(([name, device]): ClaimedDevice => ({
            namespace: "default",
            pod: "p",
            container: "c",
            claimNamespace: "default",
            claim: `claim-${name}`,
            driver: "rdma.tencent.com",
            pool: "node-1",
            device,
          })),
        );
      case "api":
        node.apiDown = one.down;
        return;
      case "plugin":
        // A kubelet gives an HCA to a pod through the device plugin only while it is on offer there: not while claimed.
        if (one.held && ![...this.held.values()].includes(deviceOf(one.device))) {
          node.heldBy.set(`mlx5_${one.device}`, "pod a/p through x/y");
        } else node.heldBy.delete(`mlx5_${one.device}`);
    }
  }

  check(what: string): void {
    const { node } = this;
    const devices = [...this.held.values()];
    deepEqual(devices.length, new Set(devices).size, `${what}: one HCA twice`);
    for (const name of this.held.keys()) {
      ok(node.recordNames.includes(`${name}.json`), `${what}: the record of ${name} is lost`);
      ok(node.cdiNames.includes(`rdma.tencent.com-claim_${name}.json`), `${what}: the CDI file of ${name} is lost`);
    }
    const left = node.recordNames.filter((name) => !this.tried.has(name.replace(".json", "")));
    deepEqual(left, [], `${what}: records are left`);
    const known = node.recordNames.map((name) => `rdma.tencent.com-claim_${name}`);
    deepEqual(node.cdiNames.filter((name) => !known.includes(name)), [], `${what}: CDI files are left`);
  }

  async end(): Promise<void> {
    for (const uid of Array.from({ length: UIDS }, (_, n) => n)) {
      await this.play({ kind: "unprepare", uid, process: uid % 2 });
    }
    deepEqual([this.node.recordNames, this.node.cdiNames], [[], []]);
  }

  [Symbol.dispose](): void {
    this.node[Symbol.dispose]();
  }
}

Deno.test("500 random lives of a node: no HCA twice, no CDI file lost or left", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      using world = new World();
      for (const one of steps) {
        await world.play(one);
        world.check(JSON.stringify(one));
      }
      await world.end();
    }),
    { numRuns: 500 },
  );
});

Deno.test("500 random lives with two processes of the driver at once: no HCA twice, no CDI file lost or left", async () => {
  const calls = fc.array(step.filter((one) => one.kind === "prepare" || one.kind === "unprepare"), {
    minLength: 2,
    maxLength: 4,
  });
  // The kubelet has one call for a claim at a time, whatever it does with others meanwhile.
  const apart = calls.filter((list) => new Set(list.map((one) => "uid" in one ? one.uid : -1)).size === list.length);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(step.map((one) => [one]), apart), { maxLength: 15 }), async (rounds) => {
      using world = new World();
      for (const round of rounds) {
        await Promise.all(round.map((one) => world.play(one)));
        world.check(JSON.stringify(round));
      }
      await world.end();
    }),
    { numRuns: 500 },
  );
});

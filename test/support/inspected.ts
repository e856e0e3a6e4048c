/**
 * A inventory of a fake host, and facts for the doctor that do not depend on the machine which runs the test.
 *
 * @module
 */
import { readNetnsMode } from "../../src/hca/netns_mode.ts";
import type { VerbsAnswer } from "../../src/hca/types.ts";
import { noVerbs } from "../../src/hca/verbs.ts";
import type { Inventory } from "../../src/agent/inventory.ts";
import { TESTED_DENO } from "../../src/doctor/check_runtime.ts";
import type { Facts } from "../../src/doctor/facts.ts";
import { hostHas } from "../../src/hca/files.ts";
import { missingNode, nodeOwners } from "../../src/pool/extra_nodes.ts";
import { type MissingNode, track } from "../../src/pool/states.ts";
import { select } from "../../src/pool/select.ts";
import { DEFAULT_SPEC, type ResourceSpec } from "../../src/pool/spec.ts";
import { FakeHost, type HostDescription, preset } from "../../sim/mod.ts";
import { discoveryOn } from "./discovery.ts";

/**
 * Surveys a fake host after `change` has been done to it.
 * @param says libibverbs' answer; null for one that agrees with sysfs
 */
export async function inspected(
  host: string | HostDescription,
  specs: readonly ResourceSpec[] = [DEFAULT_SPEC],
  change: (host: FakeHost) => Promise<void> = () => Promise.resolve(),
  says: VerbsAnswer | null = null,
): Promise<Inventory> {
  const fake = FakeHost.create(FakeHost.temporaryRoot(), typeof host === "string" ? preset(host) : host);
  try {
    await change(fake);
    const devices = fake.describe().filter((one) => one.uverbsNode !== null)
      .map((one) => ({ name: one.name, uverbs: one.uverbs!, guid: one.nodeGuid, nodeType: 1 }));
    const verbs: VerbsAnswer = says ?? (devices.length > 0 ? { kind: "list", devices } : { kind: "empty" });
    const discovery = discoveryOn(fake, {
      verbs: noVerbs(verbs),
      netnsMode: () => readNetnsMode(fake.sysfsRoot, { fake: true }),
    });
    const snapshot = await discovery.scan("full");
    const selection = select(specs, snapshot);
    const ownersOf = nodeOwners(snapshot.hcas);
    const nodeFacts = { has: hostHas(fake.devRoot), ownersOf };
    const missing: MissingNode = (spec, hca) => missingNode(spec, hca, nodeFacts);
    const { states } = track(new Map(), selection, new Map(), 0, missing);
    return { snapshot, specs, leftOut: selection.leftOut, states, ownersOf };
  } finally {
    fake.close();
  }
}

const PROVIDERS = ["mlx5", "bnxt_re", "irdma", "efa", "rxe"];

/** Facts of a node on which all is well but for what the inventory and `over` say. */
export function facts(inventory: Inventory, over: Partial<Facts> = {}): Facts {
  const uverbs = inventory.snapshot.hcas.flatMap((hca) => hca.uverbs?.present ? [hca.uverbs] : []);
  return {
    inventory,
    configWarnings: [],
    refused: [],
    hidden: [],
    modules: ["ib_core", "ib_uverbs", "ib_umad", "rdma_ucm"],
    runtime: `Deno ${TESTED_DENO}`,
    sysfsRoot: "/sys",
    devRoot: "/dev",
    realMachine: true,
    devDirectory: true,
    nodes: new Map(uverbs.map(({ name, dev }) => [name, { kind: "character", dev, mode: 0o666 }])),
    providers: {
      libraries: PROVIDERS.map((name) => `lib${name}-rdmav34.so`),
      drivers: PROVIDERS.map((name) => `${name}.driver`),
    },
    functions: [],
    links: new Map(),
    ruleCounters: { found: [], missing: [], skipped: [] },
    kubelet: HEALTHY_KUBELET,
    memlock: Infinity,
    selinux: null,
    cdi: { dir: "/var/run/cdi", state: "writable" },
    inotifyInstances: 128,
    dra: null,
    reports: null,
    ...over,
  };
}

/** A kubelet that runs, and nobody else's plugin. */
export const HEALTHY_KUBELET: Facts["kubelet"] = {
  dir: "/var/lib/kubelet/device-plugins",
  state: "writable",
  socket: "answers",
  longPaths: [],
  takenNames: [],
  otherSockets: [],
};

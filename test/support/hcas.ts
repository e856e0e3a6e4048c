/**
 * HCAs as values, for tests of the pure policy.
 *
 * @module
 */
import type { Hca, PciFunction, Port, Snapshot } from "../../src/hca/types.ts";
import type { PoolState, PoolStates } from "../../src/pool/states.ts";
import { track } from "../../src/pool/states.ts";
import { select } from "../../src/pool/select.ts";
import { DEFAULT_SPEC, type ResourceSpec } from "../../src/pool/spec.ts";
import type { HostFacts } from "../../src/pool/allocate.ts";

export function port(number: number, over: Partial<Port> = {}): Port {
  return {
    number,
    transport: over.linkLayer === "InfiniBand" ? "IB" : over.linkLayer === "unknown" ? "unknown" : "RoCE",
    state: "ACTIVE",
    physState: "LinkUp",
    linkLayer: "Ethernet",
    rate: "100 Gb/sec (4X EDR)",
    rateGbps: 100,
    upRateGbps: null,
    lid: 0,
    smLid: 0,
    gids: [],
    gidTable: true,
    netdevs: [],
    netdevAway: false,
    umad: null,
    issm: null,
    pkey0: "0xffff",
    ...over,
  };
}

export function pci(address: string, over: Partial<PciFunction> = {}): PciFunction {
  return {
    address,
    vendor: "15b3",
    device: "1017",
    driver: "mlx5_core",
    modalias: null,
    numaNode: 0,
    path: ["pci0000:3a", "0000:3a:00.0"],
    physfn: null,
    vfIndex: null,
    pfNetdevs: [],
    sriovNumVfs: 0,
    sriovTotalVfs: 8,
    ...over,
  };
}

/** mlx5_N on 0000:NN:00.0 with one ACTIVE RoCE port and uverbsN. */
export function hca(n: number, over: Partial<Hca> = {}): Hca {
  return {
    name: `mlx5_${n}`,
    nodeType: "CA",
    nodeGuid: `ec0d:9a03:0000:000${n % 10}`,
    sysImageGuid: null,
    firmware: "16.35.2000",
    boardId: "MT_0000000008",
    hcaType: "MT4119",
    kind: "pf",
    transport: "RoCE",
    pci: pci(`0000:${n.toString(16).padStart(2, "0")}:00.0`),
    sfNumber: null,
    sfDevice: null,
    ports: [port(1, { umad: `umad${n}` })],
    netdevs: [`eth${n}`],
    bondNetdevs: [],
    switchdev: false,
    subdeviceOf: null,
    uverbs: { name: `uverbs${n}`, dev: `231:${192 + n}`, abiVersion: 1, present: true },
    classNodes: [],
    inVerbs: true,
    notes: [],
    ...over,
  };
}

export function snapshot(hcas: readonly Hca[], over: Partial<Snapshot> = {}): Snapshot {
  return {
    hcas,
    inPodNetns: [],
    verbs: { kind: "not-asked", detail: "test" },
    rdmaCm: true,
    knem: false,
    netnsMode: "shared",
    unreadable: [],
    notes: [],
    ...over,
  };
}

export function spec(over: Partial<ResourceSpec> = {}): ResourceSpec {
  return { ...DEFAULT_SPEC, ...over };
}

export const HOST: HostFacts = { rdmaCm: true, knem: false, has: () => true, ownersOf: () => [] };

/** One step of the ledger over these HCAs. */
export function after(states: PoolStates, specs: readonly ResourceSpec[], hcas: readonly Hca[], now: number) {
  return track(states, select(specs, snapshot(hcas)), new Map(), now);
}

/** The account of the only resource, as a first scan makes it. */
export function poolState(one: ResourceSpec, hcas: readonly Hca[]): PoolState {
  return after(new Map(), [one], hcas, 0).states.get(one.name)!;
}

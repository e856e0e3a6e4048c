/**
 * Every reason why a device is Unhealthy or changed its state, with its code and its sentence, and every code of an HCA
 * that is left out. Other tests assert on codes only.
 *
 * @module
 */
import { deepEqual } from "@std/assert";
import type { Hca, Port } from "../../src/hca/types.ts";
import { unhealthyReason } from "../../src/pool/health.ts";
import type { WatchedCounter } from "../../src/pool/errors.ts";
import {
  CHANGE_CODES,
  type ChangeCode,
  LEFT_OUT_CODES,
  type LeftOutCode,
  UNHEALTHY_CODES,
  type UnhealthyCode,
} from "../../src/pool/reasons.ts";
import type { ErrorRule, HealthPolicy, ResourceSpec } from "../../src/pool/spec.ts";
import { hca, pci, poolState, port, snapshot, spec } from "../support/hcas.ts";
import { type PoolStates, track } from "../../src/pool/states.ts";
import { select } from "../../src/pool/select.ts";

const on = (over: Partial<Port>): Partial<Hca> => ({ ports: [port(1, over)] });
const RoCE_OFF = { gidTable: false } as const;

/** Code, the HCA that has it, port, sentence, and the health policy where it is not the default. */
const ROWS: readonly (readonly [UnhealthyCode, Partial<Hca>, number | null, string, Partial<HealthPolicy>?])[] = [
  ["claimed", {}, null, "claim a/b has it through DRA"],
  [
    "no-uverbs",
    { uverbs: null },
    null,
    "it has no uverbs node: it is being removed, or ib_uverbs is not loaded",
  ],
  [
    "uverbs-node-missing",
    { uverbs: { name: "uverbs0", dev: null, abiVersion: 1, present: false } },
    null,
    "/dev/infiniband/uverbs0 does not exist",
  ],
  [
    "uverbs-node-stale",
    { uverbs: { name: "uverbs0", dev: "231:192", abiVersion: 1, present: false, stale: "device 1:3" } },
    null,
    "/dev/infiniband/uverbs0 is device 1:3, and not the HCA's 231:192",
  ],
  ["no-gid-table", on(RoCE_OFF), null, "no GID table: RoCE is off"],
  ["no-gid-table", { ...on(RoCE_OFF), switchdev: true }, null, "no GID table: RoCE is off (switchdev uplink)"],
  [
    "no-gid-table",
    { ports: [port(1), port(2, RoCE_OFF)] },
    2,
    "port 2 has no GID table: RoCE is off",
    { ports: [1, 2], require: "all" },
  ],
  ["no-such-port", {}, 3, "it has no port 3", { ports: [3] }],
  ["no-ports", { ports: [] }, null, "it has no ports"],
  ["port-down", on({ state: "DOWN", physState: "Polling" }), 1, "port 1 is DOWN (Polling)"],
  ["port-down", on({ state: "DOWN", physState: null }), 1, "port 1 is DOWN"],
  [
    "port-down",
    { ports: [port(1, { state: "DOWN", physState: "Disabled" }), port(2, { state: "INIT" })] },
    null,
    "port 1 is DOWN (Disabled), port 2 is INIT (LinkUp)",
  ],
  [
    "port-not-active",
    on({ state: "INIT", linkLayer: "InfiniBand" }),
    1,
    "port 1 is INIT (LinkUp); is a subnet manager running?",
  ],
  ["port-not-active", on({ state: "ARMED" }), 1, "port 1 is ARMED (LinkUp)"],
  [
    "port-unreadable",
    on({ state: "unknown", physState: null }),
    1,
    "port 1's state cannot be read; the HCA is being removed or hangs",
  ],
];

Deno.test("unhealthyReason() has a code, a port and a sentence for every requirement", () => {
  const policy = spec().health;
  for (const [code, over, number, reason, health = {}] of ROWS) {
    const claimed = code === "claimed" ? { claimedBy: "claim a/b" } : {};
    const member = { id: "mlx5_0", hcas: [hca(0, over)], inPodNetns: false, ...claimed };
    const found = unhealthyReason(member, spec({ health: { ...policy, ...health } }));
    deepEqual(found, { code, hca: "mlx5_0", port: number, reason });
  }
});

const RULE: ErrorRule = { counter: "link_downed", limit: 5, windowMs: 600_000 };
const WATCHED: WatchedCounter = {
  ...{ rule: RULE, hca: "mlx5_0", identity: "a", port: 1, group: "port", value: 7n, readAt: 0, slots: [], count: 7 },
  exceeded: { count: 7, at: 0 },
};

/** What happens to a resource whose device mlx5_0 was Healthy, in steps, and the reason after the last one. */
interface Then {
  readonly hcas: readonly Hca[];
  /** In another network namespace. */
  readonly away?: readonly Hca[];
  readonly now?: number;
  readonly missing?: string;
  readonly exceeded?: readonly WatchedCounter[];
}
const TRACKED: readonly (readonly [ChangeCode, string, ...Then[]])[] = [
  ["node-missing", "/dev/x does not exist", { hcas: [hca(0)], missing: "/dev/x does not exist" }],
  [
    "counter-errors",
    "port 1's link_downed went up by 7 within 10m (limit 5)",
    { hcas: [hca(0)], exceeded: [WATCHED] },
  ],
  [
    "settling",
    "all requirements hold again, waiting 1000 ms for it to stay so",
    { hcas: [hca(0, on({ state: "DOWN" }))] },
    { hcas: [hca(0)] },
  ],
  ["gone", "it disappeared from the machine", { hcas: [] }],
  [
    "not-selected",
    "mlx5_0 is not selected any more: it is an SMI sub-device of mlx5_9, which has the uverbs node of their PCI function",
    { hcas: [hca(0, { subdeviceOf: "mlx5_9" })] },
  ],
  ["grace-over", "it did not come back within the grace time", { hcas: [] }, { hcas: [], now: 1e9 }],
  [
    "recovered",
    "everything it needs holds again: port 1 ACTIVE",
    { hcas: [hca(0, on({ state: "DOWN" }))] },
    { hcas: [hca(0)] },
    { hcas: [hca(0)], now: 1e9 },
  ],
  [
    "other-netns",
    "it is not in the host's RDMA network namespace, and no pod holds this device; who moved it has to move it back " +
    "(rdma dev set), or its RDMA driver is to be loaded again",
    { hcas: [], away: [hca(0)] },
  ],
  ["appeared", "it appeared: port 1 ACTIVE", { hcas: [] }, { hcas: [], now: 1e9 }, { hcas: [hca(0)], now: 2e9 }],
];

Deno.test("track() adds the reasons that come from time, selection and the host", () => {
  const one = spec({ health: { ...spec().health, errors: [RULE] } });
  for (const [code, reason, ...steps] of TRACKED) {
    let states: PoolStates = new Map([[one.name, poolState(one, [hca(0)])]]);
    let found: readonly unknown[] = [];
    for (const { hcas, away = [], now = 0, missing = null, exceeded = [] } of steps) {
      const rules = new Map([["mlx5_0", exceeded]]);
      const next = track(
        states,
        select([one], snapshot(hcas, { inPodNetns: away })),
        new Map(),
        now,
        () => missing,
        rules,
      );
      const state = next.states.get(one.name)!.deviceStates.get("mlx5_0");
      const shown = state?.code ? state : next.changes[0];
      found = [shown?.code, shown?.reason];
      states = next.states;
    }
    deepEqual(found, [code, reason]);
  }
});

/** The code why mlx5_0 is not in the last of the resources. */
const LEFT_OUT: readonly (readonly [LeftOutCode, readonly Partial<ResourceSpec>[], readonly Hca[]])[] = [
  ["not-selected", [{ select: [{ kinds: ["vf"] }] }], [hca(0)]],
  ["excluded", [{ exclude: [{ hcas: ["mlx5_0"] }] }], [hca(0)]],
  ["other-resource", [{ name: "a/one" }, { name: "a/two" }], [hca(0)]],
  ["other-api", [{ name: "a/one" }, { name: "a/two", api: "dra" }], [hca(0)]],
  ["representor", [{}], [hca(0, { ...on(RoCE_OFF), pci: pci("0000:3b:00.0") }), hca(1, { pci: pci("0000:3b:00.0") })]],
  ["software", [{}], [hca(0, { kind: "virtual", pci: null, netdevs: ["eth1"] }), hca(1)]],
  ["sub-device", [{}], [hca(0, { subdeviceOf: "mlx5_1" })]],
];

Deno.test("select() has a code for every HCA that it leaves out", () => {
  for (const [code, specs, hcas] of LEFT_OUT) {
    const { leftOut } = select(specs.map(spec), snapshot(hcas));
    deepEqual(leftOut.map((one) => [one.hca, one.code]), [["mlx5_0", code]]);
  }
});

Deno.test("every code of a reason has a row here: one that nothing can produce is a failure", () => {
  const rows = [...ROWS, ...TRACKED].map(([code]) => code);
  const reasons = [...Object.keys(UNHEALTHY_CODES), ...Object.keys(CHANGE_CODES)];
  deepEqual(reasons.filter((code) => !rows.some((one) => one === code)), []);
  deepEqual(LEFT_OUT.map(([code]) => code), Object.keys(LEFT_OUT_CODES));
});

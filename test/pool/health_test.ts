/**
 * Every reason why a device is Unhealthy, with its code and its sentence. Other tests assert on codes only.
 *
 * @module
 */
import { deepEqual } from "@std/assert";
import type { Hca, Port } from "../../src/hca/types.ts";
import { unhealthyReason } from "../../src/pool/health.ts";
import type { UnhealthyCode } from "../../src/pool/reasons.ts";
import type { HealthPolicy } from "../../src/pool/spec.ts";
import { hca, poolState, port, snapshot, spec } from "../support/hcas.ts";
import { track } from "../../src/pool/states.ts";
import { select } from "../../src/pool/select.ts";

const on = (over: Partial<Port>): Partial<Hca> => ({ ports: [port(1, over)] });
const RoCE_OFF = { gidTable: false } as const;

/** Code, the HCA that has it, port, sentence, and the health policy where it is not the default. */
const ROWS: readonly (readonly [UnhealthyCode, Partial<Hca>, number | null, string, Partial<HealthPolicy>?])[] = [
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
    const member = { id: "mlx5_0", hcas: [hca(0, over)], inPodNetns: false };
    const found = unhealthyReason(member, spec({ health: { ...policy, ...health } }));
    deepEqual(found, { code, hca: "mlx5_0", port: number, reason });
  }
  const claimed = { id: "mlx5_0", hcas: [hca(0)], inPodNetns: false, claimedBy: "claim a/b" };
  const reason = "claim a/b has it through DRA";
  deepEqual(unhealthyReason(claimed, spec()), { code: "claimed", hca: "mlx5_0", port: null, reason });
});

Deno.test("track() adds the reasons that come from time, selection and the host", () => {
  const one = spec();
  const known = poolState(one, [hca(0)]);
  const states = new Map([[one.name, known]]);
  const codeOf = (hcas: readonly Hca[], missing: string | null = null, before = states) => {
    const next = track(before, select([one], snapshot(hcas)), new Map(), 0, () => missing).states;
    const { code, reason } = next.get(one.name)!.deviceStates.get("mlx5_0")!;
    return [code, reason];
  };
  const down = [hca(0, on({ state: "DOWN" }))];
  const unfit = track(states, select([one], snapshot(down)), new Map(), 0).states;
  const timed = [
    codeOf([hca(0)], "/dev/x does not exist"),
    codeOf([hca(0)], null, new Map(unfit)),
    codeOf([]),
    codeOf([hca(0, { subdeviceOf: "mlx5_9" })]),
  ];
  deepEqual(timed, [
    ["node-missing", "/dev/x does not exist"],
    ["settling", "all requirements hold again, waiting 1000 ms for it to stay so"],
    ["gone", "it disappeared from the machine"],
    [
      "not-selected",
      "mlx5_0 is not selected any more: it is an SMI sub-device of mlx5_9, which has the uverbs node of their PCI function",
    ],
  ]);
});

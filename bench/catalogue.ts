/**
 * Every figure there is, so that a run can tell whether it has them all.
 *
 * @module
 */

/** Units that figures come in; "power" is the exponent of a growth, "count" and "bytes" are exact, everything else is a measurement. */
export type Unit = "ms" | "µs" | "/s" | "MiB" | "%" | "bytes" | "count" | "power";

/** What is measured. */
export interface Quantity {
  /** Stable name in the JSON: "allocate.1.p50". */
  readonly id: string;
  /** The same for people. */
  readonly what: string;
  readonly unit: Unit;
  /** Measured of every subject and compared; otherwise of our plugin alone. */
  readonly compared: boolean;
  /** What it is on every machine; anything else is a mistake. */
  readonly exactly?: number;
}

/** HCAs of the hosts that are looked at. */
export const HCAS = [1, 16, 128, 1024] as const;
/** Most of them. */
export const MOST = 1024;
/** Resources that a hundred HCAs are offered as. */
export const RESOURCES = [1, 10, 100] as const;
/** Shares of each of those. */
export const SHARES = 1_000;
/** Devices of the list that is timed on its way. */
export const LONG_LIST = 10_000;
/** The most virtual functions of a node, and how many an adapter has of them. */
export const FUNCTIONS = 4_096;
export const PER_ADAPTER = 128;
/** Clients that call at the same time. */
export const CROWD = 16;
/** By then a subject has answered as many Allocates, of which the memory is taken. */
export const ALLOCATES = 10_000;

const compared = (id: string, what: string, unit: Unit): Quantity => ({ id, what, unit, compared: true });
const ours = (id: string, what: string, unit: Unit): Quantity => ({ id, what, unit, compared: false });
const exact = (id: string, what: string, exactly: number): Quantity => ({ ...ours(id, what, "count"), exactly });

function latency(clients: number): readonly Quantity[] {
  const id = `allocate.${clients}`;
  const what = `Allocate, ${plural(clients, "client")}`;
  return [
    compared(`${id}.p50`, `${what}, p50`, "µs"),
    compared(`${id}.p99`, `${what}, p99`, "µs"),
    compared(`${id}.max`, `${what}, max`, "µs"),
    compared(`${id}.rate`, `${what}, calls`, "/s"),
  ];
}

function memory(id: string, when: string, make = compared): readonly Quantity[] {
  return [
    make(`memory.${id}.rss`, `memory ${when}, resident`, "MiB"),
    make(`memory.${id}.anonymous`, `memory ${when}, anonymous`, "MiB"),
  ];
}

/** In the order of the table. */
export const QUANTITIES: readonly Quantity[] = [
  compared("start", "exec → registered", "ms"),
  compared("restart", "kubelet restarted → registered again", "ms"),
  ...latency(1),
  ...latency(CROWD),
  compared("threads", "threads", "count"),
  compared("cpu.idle", "processor while nothing happens", "%"),
  ...memory("idle", "idle"),
  ...memory("allocates", `after ${grouped(ALLOCATES)} Allocates`),
  ...memory("rest", `some seconds after ${grouped(ALLOCATES)} Allocates`),
  ...memory("churn", "after an hour's churn", ours),
  ours("event.p50", "link event → list at the kubelet, p50", "ms"),
  ours("event.p99", "link event → list at the kubelet, p99", "ms"),
  ours("event.max", "link event → list at the kubelet, max", "ms"),
  ...HCAS.flatMap((n) => [
    ours(`scan.quick.${n}`, `a quick scan, ${plural(n, "HCA")}`, "µs"),
    ours(`scan.full.${n}`, `a full scan, ${plural(n, "HCA")}`, "µs"),
    ours(`list.${n}.bytes`, `list of ${plural(n, "HCA")}`, "bytes"),
  ]),
  ours("scan.quick.growth", `a quick scan grows with the HCAs, ${HCAS[1]} to ${grouped(MOST)}`, "power"),
  ours("scan.full.growth", `a full scan grows with the HCAs, ${HCAS[1]} to ${grouped(MOST)}`, "power"),
  ours("scan.full.turn", `longest turn of the event loop in a full scan, ${grouped(MOST)} HCAs`, "ms"),
  ours("prefer", `GetPreferredAllocation, 8 of ${grouped(MOST)} devices`, "ms"),
  ...RESOURCES.flatMap((n) => [
    ours(
      `resources.${n}.scan`,
      `a quick scan, 100 HCAs as ${plural(n, "resource")} of ${grouped(SHARES)} shares`,
      "µs",
    ),
    ours(`resources.${n}.bytes`, `lists of ${plural(n, "resource")} of ${grouped(SHARES)} shares`, "bytes"),
  ]),
  ours("resources.start", `exec → ${RESOURCES.at(-1)} resources of ${grouped(SHARES)} shares listed`, "ms"),
  exact("resources.lists", `lists sent for a change in one of ${RESOURCES.at(-1)} resources`, 1),
  ours("list.long", `a change of ${grouped(LONG_LIST)} devices → their list at the client`, "ms"),
  ours("functions.start", `exec → ${grouped(FUNCTIONS)} VFs listed`, "ms"),
  exact(
    "functions.devices",
    `devices of ${grouped(FUNCTIONS)} VFs and their adapters`,
    FUNCTIONS + FUNCTIONS / PER_ADAPTER,
  ),
  ours("functions.allocate", `Allocate, 8 of ${grouped(FUNCTIONS)} VFs, p50`, "µs"),
  ours("functions.change", `a port down among ${grouped(FUNCTIONS)} VFs → list at the kubelet`, "ms"),
  ours("functions.files", `most files open at a time, ${grouped(FUNCTIONS)} VFs`, "count"),
  ours("functions.anonymous", `memory with ${grouped(FUNCTIONS)} VFs, anonymous`, "MiB"),
  ours("bundle.bytes", "the program", "bytes"),
  ours("runtime.bytes", "the runtime", "bytes"),
  ours("image.bytes", "the image's files", "bytes"),
];

const BY_ID: ReadonlyMap<string, Quantity> = new Map(QUANTITIES.map((one) => [one.id, one]));

/** @throws RangeError when there is no such figure */
export function quantity(id: string): Quantity {
  const found = BY_ID.get(id);
  if (found === undefined) throw new RangeError(`Cannot measure ${id}: the catalogue has no such figure`);
  return found;
}

function plural(n: number, noun: string): string {
  return `${grouped(n)} ${noun}${n === 1 ? "" : "s"}`;
}

function grouped(n: number): string {
  return n.toLocaleString("en-US");
}

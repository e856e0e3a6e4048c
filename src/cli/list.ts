/**
 * `list`: prints the HCAs of the machine with their resources, or the reason why they have none.
 *
 * @module
 */
import { writeSync } from "node:fs";
import { resolve } from "node:path";
import process from "node:process";
import { formatMistakes } from "../config/mistakes.ts";
import { isHidden } from "../doctor/rights.ts";
import type { Hca, Port } from "../hca/types.ts";
import { type PodsAnswer, podsByDevice } from "../kubelet/pod_resources.ts";
import { trigger } from "../hca/events/trigger.ts";
import { pollOf } from "../agent/port_poll.ts";
import { RescanLoop } from "../agent/rescan_loop.ts";
import { counted } from "../text/counted.ts";
import { print } from "../text/print.ts";
import { type Painter, painter, table, wrap } from "../text/table.ts";
import { devices, membersOf } from "../pool/devices.ts";
import { isRaisedInPod, policyFor } from "../pool/health.ts";
import type { Values } from "./flags.ts";
import { wanted } from "./machine.ts";
import { eventSources } from "./sources.ts";
import type { Inventory } from "../agent/inventory.ts";
import { type RuleCounters, ruleNotes } from "../agent/rule_counters.ts";
import { claimsModule, Inspector } from "./inspector.ts";

/** ResourceClaims by the name of an HCA that they have. */
type ClaimsByHca = ReadonlyMap<string, readonly string[]>;

/** Where no resource has error rules. */
const NO_COUNTERS: RuleCounters = { found: [], missing: [], skipped: [] };

/** Width of the narrowest supported terminal. */
const COLUMNS = 80;

/** Replaces the name of a resource that is too long for the last column. */
const SEE_BELOW = "see below";

const HEADER = ["HCA", "PCI", "DRIVER", "KIND", "LINK", "NUMA", "RESOURCE"];

/** Prints once, or with `--watch` after every change until SIGINT. */
export async function listCommand(values: Values): Promise<number> {
  const { specs, rescanMs, warnings } = await wanted(values);
  for (const warning of warnings) writeSync(2, `${formatMistakes([warning])}\n`);
  const sysfs = resolve(values["sysfs-root"]);
  if (isHidden(sysfs)) {
    writeSync(
      2,
      `Deno's permissions do not allow access to ${sysfs}; the image needs --sysfs-root=/host/sys\n`,
    );
  }
  using inspector = new Inspector(values, specs, await claimsModule(values, specs));
  const show = async (inventory: Inventory) => {
    const pods = values["pod-resources"] ? await podsByDevice(resolve(values["pod-resources-socket"])) : null;
    const counters = await inspector.errorCounters(inventory);
    const claims = inspector.claimsOn(inventory.snapshot);
    return print(
      values.json
        ? `${JSON.stringify(asJson(inventory, pods, claims, counters))}\n`
        : asText(inventory, pods, painter(process.stdout, process.env), claims, counters),
    );
  };
  if (!values.watch) {
    await show(await inspector.scan("full"));
    return 0;
  }
  await watch(inspector, values, rescanMs, show);
  return 0;
}

async function watch(
  inspector: Inspector,
  values: Values,
  rescanMs: number,
  show: (inventory: Inventory) => Promise<boolean>,
): Promise<void> {
  const stop = new AbortController();
  const stopped = new Promise<void>((done) => stop.signal.addEventListener("abort", () => done(), { once: true }));
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
  let last: unknown = null;
  let printing: Promise<void> = Promise.resolve();
  const say = (sentence: string) => void writeSync(2, `${sentence}\n`);
  const sources = eventSources(values.events, say);
  const rescans = new RescanLoop({
    discovery: inspector.discovery,
    rescanMs,
    poll: pollOf(inspector.discovery, sources, resolve(values["sysfs-root"])),
    onScan: ({ snapshot }) => {
      if (snapshot === last) return;
      last = snapshot;
      printing = printing.then(async () => {
        if (!values.json) print(process.stdout.isTTY ? "\u001b[2J\u001b[H" : `\n${new Date().toISOString()}\n`);
        if (!await show(inspector.of(snapshot))) stop.abort(); // the reader closed the pipe
      });
    },
  });
  const running = sources.map((source) =>
    source.run((one) => rescans.trigger(one), stop.signal).catch((error: unknown) => say((error as Error).message))
  );
  rescans.trigger(trigger("start", "start", { depth: "full" }));
  await stopped;
  await Promise.all([rescans.close(), printing, ...running]);
}

/** One line per HCA, followed by its ports, net devices, reasons and holders. At most 80 columns. */
export function asText(
  inventory: Inventory,
  pods: PodsAnswer | null,
  paint: Painter,
  claims: ClaimsByHca = new Map(),
  counters: RuleCounters = NO_COUNTERS,
): string {
  const { snapshot } = inventory;
  const all = [...snapshot.hcas, ...snapshot.inPodNetns];
  const rows = all.map((hca) => [
    hca.name,
    hca.pci?.address ?? "-",
    hca.pci?.driver ?? "-",
    hca.kind === "vf" ? `vf ${hca.pci?.vfIndex ?? "?"}` : hca.kind === "sf" ? `sf ${hca.sfNumber ?? "?"}` : hca.kind,
    transportsOf(hca),
    `${hca.pci?.numaNode ?? "-"}`,
    offeredAs(inventory, hca),
  ]);
  // Names of HCAs can have 63 characters, and resource names more: a long name gets its own line.
  const widthOf = (cells: readonly (readonly string[])[]) =>
    Math.max(...table(HEADER, cells).map((line) => line.length));
  const others = widthOf(rows.map((row) => ["", ...row.slice(1, 6), SEE_BELOW])) - HEADER[0]!.length;
  for (const row of rows) if (others + row[0]!.length > COLUMNS) row[0] = "";
  const room = COLUMNS - widthOf(rows.map((row) => [...row.slice(0, 6), SEE_BELOW])) + SEE_BELOW.length;
  for (const row of rows) if (row[6]!.length > room) row[6] = SEE_BELOW;
  const style = (row: number, column: number, cell: string) => {
    if (row < 0) return paint("bold", cell);
    if (column !== 6) return cell;
    return paint(cell === "none" ? "dim" : cell.includes("(Unhealthy)") ? "red" : "green", cell);
  };
  const [header = "", ...lines] = table(HEADER, rows, style);
  const out: string[] = rows.length > 0 ? [header] : ["no HCAs on this machine"];
  all.forEach((hca, i) => {
    if (rows[i]![0] === "") out.push(hca.name);
    out.push(lines[i]!);
    if (rows[i]![6] === SEE_BELOW) out.push(...wrap(`in ${offeredAs(inventory, hca)}`, COLUMNS, "  "));
    for (const port of hca.ports) {
      const words = describePort(hca, port);
      out.push(`  ${paint(port.state === "ACTIVE" ? "green" : "red", words)}`);
    }
    const notes = [...notesOn(inventory, hca, pods, claims), ...ruleNotes(counters, hca.name)];
    for (const note of notes) out.push(...wrap(note, COLUMNS, "  "));
  });
  for (const poolState of inventory.states.values()) {
    const list = devices(poolState);
    const healthy = list.filter((one) => one.healthy).length;
    out.push("", `${poolState.spec.name}: ${counted(list.length, "device")}, ${healthy} healthy`);
  }
  const notes = [
    ...snapshot.notes,
    ...snapshot.unreadable.map((one) => `${one.name} cannot be read: ${one.reason}`),
  ];
  if (pods?.ok === false) notes.push(`the pods that hold the devices are not known: ${pods.reason}`);
  if (notes.length > 0) out.push("");
  for (const note of notes) out.push(...wrap(`note: ${note}`, COLUMNS, ""));
  return `${out.join("\n")}\n`;
}

/** "RoCE", or "IB+RoCE" for an adapter whose ports differ. */
function transportsOf(hca: Hca): string {
  const known = new Set(hca.ports.map((port) => port.transport).filter((one) => one !== "unknown"));
  return known.size > 0 ? [...known].join("+") : hca.transport === "unknown" ? "?" : hca.transport;
}

function describePort(hca: Hca, port: Port): string {
  const physical = port.state === "ACTIVE" || port.physState === null ? "" : ` (${port.physState})`;
  const rate = port.rateGbps === null ? "" : `, ${port.rateGbps} Gb/s`;
  const layer = port.linkLayer === "unknown" ? "" : `, ${port.linkLayer}`;
  const nodes = [port.number === hca.ports[0]?.number ? hca.uverbs?.name : null, port.umad, port.issm].filter(Boolean);
  return `port ${port.number} ${port.state}${physical}${layer}${rate}${nodes.length > 0 ? `, ${nodes.join(" ")}` : ""}`;
}

function notesOn(inventory: Inventory, hca: Hca, pods: PodsAnswer | null, claims: ClaimsByHca): string[] {
  const notes: string[] = [];
  if (hca.netdevs.length > 0) notes.push(`net: ${hca.netdevs.join(" ")}`);
  if (hca.pci?.physfn) notes.push(`PF: ${[hca.pci.physfn, ...hca.pci.pfNetdevs].join(" ")}`);
  if ((hca.pci?.sriovNumVfs ?? 0) > 0 && hca.kind === "pf") notes.push(`VFs: ${hca.pci!.sriovNumVfs}`);
  if (inventory.snapshot.inPodNetns.includes(hca)) notes.push("it is in a pod's RDMA net namespace");
  if (hca.ports.some((port) => port.netdevAway)) {
    notes.push("its net device is not in this network namespace: a pod has it and controls the port's state");
  }
  for (const { reason, healthy, policy } of resourcesOf(inventory, hca)) {
    if (reason !== "") notes.push(`Unhealthy: ${reason}`);
    else if (healthy && policy === "present" && hca.ports.length > 0 && hca.ports.every(isDown)) {
      const why = isRaisedInPod(hca) ? "its link is set up inside the pod that gets it" : "as its resource says";
      notes.push(`Healthy while it is present (${why})`);
    }
  }
  for (const one of inventory.leftOut.filter((one) => one.hca === hca.name)) {
    notes.push(`not in ${one.resource}: ${one.reason}`);
  }
  for (const holder of holdersOf(inventory, hca, pods)) notes.push(`held by ${holder}`);
  for (const claim of claims.get(hca.name) ?? []) notes.push(`held by claim ${claim}`);
  return [...notes, ...hca.notes];
}

function isDown(port: Port): boolean {
  return port.state !== "ACTIVE";
}

function offeredAs(inventory: Inventory, hca: Hca): string {
  const all = resourcesOf(inventory, hca).map((one) => `${one.resource}${one.healthy ? "" : " (Unhealthy)"}`);
  return all.join(", ") || "none";
}

function resourcesOf(inventory: Inventory, hca: Hca) {
  return [...inventory.states].flatMap(([resource, { spec, deviceStates }]) =>
    [...deviceStates.values()].filter((one) => one.member.hcas.includes(hca))
      .map(({ healthy, code, reason, member }) => ({
        resource,
        device: member.id,
        healthy,
        policy: policyFor(hca, spec.health),
        code,
        reason,
      }))
  );
}

/** "namespace/pod (container): resource device" for every device on the HCA that a pod holds. */
function holdersOf(inventory: Inventory, hca: Hca, pods: PodsAnswer | null): string[] {
  if (pods?.ok !== true) return [];
  return [...inventory.states].flatMap(([resource, poolState]) =>
    [...pods.holders.get(resource) ?? []].flatMap(([device, holders]) => {
      const on = membersOf(poolState, device)?.some((one) => one.member.hcas.includes(hca)) ?? false;
      return on ? holders.map((one) => `${one.namespace}/${one.pod} (${one.container}): ${resource} ${device}`) : [];
    })
  );
}

/** The same for scripts: every field of {@link Hca} under its own name, with its resources. */
export function asJson(
  inventory: Inventory,
  pods: PodsAnswer | null,
  claims: ClaimsByHca = new Map(),
  counters: RuleCounters = NO_COUNTERS,
) {
  const { snapshot, states, leftOut } = inventory;
  const describe = (hca: Hca) => ({
    ...hca,
    resources: resourcesOf(inventory, hca),
    leftOut: leftOut.filter((one) => one.hca === hca.name).map(({ hca: _, ...rest }) => rest),
    pods: holdersOf(inventory, hca, pods),
    claims: claims.get(hca.name) ?? [],
    errors: counters.found.filter((one) => one.hca === hca.name).map(({ port, rule, value, full }) => ({
      ...rule,
      port,
      value: Number(value),
      full,
    })),
  });
  return {
    hcas: snapshot.hcas.map(describe),
    inPodNetns: snapshot.inPodNetns.map(describe),
    resources: [...states.values()].map((poolState) => ({ name: poolState.spec.name, devices: devices(poolState) })),
    netnsMode: snapshot.netnsMode,
    rdmaCm: snapshot.rdmaCm,
    knem: snapshot.knem,
    verbs: snapshot.verbs,
    unreadable: snapshot.unreadable,
    notes: snapshot.notes,
  };
}

/**
 * `list`: the HCAs of the machine, and which resource each is in, or why none.
 *
 * @module
 */
import { writeSync } from "node:fs";
import { resolve } from "node:path";
import process from "node:process";
import { isHidden } from "../doctor/rights.ts";
import type { Hca, Port } from "../hca/types.ts";
import { type PodsAnswer, podsByDevice } from "../kubelet/pod_resources.ts";
import { Looks } from "../agent/rescan_loop.ts";
import { print } from "../text/print.ts";
import { type Painter, painter, table, wrap } from "../text/table.ts";
import { behind, devices } from "../pool/devices.ts";
import type { Values } from "./flags.ts";
import { wanted } from "./machine.ts";
import { eventSources } from "./sources.ts";
import { type Survey, Surveyor } from "../agent/inventory.ts";

/** What the narrowest terminal has. */
const COLUMNS = 80;

/** Stands for the name of a resource that is too long for the last column. */
const SEE_BELOW = "see below";

const HEADER = ["HCA", "PCI", "DRIVER", "KIND", "LINK", "NUMA", "RESOURCE"];

/** Prints once, or with `--watch` after every change until SIGINT. */
export async function listCommand(values: Values): Promise<number> {
  const { specs, rescanMs, warnings } = await wanted(values);
  for (const warning of warnings) writeSync(2, `${warning}\n`);
  const sysfs = resolve(values["sysfs-root"]);
  if (isHidden(sysfs)) {
    writeSync(
      2,
      `Deno's permissions hide ${sysfs}, so nothing can be seen there; the image needs --sysfs-root=/host/sys\n`,
    );
  }
  using surveyor = new Surveyor(values, specs);
  const show = async (survey: Survey) => {
    const pods = values["pod-resources"] ? await podsByDevice(resolve(values["pod-resources-socket"])) : null;
    return print(
      values.json
        ? `${JSON.stringify(asJson(survey, pods))}\n`
        : asText(survey, pods, painter(process.stdout, process.env)),
    );
  };
  if (!values.watch) {
    await show(await surveyor.look("full"));
    return 0;
  }
  await watch(surveyor, values, rescanMs, show);
  return 0;
}

async function watch(
  surveyor: Surveyor,
  values: Values,
  rescanMs: number,
  show: (survey: Survey) => Promise<boolean>,
): Promise<void> {
  const stop = new AbortController();
  const stopped = new Promise<void>((done) => stop.signal.addEventListener("abort", () => done(), { once: true }));
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
  let last: unknown = null;
  let printing: Promise<void> = Promise.resolve();
  const looks = new Looks({
    discovery: surveyor.discovery,
    rescanMs,
    onLook: ({ snapshot }) => {
      if (snapshot === last) return;
      last = snapshot;
      printing = printing.then(async () => {
        if (!values.json) print(process.stdout.isTTY ? "\u001b[2J\u001b[H" : `\n${new Date().toISOString()}\n`);
        if (!await show(surveyor.of(snapshot))) stop.abort(); // nobody reads any more
      });
    },
  });
  const say = (sentence: string) => void writeSync(2, `${sentence}\n`);
  const running = eventSources(values.events, say).map((source) =>
    source.run((one) => looks.trigger(one), stop.signal).catch((error: unknown) => say((error as Error).message))
  );
  looks.trigger({ source: "start", depth: "full", detail: "start", at: performance.now() });
  await stopped;
  await Promise.all([looks.close(), printing, ...running]);
}

/** A line an HCA, and below it its ports, its net devices, why it is left out, and who holds it. At most 80 columns. */
export function asText(survey: Survey, pods: PodsAnswer | null, paint: Painter): string {
  const { snapshot } = survey;
  const all = [...snapshot.hcas, ...snapshot.moved];
  const rows = all.map((hca) => [
    hca.name,
    hca.pci?.address ?? "-",
    hca.pci?.driver ?? "-",
    hca.kind === "vf" ? `vf ${hca.pci?.vfIndex ?? "?"}` : hca.kind === "sf" ? `sf ${hca.sfNumber ?? "?"}` : hca.kind,
    hca.transport === "unknown" ? "?" : hca.transport,
    `${hca.pci?.numaNode ?? "-"}`,
    offeredAs(survey, hca),
  ]);
  // Names of HCAs may have 63 characters, and those of resources more: a long one goes on a line of its own.
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
    if (rows[i]![6] === SEE_BELOW) out.push(...wrap(`in ${offeredAs(survey, hca)}`, COLUMNS, "  "));
    for (const port of hca.ports) {
      const words = describePort(hca, port);
      out.push(`  ${paint(port.state === "ACTIVE" ? "green" : "red", words)}`);
    }
    for (const note of notesOn(survey, hca, pods)) out.push(...wrap(note, COLUMNS, "  "));
  });
  for (const account of survey.ledger.values()) {
    const list = devices(account);
    const healthy = list.filter((one) => one.healthy).length;
    out.push("", `${account.spec.name}: ${list.length} device${list.length === 1 ? "" : "s"}, ${healthy} healthy`);
  }
  const remarks = [
    ...snapshot.remarks,
    ...snapshot.unreadable.map((one) => `${one.name} cannot be read: ${one.reason}`),
  ];
  if (pods?.ok === false) remarks.push(`which pods hold the devices is not known: ${pods.reason}`);
  if (remarks.length > 0) out.push("");
  for (const remark of remarks) out.push(...wrap(`note: ${remark}`, COLUMNS, ""));
  return `${out.join("\n")}\n`;
}

function describePort(hca: Hca, port: Port): string {
  const physical = port.state === "ACTIVE" || port.physState === null ? "" : ` (${port.physState})`;
  const rate = port.rateGbps === null ? "" : `, ${port.rateGbps} Gb/s`;
  const layer = port.linkLayer === "unknown" ? "" : `, ${port.linkLayer}`;
  const nodes = [port.number === hca.ports[0]?.number ? hca.uverbs?.name : null, port.umad, port.issm].filter(Boolean);
  return `port ${port.number} ${port.state}${physical}${layer}${rate}${nodes.length > 0 ? `, ${nodes.join(" ")}` : ""}`;
}

function notesOn(survey: Survey, hca: Hca, pods: PodsAnswer | null): string[] {
  const notes: string[] = [];
  if (hca.netdevs.length > 0) notes.push(`net: ${hca.netdevs.join(" ")}`);
  if (hca.pci?.physfn) notes.push(`PF: ${[hca.pci.physfn, ...hca.pci.pfNetdevs].join(" ")}`);
  if ((hca.pci?.sriovNumVfs ?? 0) > 0 && hca.kind === "pf") notes.push(`VFs: ${hca.pci!.sriovNumVfs}`);
  if (survey.snapshot.moved.includes(hca)) notes.push("it is in a pod's RDMA net namespace");
  for (const { cause } of resourcesOf(survey, hca)) if (cause !== "") notes.push(`Unhealthy: ${cause}`);
  for (const one of survey.leftOut.filter((one) => one.hca === hca.name)) {
    notes.push(`not in ${one.resource}: ${one.reason}`);
  }
  for (const holder of holdersOf(survey, hca, pods)) notes.push(`held by ${holder}`);
  return [...notes, ...hca.remarks];
}

function offeredAs(survey: Survey, hca: Hca): string {
  const all = resourcesOf(survey, hca).map((one) => `${one.resource}${one.healthy ? "" : " (Unhealthy)"}`);
  return all.join(", ") || "none";
}

function resourcesOf(survey: Survey, hca: Hca) {
  return [...survey.ledger].flatMap(([resource, { standings }]) =>
    [...standings.values()].filter((one) => one.member.hcas.includes(hca))
      .map(({ healthy, cause, member }) => ({ resource, device: member.id, healthy, cause }))
  );
}

/** "namespace/pod (container): resource device" for every device on the HCA that a pod holds. */
function holdersOf(survey: Survey, hca: Hca, pods: PodsAnswer | null): string[] {
  if (pods?.ok !== true) return [];
  return [...survey.ledger].flatMap(([resource, account]) =>
    [...pods.holders.get(resource) ?? []].flatMap(([device, holders]) => {
      const on = behind(account, device)?.some((one) => one.member.hcas.includes(hca)) ?? false;
      return on ? holders.map((one) => `${one.namespace}/${one.pod} (${one.container}): ${resource} ${device}`) : [];
    })
  );
}

/** The same for scripts: every field of {@link Hca} under its own name, and what became of it. */
export function asJson(survey: Survey, pods: PodsAnswer | null) {
  const { snapshot, ledger, leftOut } = survey;
  const describe = (hca: Hca) => ({
    ...hca,
    resources: resourcesOf(survey, hca),
    leftOut: leftOut.filter((one) => one.hca === hca.name).map(({ resource, reason }) => ({ resource, reason })),
    pods: holdersOf(survey, hca, pods),
  });
  return {
    hcas: snapshot.hcas.map(describe),
    moved: snapshot.moved.map(describe),
    resources: [...ledger.values()].map((account) => ({ name: account.spec.name, devices: devices(account) })),
    netnsMode: snapshot.netnsMode,
    rdmaCm: snapshot.rdmaCm,
    knem: snapshot.knem,
    verbs: snapshot.verbs,
    unreadable: snapshot.unreadable,
    remarks: snapshot.remarks,
  };
}

/**
 * Labels of a node: what kind of RDMA it has, and how much of it. Few, and always the same for the same machine. Pure.
 *
 * @module
 */
import type { Inventory } from "../agent/inventory.ts";
import type { Hca } from "../hca/types.ts";
import { carriesRdma } from "../pool/match.ts";
import { natural } from "../text/natural.ts";
import { keyOf } from "./view.ts";

export type Labels = Readonly<Record<string, string>>;

/** Everything below it is this project's. */
export const LABEL_PREFIX = "rdma.tencent.com/";

const LONGEST_VALUE = 63;

/**
 * Of the adapters that are in a resource; none on a node without such an adapter.
 *
 * @param flapping keys of devices that flap: their ports do not count as active
 */
export function labelsOf({ states, snapshot }: Inventory, flapping: ReadonlySet<string> = new Set()): Labels {
  const members = [...states].flatMap(([resource, { deviceStates }]) =>
    [...deviceStates].filter(([, one]) => one.present).map(([id, { member }]) => (
      { hcas: member.hcas, flaps: flapping.has(keyOf(resource, id)) }
    ))
  );
  const hcas = new Map(members.flatMap((one) => one.hcas.map((hca) => [hca.name, hca] as const)));
  if (hcas.size === 0) return {};
  const unsteady = new Set(members.filter((one) => one.flaps).flatMap((one) => one.hcas.map((hca) => hca.name)));
  const all = [...hcas.values()];
  const ports = all.flatMap((hca) => hca.ports.filter(carriesRdma).map((port) => ({ hca, port })));
  const active = ports.filter(({ hca, port }) => port.state === "ACTIVE" && !unsteady.has(hca.name));
  const rates = ports.flatMap(({ port }) => port.upRateGbps ?? port.rateGbps ?? []);
  const found: (readonly [string, string | null])[] = [
    ["hcas", String(hcas.size)],
    ["ports", String(ports.length)],
    ["ports-active", String(active.length)],
    ["rate-gbps", rates.length === 0 ? null : labelValue(String(Math.max(...rates)))],
    ["firmware", firmwareOf(all)],
    ["netns-mode", snapshot.netnsMode === "unknown" ? null : snapshot.netnsMode],
    ...flags("link-layer", ports.map(({ port }) => port.linkLayer)),
    ...flags("transport", ports.map(({ port }) => port.transport)),
    ...flags("vendor", all.map((hca) => hca.pci?.vendor ?? null)),
  ];
  return Object.fromEntries(
    found.flatMap(([key, value]) => value === null ? [] : [[`${LABEL_PREFIX}${key}`, value] as const]).sort((a, b) =>
      a[0] < b[0] ? -1 : 1
    ),
  );
}

/** One label for each value, so that a node may have several and a nodeSelector asks for one. */
function flags(what: string, values: readonly (string | null)[]): readonly (readonly [string, string])[] {
  const known = values.flatMap((one) => one === null || one === "unknown" ? [] : labelValue(one.toLowerCase()) ?? []);
  return [...new Set(known)].map((one) => [`${what}.${one}`, "true"] as const);
}

/** "28.39", the family of 28.39.1002; several families joined by "_". */
function firmwareOf(hcas: readonly Hca[]): string | null {
  const families = hcas.flatMap(({ firmware }) => {
    if (firmware === null) return [];
    return labelValue(/^\d+\.\d+/.exec(firmware)?.[0] ?? firmware) ?? [];
  });
  const all = [...new Set(families)].sort(natural).join("_");
  return all === "" ? null : all.length > LONGEST_VALUE ? "mixed" : all;
}

/**
 * Makes a valid label value of whatever the machine has: at most 63 letters, digits, "-", "_" and ".", with a letter or
 * digit at both ends (apimachinery `validation.IsValidLabelValue`).
 *
 * @returns null when nothing is left
 */
export function labelValue(text: string): string | null {
  const value = text.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "").slice(0, LONGEST_VALUE)
    .replace(/[^A-Za-z0-9]+$/, "");
  return value === "" ? null : value;
}

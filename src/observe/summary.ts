/**
 * The summary that is logged at start-up: HCAs and resources.
 *
 * @module
 */
import type { Inventory } from "../agent/inventory.ts";
import type { Hca } from "../hca/types.ts";
import { devices } from "../pool/devices.ts";

/** Several lines; the first is a sentence. */
export function summary(inventory: Inventory): string {
  const { snapshot, states, leftOut } = inventory;
  const lines = [`found ${count(snapshot.hcas.length, "HCA")}`];
  for (const hca of snapshot.hcas) {
    const out = leftOut.filter((one) => one.hca === hca.name);
    const inResources = [...states].filter(([, { deviceStates }]) =>
      [...deviceStates.values()].some(({ member }) => member.hcas.includes(hca))
    ).map(([name]) => name);
    const where = inResources.length > 0
      ? inResources.join(", ")
      : out.map((one) => `left out: ${one.reason}`).join("; ");
    lines.push(`${describeHca(hca)} → ${where || "in no resource"}`);
  }
  for (const [name, poolState] of states) {
    const all = devices(poolState);
    const healthy = all.filter((one) => one.healthy).length;
    lines.push(`${name}: ${count(all.length, "device")}, ${healthy} healthy`);
    for (const { member, healthy, reason } of poolState.deviceStates.values()) {
      if (!healthy) lines.push(`  ${member.id} is Unhealthy: ${reason}`);
    }
  }
  for (const note of [...snapshot.notes, ...sharedNotes(snapshot.hcas)]) lines.push(`note: ${note}`);
  for (const { name, reason } of snapshot.unreadable) lines.push(`note: ${name} could not be read: ${reason}`);
  return lines.join("\n");
}

/** "mlx5_0 (0000:3b:00.0, mlx5_core, RoCE, NUMA 0, eth0): port 1 ACTIVE 100 Gb/s". */
export function describeHca(hca: Hca): string {
  const facts = [
    hca.pci?.address ?? "no PCI device",
    hca.pci?.driver,
    hca.kind === "pf" ? null : hca.kind.toUpperCase(),
    hca.transport === "unknown" ? null : hca.transport,
    typeof hca.pci?.numaNode === "number" ? `NUMA ${hca.pci.numaNode}` : null,
    ...hca.netdevs,
  ].filter((fact) => typeof fact === "string");
  const ports = hca.ports.map((port) =>
    `port ${port.number} ${port.state}${port.rateGbps === null ? "" : ` ${port.rateGbps} Gb/s`}`
  );
  return `${hca.name} (${facts.join(", ")}): ${ports.join(", ") || "no ports"}`;
}

/** Notes on HCAs, one line for all HCAs with the same note. */
function sharedNotes(hcas: readonly Hca[]): string[] {
  const all = hcas.flatMap((hca) => hca.notes.map((text) => ({ name: hca.name, text })));
  if (all.length <= 2) return all.map((one) => one.text);
  return [
    `${all[0]!.text} (and ${all.length - 1} more HCAs with notes: ${all.slice(1).map((one) => one.name).join(", ")})`,
  ];
}

function count(n: number, what: string): string {
  return `${n === 0 ? "no" : n} ${what}${n === 1 ? "" : "s"}`;
}

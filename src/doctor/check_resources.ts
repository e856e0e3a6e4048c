/**
 * Checks of what is offered: is it healthy, is there any of it, and can pods use it in this net namespace mode.
 *
 * @module
 */
import { lackingClass } from "../hca/class_nodes.ts";
import { netnsNotes } from "../pool/netns.ts";
import type { Facts } from "./facts.ts";
import { count, type Finding, ok, problem, warning } from "./finding.ts";
import { remedyFor } from "./remedies.ts";

export function health({ inventory, links }: Facts): Finding[] {
  const bad = unhealthy(inventory);
  // Missing nodes are findings of their own.
  const ports = bad.filter(({ one }) => !one.lacksNode && one.member.hcas.every((hca) => hca.uverbs?.present));
  const findings = ports.map(({ spec, one }) => {
    const fixes = [...new Set(one.member.hcas.map((hca) => remedyFor(spec, hca, links)))];
    return warning(
      "hca-unhealthy",
      `${one.member.id} of ${spec.name} is Unhealthy: ${one.reason}`,
      "no new pod gets it until that is fixed; running ones keep it, and it recovers by itself",
      fixes.join("; "),
    );
  });
  const total = [...inventory.states.values()].reduce((sum, { deviceStates }) => sum + deviceStates.size, 0);
  if (findings.length > 0 || bad.length > 0 || total === 0) return findings;
  return [ok("hca-unhealthy", total === 1 ? "the one that is offered is healthy" : `all ${total} are healthy`)];
}

/** What containers need besides the nodes of verbs and the host lacks, once a resource and node. */
export function extraNodes({ inventory, devRoot, refused }: Facts): Finding[] {
  if (refused.includes(devRoot)) return [];
  const byReason = new Map<string, string[]>();
  for (const { spec, one } of unhealthy(inventory).filter(({ one }) => one.lacksNode)) {
    const key = `${spec.name}: ${one.reason}`;
    byReason.set(key, [...byReason.get(key) ?? [], one.member.id]);
  }
  const missing = [...byReason].map(([what, ids]) =>
    problem(
      "extra-node",
      `${what}; ${ids.join(", ")} ${ids.length === 1 ? "is" : "are"} Unhealthy`,
      "a container that is given a node which the host does not have cannot start, so no pod gets it",
      what.includes("expose.devices")
        ? "correct or remove it in expose.devices, say optional: true there, or load what makes the node"
        : "see whether udev runs on the host (udevadm trigger); in a container mount the host's /dev (--dev-root)",
    )
  );
  const offered = new Set(
    [...inventory.states.values()].filter(({ spec }) => spec.expose.companions)
      .flatMap(({ deviceStates }) => [...deviceStates.values()].flatMap((one) => one.member.hcas)),
  );
  const lacking = [...offered].flatMap((hca) => {
    const kind = lackingClass(hca);
    return kind === null ? [] : [warning(
      "extra-node",
      `${hca.name}'s driver ${hca.pci?.driver} has registered no device of class ${kind} on its PCI function`,
      "verbs work; the adapter's own library (PSM2, libcxi) finds no device in pods",
      kind === "cxi_user" ? "modprobe cxi_user" : "see dmesg for the driver; what it needs may be loaded later",
    )];
  });
  return [...missing, ...lacking];
}

function unhealthy({ states }: Facts["inventory"]) {
  return [...states.values()].flatMap(({ spec, deviceStates }) =>
    [...deviceStates.values()].filter((one) => !one.healthy).map((one) => ({ spec, one }))
  );
}

export function resources(facts: Facts): Finding[] {
  const { inventory } = facts;
  if (inventory.snapshot.hcas.length === 0) return [];
  return [...inventory.states.values()].flatMap(({ spec, deviceStates }) => {
    if (deviceStates.size > 0) return [ok("selects-nothing", `${spec.name} has ${count(deviceStates.size, "HCA")}`)];
    const missing = withoutFunctions(facts, spec.name);
    if (missing.length > 0) return missing;
    const reasons = inventory.leftOut.filter((one) => one.resource === spec.name).map((one) =>
      `${one.hca}: ${one.reason}`
    );
    return [problem(
      "selects-nothing",
      `${spec.name} selects no HCA (${reasons.join("; ")})`,
      "the node offers none of it, and pods that ask for it stay pending",
      "fix the selector in the configuration; list shows what can be selected by",
    )];
  });
}

/** Physical functions that the resource names and that have no virtual functions, or are not what it takes them for. */
function withoutFunctions({ functions }: Facts, resource: string): Finding[] {
  const reason = "the node offers none of it, and pods that ask for it stay pending";
  return functions.filter((one) => one.resource === resource && !one.vfs).map((one) =>
    one.instead === null
      ? problem(
        "no-vfs",
        `${resource} wants the virtual functions of ${one.name}, which has none (${one.most} are possible)`,
        reason,
        `echo 4 > ${one.file}; a script or unit at boot must do so again`,
      )
      : problem(
        "no-vfs",
        `${resource} wants the virtual functions of ${one.name}: ${one.instead}`,
        reason,
        "name the physical function's own interface; SR-IOV may have to be enabled in the firmware and the BIOS",
      )
  );
}

export function netns({ inventory }: Facts): Finding[] {
  const { netnsMode, hcas } = inventory.snapshot;
  if (hcas.length === 0) return [];
  const notes = netnsNotes(inventory.specs, netnsMode);
  const told = netnsMode === "unknown" ? "not told, shared by default" : netnsMode;
  if (notes.length === 0) return [ok("netns-mode", `RDMA net namespace mode: ${told}`)];
  return notes.map(({ broken, what, reason, fix }) => (broken ? problem : warning)("netns-mode", what, reason, fix));
}

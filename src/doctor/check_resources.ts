/**
 * Checks of the resources: whether they have healthy devices, and whether pods can use them in this network namespace
 * mode.
 *
 * @module
 */
import { counted } from "../text/counted.ts";
import { lackingClass } from "../hca/class_nodes.ts";
import { netnsNotes } from "../pool/netns.ts";
import type { Facts } from "./facts.ts";
import { type Finding, ok, problem, warning } from "./finding.ts";
import { remedyFor } from "./remedies.ts";

export function health({ inventory, links }: Facts): Finding[] {
  const bad = unhealthy(inventory);
  // Missing nodes are separate findings, and a claim is no fault of its device.
  const ports = bad.filter(({ one }) =>
    one.code !== "node-missing" && one.code !== "claimed" && one.member.hcas.every((hca) => hca.uverbs?.present)
  );
  const findings = ports.map(({ spec, one }) => {
    const fixes = [...new Set(one.member.hcas.map((hca) => remedyFor(spec, hca, links)))];
    return warning(
      "hca-unhealthy",
      `${one.member.id} of ${spec.name} is Unhealthy: ${one.reason}`,
      "new pods do not get it until that is fixed; running pods keep it, and it recovers by itself",
      fixes.join("; "),
    );
  });
  const total = [...inventory.states.values()].reduce((sum, { deviceStates }) => sum + deviceStates.size, 0);
  if (findings.length > 0 || bad.length > 0 || total === 0) return findings;
  return [ok("hca-unhealthy", total === 1 ? "the only device is healthy" : `all ${total} are healthy`)];
}

/** Nodes besides verbs nodes that containers need and the host does not have, one finding per resource and node. */
export function extraNodes({ inventory, devRoot, refused }: Facts): Finding[] {
  if (refused.includes(devRoot)) return [];
  const byReason = new Map<string, string[]>();
  for (const { spec, one } of unhealthy(inventory).filter(({ one }) => one.code === "node-missing")) {
    const key = `${spec.name}: ${one.reason}`;
    byReason.set(key, [...byReason.get(key) ?? [], one.member.id]);
  }
  const missing = [...byReason].map(([what, ids]) =>
    problem(
      "extra-node",
      `${what}; ${ids.join(", ")} ${ids.length === 1 ? "is" : "are"} Unhealthy`,
      "a container cannot start with a node that the host does not have, so pods do not get the device",
      what.includes("expose.devices")
        ? "correct or remove it in expose.devices, set optional: true there, or load the driver that creates the node"
        : "check that udev runs on the host (udevadm trigger); in a container mount the host's /dev (--dev-root)",
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
      `${hca.name}'s driver ${hca.pci?.driver} has not registered a device of class ${kind} on its PCI function`,
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
    if (deviceStates.size > 0) return [ok("selects-nothing", `${spec.name} has ${counted(deviceStates.size, "HCA")}`)];
    const missing = withoutFunctions(facts, spec.name);
    if (missing.length > 0) return missing;
    const reasons = inventory.leftOut.filter((one) => one.resource === spec.name).map((one) =>
      `${one.hca}: ${one.reason}`
    );
    return [problem(
      "selects-nothing",
      `${spec.name} selects no HCA (${reasons.join("; ")})`,
      "the node offers no devices of it, and pods that request it stay pending",
      "fix the selector in the configuration; the list command shows the values to select by",
    )];
  });
}

/** Physical functions named by the resource that have no virtual functions, or are something else. */
function withoutFunctions({ functions }: Facts, resource: string): Finding[] {
  const reason = "the node offers no devices of it, and pods that request it stay pending";
  return functions.filter((one) => one.resource === resource && !one.vfs).map((one) =>
    one.instead === null
      ? problem(
        "no-vfs",
        `${resource} wants the virtual functions of ${one.name}, which has none (${one.most} are possible)`,
        reason,
        `echo 4 > ${one.file}; repeat it at boot with a script or unit`,
      )
      : problem(
        "no-vfs",
        `${resource} wants the virtual functions of ${one.name}: ${one.instead}`,
        reason,
        "use the interface of the physical function; SR-IOV may have to be enabled in the firmware and the BIOS",
      )
  );
}

export function netns({ inventory }: Facts): Finding[] {
  const { netnsMode, hcas } = inventory.snapshot;
  if (hcas.length === 0) return [];
  const notes = netnsNotes(inventory.specs, netnsMode);
  const mode = netnsMode === "unknown" ? "unknown, shared by default" : netnsMode;
  if (notes.length === 0) return [ok("netns-mode", `RDMA net namespace mode: ${mode}`)];
  return notes.map(({ verdict, what, reason, fix }) =>
    verdict === "hint"
      ? ok("netns-mode", `${what}: ${reason}; ${fix}`)
      : (verdict === "broken" ? problem : warning)("netns-mode", what, reason, fix)
  );
}

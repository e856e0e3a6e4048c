/**
 * Checks of what is offered: is it healthy, is there any of it, and can pods use it in this net namespace mode.
 *
 * @module
 */
import { netnsRemarks } from "../pool/netns.ts";
import type { Facts } from "./facts.ts";
import { count, type Finding, ok, problem, warning } from "./finding.ts";

export function health({ survey }: Facts): Finding[] {
  const bad = [...survey.ledger.values()].flatMap(({ spec, standings }) =>
    [...standings.values()].filter((one) => !one.healthy).map((one) => ({ spec, one }))
  );
  // A missing node is a finding of its own already.
  const ports = bad.filter(({ one }) => one.member.hcas.every((hca) => hca.uverbs?.present));
  const findings = ports.map(({ spec, one }) =>
    warning(
      "hca-unhealthy",
      `${one.member.id} of ${spec.name} is Unhealthy: ${one.cause}`,
      "no new pod gets it until that is mended; running ones keep it",
      "see to the cable, the switch port or the subnet manager (ibstat, rdma link, ip link); it recovers by itself",
    )
  );
  const total = [...survey.ledger.values()].reduce((sum, { standings }) => sum + standings.size, 0);
  if (findings.length > 0 || bad.length > 0 || total === 0) return findings;
  return [ok("hca-unhealthy", total === 1 ? "the one that is offered is healthy" : `all ${total} are healthy`)];
}

export function resources(facts: Facts): Finding[] {
  const { survey } = facts;
  if (survey.snapshot.hcas.length === 0) return [];
  return [...survey.ledger.values()].flatMap(({ spec, standings }) => {
    if (standings.size > 0) return [ok("selects-nothing", `${spec.name} has ${count(standings.size, "HCA")}`)];
    const missing = withoutFunctions(facts, spec.name);
    if (missing.length > 0) return missing;
    const reasons = survey.leftOut.filter((one) => one.resource === spec.name).map((one) =>
      `${one.hca}: ${one.reason}`
    );
    return [problem(
      "selects-nothing",
      `${spec.name} selects no HCA (${reasons.join("; ")})`,
      "the node offers none of it, and pods that ask for it stay pending",
      "mend the selector in the configuration; list shows what can be selected by",
    )];
  });
}

/** Physical functions that the resource names and that have no virtual functions, or are not what it takes them for. */
function withoutFunctions({ functions }: Facts, resource: string): Finding[] {
  const why = "the node offers none of it, and pods that ask for it stay pending";
  return functions.filter((one) => one.resource === resource && !one.vfs).map((one) =>
    one.instead === null
      ? problem(
        "no-vfs",
        `${resource} wants the virtual functions of ${one.name}, which has none (${one.most} are possible)`,
        why,
        `echo 4 > ${one.file}; a script or unit at boot must do so again`,
      )
      : problem(
        "no-vfs",
        `${resource} wants the virtual functions of ${one.name}: ${one.instead}`,
        why,
        "name the physical function's own interface; SR-IOV may have to be enabled in the firmware and the BIOS",
      )
  );
}

export function netns({ survey }: Facts): Finding[] {
  const { netnsMode, hcas } = survey.snapshot;
  if (hcas.length === 0) return [];
  const remarks = netnsRemarks(survey.specs, netnsMode);
  const told = netnsMode === "unknown" ? "not told, shared by default" : netnsMode;
  if (remarks.length === 0) return [ok("netns-mode", `RDMA net namespace mode: ${told}`)];
  return remarks.map(({ broken, what, why, mend }) => (broken ? problem : warning)("netns-mode", what, why, mend));
}

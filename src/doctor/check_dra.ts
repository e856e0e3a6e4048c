/**
 * Checks of dynamic resource allocation: access to the API server, permissions, feature gates, ResourceSlices,
 * DeviceClasses, and prepared claims.
 *
 * @module
 */
import { counted } from "../text/counted.ts";
import type { DraFacts } from "./dra_facts.ts";
import type { Facts } from "./facts.ts";
import { NO_RESOURCE_API } from "../kubernetes/resource_api.ts";
import { type Finding, ok, problem, warning } from "./finding.ts";

const DOES_NOTHING = "nothing is published, and pods with claims stay pending or in ContainerCreating";

/** The facts, if a resource has `api: dra`. */
function wanted({ dra }: Facts): DraFacts | null {
  return dra?.wanted ? dra : null;
}

export function api(facts: Facts): Finding[] {
  const dra = wanted(facts);
  if (dra === null) return [];
  const findings: Finding[] = [];
  if (!dra.registryThere) {
    findings.push(problem(
      "dra-api",
      `${dra.registryDir} does not exist`,
      `the kubelet finds DRA drivers there and nowhere else; ${DOES_NOTHING}`,
      "mount the kubelet's plugins_registry, or name it with --plugins-registry",
    ));
  }
  if (dra.server === null) {
    const fix =
      "run it in a pod with a service account (the component dra) with the permission set image-dra, or give --kube-api";
    return [...findings, problem("dra-api", "no API server is known", DOES_NOTHING, fix)];
  }
  if (dra.reason !== null) {
    findings.push(problem(
      "dra-api",
      dra.reason,
      `${DOES_NOTHING}; what is prepared goes on`,
      "check that the service account's token is mounted (elsewhere --kube-token-file and --kube-ca-file), NetworkPolicies, " +
        "and the permission set of the container (image-dra); a public address needs one of its own",
    ));
  }
  if (dra.tooOld) {
    const fix = "run Kubernetes 1.34 or newer, or offer the HCAs through the device plugin API (api: device-plugin)";
    findings.push(problem("dra-api", NO_RESOURCE_API, DOES_NOTHING, fix));
  }
  return findings.length > 0 ? findings : [ok("dra-api", `the API server ${dra.server} answers`)];
}

export function rights(facts: Facts): Finding[] {
  const dra = wanted(facts);
  if (dra === null || dra.server === null || dra.reason !== null) return [];
  if (dra.missing.length === 0) return [ok("dra-rights", "the service account has the rights that the driver needs")];
  return [problem(
    "dra-rights",
    `the service account may not: ${dra.missing.join(", ")}`,
    DOES_NOTHING,
    "apply the ClusterRole and its binding of deploy/kustomize/components/dra/rbac.yaml",
  )];
}

export function gates(facts: Facts): Finding[] {
  const dra = wanted(facts);
  if (dra === null || dra.gatesOff.length === 0) return [];
  return [warning(
    "dra-gates",
    `the API server drops fields of ResourceSlices: ${dra.gatesOff.join(", ")} off`,
    "without taints an Unhealthy HCA is left out instead, without consumable capacity none is shared, without partitionable " +
      "devices a PF whose VFs are offered is left out",
    "Kubernetes 1.36 has these gates on; before that turn them on in the API server, scheduler and controller manager",
  )];
}

export function slices(facts: Facts): Finding[] {
  const dra = wanted(facts);
  if (dra === null || dra.published === null) return [];
  if (dra.published === dra.expected) {
    return [ok("dra-slices", `${counted(dra.published, "device")} in the ResourceSlices of ${dra.node}`)];
  }
  return [warning(
    "dra-slices",
    `${counted(dra.published, "device")} in the ResourceSlices of ${dra.node}, and there should be ${dra.expected}`,
    "the scheduler gives pods what the slices say",
    "is the plugin running, and is --node-name the Node's name? its log says what it could not publish",
  )];
}

/** A name that is both a DeviceClass's extended resource and a device plugin's: the scheduler then decides per node. */
export function classes(facts: Facts): Finding[] {
  const dra = wanted(facts);
  if (dra === null || dra.classes === null) return [];
  const named = dra.classes.filter((one) => one.extendedResourceName !== null);
  const twice = named.filter((one, i) =>
    named.findIndex((other) => other.extendedResourceName === one.extendedResourceName) < i
  );
  const plugin = new Set([
    ...dra.allocatable,
    ...facts.inventory.specs.filter((spec) => spec.api === "device-plugin").map((spec) => spec.name),
  ]);
  const both = named.filter((one) => plugin.has(one.extendedResourceName!));
  return [
    ...both.map((one) =>
      warning(
        "dra-class",
        `the DeviceClass ${one.name} has the name ${one.extendedResourceName}, which this node offers through a device plugin`,
        "when the device plugin has none left, or is away, the scheduler serves the same pods through DRA; an HCA is never " +
          "given twice on this node, but such a pod then waits in ContainerCreating",
        "drain the node and switch it (docs/dra.md), or give the class another name",
      )
    ),
    ...twice.map((one) =>
      warning(
        "dra-class",
        `several DeviceClasses have the name ${one.extendedResourceName}, among them ${one.name}`,
        "which of them pods get is not defined",
        "give each class a name of its own",
      )
    ),
  ];
}

export function claims({ dra }: Facts): Finding[] {
  if (dra === null) return [];
  const findings = dra.withoutCdi.map((name) =>
    problem(
      "dra-claims",
      `the CDI file of claim ${name} is gone`,
      "containers of its pods cannot start again",
      "restart the plugin on this node: it writes the files of prepared claims when it starts",
    )
  );
  for (const path of dra.unreadable) {
    findings.push(warning(
      "dra-claims",
      `${path} cannot be read`,
      "the devices in its CDI file are kept from other claims; without that file no claim is prepared on this node",
      "see whose claim it is (its name is the claim's UID); when that is gone, remove the file",
    ));
  }
  if (findings.length > 0 || dra.claims.length === 0) return findings;
  return [ok("dra-claims", `prepared: ${dra.claims.join(", ")}`)];
}

/**
 * Checks of events, the node condition and labels: can they be written?
 *
 * @module
 */
import type { Facts } from "./facts.ts";
import { type Finding, ok, problem } from "./finding.ts";

const SERVED = "pods are served all the same, but no one hears of what happens to the node's adapters";

export function reportApi({ reports }: Facts): Finding[] {
  if (reports === null || !reports.api) return [];
  const { server, reason, missing, node, nodeThere } = reports;
  if (server === null) {
    const fix =
      "run it in a pod with a service account (the component api-access) with the permission set image-api, or give --kube-api";
    return [problem("report-api", "no API server is known", SERVED, fix)];
  }
  if (reason !== null) {
    const fix = "check NetworkPolicies, and the permission set of the container (image-api, or with DRA image-dra)";
    return [problem("report-api", reason, SERVED, fix)];
  }
  const findings: Finding[] = [];
  if (nodeThere === false) {
    const fix = "set NODE_NAME from spec.nodeName, or give --node-name";
    findings.push(problem("report-api", `the API server has no Node ${node}`, SERVED, fix));
  }
  if (missing.length > 0) {
    findings.push(problem(
      "report-rights",
      `the service account may not: ${missing.join(", ")}`,
      SERVED,
      "apply rbac.yaml of the components kubernetes-events and node-labels in deploy/kustomize",
    ));
  }
  if (findings.length > 0) return findings;
  return [ok("report-rights", `events, the condition and labels may be written at ${server}`)];
}

export function features({ reports }: Facts): Finding[] {
  const place = reports?.features ?? null;
  if (place === null) return [];
  if (place.state === "writable") return [ok("nfd-features", `${place.dir} can be written`)];
  return [problem(
    "nfd-features",
    `${place.dir} is ${place.state === "missing" ? "not there" : "not writable"}`,
    "node-feature-discovery gets no labels of this node's adapters",
    "mount it as the component nfd-features does, and run node-feature-discovery's worker on the node",
  )];
}

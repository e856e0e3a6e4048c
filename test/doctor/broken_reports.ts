/**
 * Nodes that cannot report to Kubernetes, and exactly what the doctor finds on each.
 *
 * @module
 */
import type { Facts } from "../../src/doctor/facts.ts";
import type { ReportFacts } from "../../src/doctor/report_facts.ts";
import type { Broken } from "./broken_hosts.ts";

/** A node whose reports are fine but for what is said. */
export function reports(over: Partial<ReportFacts> = {}): Pick<Facts, "reports"> {
  const server = "https://10.0.0.1";
  const fine = { node: "node-1", api: true, server, reason: null, missing: [], nodeThere: true, features: null };
  return { reports: { ...fine, ...over } };
}

export const BROKEN_REPORTS: readonly Broken[] = [
  {
    what: "events without an API server",
    finds: ["problem report-api"],
    says: /no API server is known.*api-access/s,
    over: reports({ server: null }),
  },
  {
    what: "events and an API server that cannot be reached",
    finds: ["problem report-api"],
    says: /cannot be reached \(ECONNREFUSED\).*image-api/s,
    over: reports({ reason: "the API server https://10.0.0.1 cannot be reached (ECONNREFUSED)" }),
  },
  {
    what: "a node name that no Node has, and missing rights for events",
    finds: ["problem report-api", "problem report-rights"],
    says: /no Node node-1.*may not: create events, patch nodes\/status.*rbac\.yaml/s,
    over: reports({ nodeThere: false, missing: ["create events", "patch nodes/status"] }),
  },
  {
    what: "a feature directory that is not mounted",
    finds: ["problem nfd-features"],
    says: /\/nfd is not there.*worker/s,
    over: reports({ api: false, features: { dir: "/nfd", state: "missing" } }),
  },
];

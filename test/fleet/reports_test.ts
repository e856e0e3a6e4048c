import { deepEqual, equal } from "@std/assert";
import { conditionOf, type Reported } from "../../src/report/condition.ts";
import { CONTROLLER } from "../../src/report/event_object.ts";
import { occurrences } from "../../src/report/occurrences.ts";
import { keyOf, type ReportedDevice } from "../../src/report/view.ts";
import { CONTROLLER as SELECTED } from "../../src/cli/fleet_source.ts";
import { fleet } from "../support/fleet_facts.ts";
import { event, node, NOON } from "../support/fleet_objects.ts";

const RAIL = "rdma/rail";

function reported(healthy: boolean): Reported {
  const device = (hca: string, fit: boolean): ReportedDevice => ({
    resource: RAIL,
    device: hca,
    hca,
    healthy: fit,
    code: fit ? null : "port-down",
    port: fit ? null : 1,
    reason: fit ? "" : "port 1 is DOWN (Polling)",
  });
  const all = [device("mlx5_0", true), device("mlx5_1", healthy)];
  const devices = new Map(all.map((one) => [keyOf(RAIL, one.device), one]));
  return { view: { devices, leftOut: [] }, flapping: new Set(), late: new Map() };
}

Deno.test("fleet reads the events and the condition as the plugin writes them", () => {
  equal(SELECTED, CONTROLLER);
  const [down] = occurrences(reported(true), reported(false));
  const [up] = occurrences(reported(false), reported(true));
  const { status, message, reason } = conditionOf(reported(false))!;
  const nodes = [node("n", { [RAIL]: [1, 2] }, {
    conditions: [{ type: "RDMAReady", status, message, reason, lastTransitionTime: NOON }],
  })];
  const later = "2026-11-30T12:05:00Z";
  const expected = (since: string) => [["mlx5_1", "port 1 is DOWN (Polling)", since]];
  const found = (events: readonly object[]) =>
    fleet({ nodes, events }).rows[0]!.problems.map((one) => [one.hca, one.reason, one.since]);
  deepEqual(found([]), expected(NOON));
  deepEqual(found([event("n", down!.note, later)]), expected(later));
  const well = fleet({ nodes: [node("n", { [RAIL]: [2, 2] })], events: [event("n", up!.note)] });
  deepEqual(well.rows[0]!.problems, []);
});

import { deepEqual, equal, ok } from "@std/assert";
import { failureReason } from "../../src/kubernetes/failures.ts";
import { eventually } from "../support/eventually.ts";
import { ReportRig } from "../support/report_rig.ts";

const HOST = "connectx-roce-vfs";

Deno.test("failures are told apart by what an operator does about them", () => {
  const reason = (status: number | null, name = "") =>
    failureReason({ status, reason: name, message: "", retryAfterMs: null });
  const all = [reason(null, "Unreachable"), reason(null, "Untrusted"), reason(null, "NoCredentials"), reason(401)];
  deepEqual(all, ["unreachable", "unreachable", "unauthorized", "unauthorized"]);
  deepEqual([403, 404, 422].map((status) => reason(status)), ["refused", "refused", "refused"]);
  deepEqual([408, 409, 429, 500, 503].map((status) => reason(status)), Array<string>(5).fill("unavailable"));
});

Deno.test("what was refused is counted and outdated until it is written; what is not asked for has no status", async () => {
  await using rig = await ReportRig.start({
    host: HOST,
    before: (api) => {
      api.fault = { kind: "forbidden", verb: "PATCH", resource: "nodes" };
    },
  });
  const condition = () => rig.status("condition")!;
  await eventually(() => condition().outdated, "an outdated condition");
  ok(condition().failures.get("refused")! > 0);
  equal(condition().failures.get("unreachable"), 0);
  equal(rig.status("labels"), undefined);
  rig.api.fault = null;
  await rig.ready("True");
  await eventually(() => !condition().outdated, "a condition that is up to date");
});

Deno.test("an API server that is away is counted as unreachable, and events that are given up are not outdated", async () => {
  await using rig = await ReportRig.start({ host: HOST });
  await rig.ready("True");
  const hca = rig.world.agent.state.inventory!.snapshot.hcas[0]!;
  const down = () => Promise.all(hca.ports.map(({ number }) => rig.world.host.carrierLost(hca.name, number)));
  rig.api.fault = { kind: "forbidden", verb: "POST", resource: "events" };
  await down();
  await rig.ready("False");
  await eventually(() => rig.status("events")!.failures.get("refused")! > 0, "a refused event");
  equal(rig.status("events")!.outdated, false);
  await rig.api.down();
  for (const { number } of hca.ports) await rig.world.host.portUp(hca.name, number);
  await eventually(() => rig.status("condition")!.outdated, "an outdated condition");
  ok(rig.status("condition")!.failures.get("unreachable")! > 0);
});

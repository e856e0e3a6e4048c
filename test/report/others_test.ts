import { deepEqual, equal } from "@std/assert";
import { join } from "node:path";
import type { AgentState } from "../../src/agent/agent.ts";
import type { SessionStatus } from "../../src/device_plugin/session.ts";
import type { KubernetesEvent } from "../../src/kubernetes/core_api.ts";
import { openReports } from "../../src/report/open.ts";
import type { Occurrence } from "../../src/report/occurrences.ts";
import { Reporter } from "../../src/report/reporter.ts";
import { SILENT } from "../../src/text/log.ts";
import { EVENTS } from "../../sim/api_server/server.ts";
import { CLAIMS } from "../../sim/api_server/server.ts";
import { DRIVER } from "../support/dra.ts";
import { DraRig } from "../support/dra_rig.ts";
import { inspected } from "../support/inspected.ts";
import { NODE, ReportRig } from "../support/report_rig.ts";
import { sessionStatus } from "../support/session_status.ts";

Deno.test("a pod that has an HCA through DRA gets the events of it, with the UID that its claim knows", async () => {
  await using rig = await DraRig.start({ host: "broadcom-bnxt" });
  await rig.ready(2);
  const claim = rig.claim("train", { where: { rdmaDevice: "bnxt_re1" } })!;
  const reservedFor = [{ resource: "pods", name: "pod-train", uid: "uid-of-train" }];
  const now = rig.api.store.get(CLAIMS, "default/train")!;
  rig.api.store.update(CLAIMS, "default/train", { ...now, status: { ...now.status as object, reservedFor } });
  await rig.run(claim);
  const reports = openReports({
    node: "node-1",
    instance: "x",
    events: true,
    labels: false,
    featureDir: null,
    access: () => rig.api.access,
    kubeletDir: join(rig.dir, "kubelet"),
    podResourcesSocket: join(rig.dir, "pods/kubelet.sock"),
    driver: DRIVER,
  }, SILENT);
  reports.attach(rig.agent);
  const events = () => rig.api.store.list(EVENTS) as unknown as readonly KubernetesEvent[];
  await rig.host.carrierLost("bnxt_re1", 1);
  const event = await rig.api.waitFor(() => events().find((one) => one.regarding.kind === "Pod"), "the event");
  await reports.close();
  deepEqual([event.reason, event.regarding.name, event.regarding.uid], [
    "RDMADeviceUnhealthy",
    "pod-train",
    "uid-of-train",
  ]);
});

Deno.test("a plugin that is standby beside another one reports nothing, and does when it serves", async () => {
  const inventory = await inspected("connectx-roce-vfs");
  const conditions: unknown[] = [];
  const events: Occurrence[] = [];
  const sinks = {
    condition: (wanted: unknown) => void conditions.push(wanted),
    event: (one: Occurrence) => void events.push(one),
    labels: null,
    nodeMayBeNew: () => {},
  };
  const reporter = new Reporter({ node: NODE, sinks, pods: null });
  let state: AgentState = { inventory, sessions: [sessionStatus({ phase: "standby" })], changes: [] };
  let changed = () => {};
  reporter.attach({
    get state() {
      return state;
    },
    observe: ({ onState }) => {
      changed = onState!;
      return () => {};
    },
  });
  equal(conditions.length, 0);
  state = { ...state, sessions: [sessionStatus()] };
  changed();
  equal(conditions.length, 1);
  deepEqual(events, []);
  await reporter.close();
});

Deno.test("a first registration that takes long is no new kubelet, and one after a kubelet that was down is", async () => {
  const inventory = await inspected("connectx-roce-vfs");
  const session = (code: SessionStatus["code"], registrations: number) =>
    sessionStatus({ code, registrations, phase: registrations > 0 ? "registered" : "waiting" });
  const forgottenAfter = async (...seen: readonly SessionStatus[]) => {
    let forgotten = 0;
    const sinks = { condition: null, event: null, labels: null, nodeMayBeNew: () => void forgotten++ };
    const reporter = new Reporter({ node: NODE, sinks, pods: null });
    let sessions = seen.slice(0, 1);
    let changed = () => {};
    reporter.attach({
      get state() {
        return { inventory, sessions, changes: [] };
      },
      observe: ({ onState }) => {
        changed = onState!;
        return () => {};
      },
    });
    for (const one of seen.slice(1)) {
      sessions = [one];
      changed();
    }
    await reporter.close();
    return forgotten;
  };
  equal(await forgottenAfter(session("starting", 0), session("registered", 1)), 0);
  equal(await forgottenAfter(session("starting", 0), session("no-kubelet-socket", 0), session("registered", 1)), 1);
  equal(await forgottenAfter(session("starting", 0), session("registered", 1), session("registered", 2)), 1);
});

Deno.test("an event whose answer got lost is not written twice", async () => {
  await using rig = await ReportRig.start({ host: "connectx-roce-vfs" });
  await rig.ready("True");
  // The server works, but its answers come too late for the connection.
  const posts = () => rig.api.requests.filter((one) => one.method === "POST").length;
  rig.api.fault = { kind: "slow", ms: 200 };
  await rig.world.host.carrierLost("mlx5_0", 1);
  await rig.api.waitFor(() => posts() > 0, "the first try");
  await rig.api.waitFor(() => rig.events("RDMADeviceUnhealthy").length > 0, "it arrives");
  await rig.api.down();
  rig.api.fault = null;
  await rig.api.up();
  await rig.ready("False");
  equal(rig.events("RDMADeviceUnhealthy").length, 1);
});

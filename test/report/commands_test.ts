import { deepEqual, equal, match } from "@std/assert";
import { join } from "node:path";
import { readReports } from "../../src/doctor/report_facts.ts";
import { FakeApiServer, NODES } from "../../sim/api_server/server.ts";
import { apiFlags } from "../support/api_server.ts";
import { directory } from "../support/report_rig.ts";
import { onHost } from "../support/plugin.ts";
import { temporaryDir } from "../support/temp.ts";

Deno.test("the doctor knows which rights for events, the condition and labels are missing, and a Node that is not there", async () => {
  using dir = temporaryDir();
  await using api = await FakeApiServer.start(join(dir.path, "sa"));
  const wanted = { node: "node-1", events: true, labels: true, featureDir: dir.path, access: () => api.access };
  const none = await readReports(wanted);
  deepEqual([none.nodeThere, none.reason, none.missing, none.features?.state], [false, null, [], "writable"]);
  api.store.create(NODES, { metadata: { name: "node-1" } });
  api.fault = { kind: "forbidden", verb: "PATCH", resource: "nodes" };
  const without = await readReports(wanted);
  deepEqual([without.nodeThere, without.missing], [true, ["patch nodes/status", "patch nodes"]]);
  await api.down();
  match((await readReports(wanted)).reason ?? "", /cannot be reached/);
  deepEqual(api.writes().filter((one) => !one.path.endsWith("selfsubjectaccessreviews")), []);
});

Deno.test("the program reports with the flags that say so, and serves without an API server", async () => {
  await using place = onHost("connectx-roce-vfs");
  await using api = await FakeApiServer.start(join(place.dir, "sa"));
  api.store.create(NODES, { metadata: { name: "node-1" } });
  const access = apiFlags(api);
  const features = directory(place.dir, "features.d");
  const flags = ["--kubernetes-events", "--node-labels", `--nfd-features=${features}`, "--node-name=node-1"];
  place.start(...access, ...flags);
  const node = () =>
    api.store.get(NODES, "node-1") as { metadata: { labels?: object }; status?: { conditions?: readonly object[] } };
  await api.waitFor(() => node().status?.conditions?.length === 1, "the condition", 30_000);
  await api.waitFor(() => Object.keys(node().metadata.labels ?? {}).length > 0, "labels", 30_000);
  const doctor = place.ask("doctor", ...access, ...flags, "--json");
  await doctor.ended;
  const findings = JSON.parse(doctor.log.join("\n")) as { id: string; severity: string }[];
  const ours = findings.filter((one) => /^(report|nfd)-/.test(one.id)).map(({ id, severity }) => `${severity} ${id}`);
  deepEqual(ours, ["ok report-rights", "ok nfd-features"]);
  equal(api.requests.filter((one) => one.method === "PATCH").length, 2);
});

import { deepEqual, match, ok } from "@std/assert";
import { join } from "node:path";
import { readDra } from "../../src/doctor/dra_facts.ts";
import { inspect } from "../../src/agent/inventory.ts";
import { CLASSES } from "../../sim/api_server/server.ts";
import { startPlugin } from "../../sim/mod.ts";
import { DRIVER } from "../support/dra.ts";
import { DraRig } from "../support/dra_rig.ts";

Deno.test("list and doctor know the claims, and doctor asks the API server without changing anything", async () => {
  await using rig = await DraRig.start({ host: "broadcom-bnxt" });
  await rig.ready(2);
  const claim = rig.claim("training", { where: { rdmaDevice: "bnxt_re1" } });
  ok(claim !== null);
  await rig.run(claim);
  rig.api.store.create(CLASSES, { metadata: { name: "a" }, spec: { extendedResourceName: "x/nic" } });
  const writes = rig.api.writes().length;
  const settings = {
    driver: DRIVER,
    node: "node-1",
    pluginsDir: join(rig.dir, "plugins"),
    registryDir: join(rig.dir, "registry"),
    cdiDir: join(rig.dir, "cdi"),
    podUid: "",
    podResourcesSocket: "",
    sysfsRoot: rig.host.sysfsRoot,
    access: () => rig.api.access,
  };
  const { snapshot, specs } = rig.agent.state.inventory!;
  const record = { held: () => null, former: () => new Map() }; // a kubelet without a checkpoint
  const facts = await readDra(settings, inspect(snapshot, specs, record));
  deepEqual([facts.reason, facts.tooOld, facts.missing, facts.gatesOff], [null, false, [], []]);
  deepEqual([facts.published, facts.expected], [2, 2]);
  deepEqual([facts.claims, facts.withoutCdi], [["default/training"], []]);
  deepEqual(facts.classes, [{ name: "a", extendedResourceName: "x/nic" }]);
  deepEqual(rig.api.writes().slice(writes).filter((one) => !one.path.includes("selfsubjectaccessreviews")), []);
  rig.api.fault = { kind: "absent", group: "resource.k8s.io/v1" };
  const old = await readDra(settings, inspect(snapshot, specs, record));
  deepEqual([old.reason, old.tooOld, old.published], [null, true, null]);
  rig.api.fault = null;

  const roots = [
    "--sysfs-root",
    rig.host.sysfsRoot,
    "--dev-root",
    rig.host.devRoot,
    "--kubelet-dir",
    join(rig.dir, "kubelet"),
  ];
  const list = startPlugin(["list", ...roots, "--api=dra", "--plugins-dir", join(rig.dir, "plugins")]);
  await list.ended;
  match(list.log.join("\n"), /bnxt_re1[^]*held by claim default\/training/);
});

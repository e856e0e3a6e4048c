import { deepEqual, rejects } from "@std/assert";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { RESOURCE } from "../support/plugin_stub.ts";
import { Bench } from "./bench.ts";

/** A kubelet that reads CDI specs from a directory with this one spec, and a plugin that answers `names`. */
async function withCdi(spec: string | null, ...names: string[]): Promise<Bench> {
  const made = new Bench({}, { cdi: true });
  if (spec !== null) {
    mkdirSync(made.cdi);
    writeFileSync(join(made.cdi, "rdma.json"), spec);
  }
  await made.kubelet.start();
  await made.plugin({ allocate: () => ({ cdi_devices: names.map((name) => ({ name })) }) });
  return made;
}
const SPEC = {
  cdiVersion: "0.6.0",
  kind: "example.com/rdma",
  containerEdits: { env: ["ONCE=yes"] },
  devices: ["a", "b"].map((name) => ({
    name,
    containerEdits: {
      deviceNodes: [{ path: `/dev/${name}`, permissions: "rw" }],
      mounts: [{ hostPath: `/h/${name}`, containerPath: `/c/${name}`, options: ["ro", "bind"] }],
      env: [`DEV_${name}=1=2`],
    },
  })),
};

Deno.test("CDI edits of a spec and its devices are merged into what the container sees", async () => {
  await using at = await withCdi(JSON.stringify(SPEC), "example.com/rdma=a", "example.com/rdma=b");
  const { view } = await at.kubelet.admit({ name: "p", resource: RESOURCE, count: 1 });
  deepEqual(view.devices.map((device) => device.containerPath), ["/dev/a", "/dev/b"]);
  deepEqual(view.devices[0], { containerPath: "/dev/a", hostPath: "/dev/a", permissions: "rw" });
  deepEqual(view.mounts[1], { hostPath: "/h/b", containerPath: "/c/b", readOnly: true });
  deepEqual({ ...view.envs }, { ONCE: "yes", DEV_a: "1=2", DEV_b: "1=2" });
});

Deno.test("a CDI name that no spec has, and a spec that is torn, keep the container from starting", async () => {
  await using unknown = await withCdi(JSON.stringify(SPEC), "example.com/rdma=z");
  const pod = { name: "p", resource: RESOURCE, count: 1 };
  await rejects(unknown.kubelet.admit(pod), /CDI device example\.com\/rdma=z cannot be resolved/);
  await using torn = await withCdi('{"cdiVersion":', "example.com/rdma=a");
  await rejects(torn.kubelet.admit(pod), /CDI spec .*rdma\.json cannot be read/);
  await using absent = await withCdi(null, "example.com/rdma=a");
  await rejects(absent.kubelet.admit(pod), /example\.com\/rdma=a cannot be resolved/);
});

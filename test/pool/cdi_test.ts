import { deepEqual, equal, match, rejects } from "@std/assert";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { cdiGrant, cdiKind, cdiSpec } from "../../src/pool/cdi.ts";
import { DEFAULT_SPEC } from "../../src/pool/spec.ts";
import { offered } from "../support/kubelet.ts";
import { hca, HOST, poolState, port, spec } from "../support/hcas.ts";
import { QUICK_HEALTH, world } from "../support/world.ts";

const edits = z.strictObject({
  env: z.array(z.string().regex(/^[^=]+=/)).optional(),
  deviceNodes: z.array(z.strictObject({
    path: z.string().startsWith("/"),
    hostPath: z.string().startsWith("/").optional(),
    type: z.enum(["b", "c", "u", "p"]).optional(),
    permissions: z.string().regex(/^[rwm]+$/).optional(),
  })).min(1).optional(),
  mounts: z.array(z.strictObject({
    hostPath: z.string().startsWith("/"),
    containerPath: z.string().startsWith("/"),
    options: z.array(z.string()).optional(),
  })).min(1).optional(),
});
/** The rules of the CDI specification 0.6.0 for what a spec file may hold, as far as we use it; anything else is refused. */
const cdi = z.strictObject({
  cdiVersion: z.literal("0.6.0"),
  kind: z.string().regex(/^[A-Za-z]([A-Za-z0-9.-]*[A-Za-z0-9])?\/[A-Za-z]([A-Za-z0-9_-]*[A-Za-z0-9])?$/),
  annotations: z.record(z.string(), z.string()).optional(),
  devices: z.array(z.strictObject({
    name: z.string().regex(/^[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?$/),
    containerEdits: edits,
  })),
  containerEdits: edits.optional(),
});

Deno.test("cdiSpec() is a valid spec with a device per HCA and the common nodes once", () => {
  const mounts = [{ hostPath: "/opt/ofed", containerPath: "/opt/ofed", readOnly: true }];
  const one = poolState(spec({ name: "example.com/rdma.v2", expose: { ...spec().expose, mounts } }), [
    hca(0, { ports: [port(1, { umad: "umad0", issm: "issm0" })] }),
    hca(1),
    hca(2, { uverbs: null }),
  ]);
  const made = cdiSpec(one, HOST, "/run/x.sock");
  cdi.parse(made);
  equal(made.kind, "example.com/rdma_v2");
  deepEqual(made.devices.map((device) => [device.name, device.containerEdits.deviceNodes?.map((node) => node.path)]), [
    ["mlx5_0", ["/dev/infiniband/uverbs0", "/dev/infiniband/umad0", "/dev/infiniband/issm0"]],
    ["mlx5_1", ["/dev/infiniband/uverbs1", "/dev/infiniband/umad1"]],
  ]);
  deepEqual(made.containerEdits.deviceNodes?.map((node) => node.path), ["/dev/infiniband/rdma_cm"]);
  deepEqual(made.containerEdits.mounts, [{
    hostPath: "/opt/ofed",
    containerPath: "/opt/ofed",
    options: ["ro", "rbind"],
  }]);
});

Deno.test("cdiGrant() has a key of its own for every resource name, as the kubelet and runtimes allow them", () => {
  const names = ["a", "b"].map((end) => `long-domain.example.com/${"x".repeat(38)}_${"y".repeat(20)}${end}`);
  const grant = { hcas: [hca(0)], nodes: [], mounts: [], env: {} };
  const keys = names.flatMap((name) => Object.keys(cdiGrant(spec({ name }), grant).annotations));
  equal(new Set(keys).size, 2);
  for (const key of keys) match(key, /^cdi\.k8s\.io\/[A-Za-z0-9][A-Za-z0-9_.-]{0,61}[A-Za-z0-9]$/);
});

Deno.test("cdiKind() gives kinds that the specification allows, for every resource name", () => {
  for (const name of ["a.b/c", "a.b/c.d", "a.b/1c", "a.b/c_d-e", "3m.com/rdma"]) cdi.shape.kind.parse(cdiKind(name));
});

const withCdi = [{ ...DEFAULT_SPEC, health: QUICK_HEALTH, cdi: true }];

Deno.test("CDI specs are written before they are named, follow the host, and go with the resource and the plugin", async () => {
  const one = await world({ host: "connectx-roce-vfs", specs: withCdi });
  const dir = join(one.dir, "cdi");
  try {
    await offered(one.kubelet, 10);
    const files = () => readdirSync(dir).sort();
    deepEqual(files(), ["rdma-device-plugin_tencent.com_rdma.json"]);
    const text = () => readFileSync(join(dir, files()[0]!), "utf8");
    cdi.parse(JSON.parse(text()));
    const [answer] = await one.kubelet.allocate(DEFAULT_SPEC.name, [["mlx5_0"]]);
    deepEqual(answer!.cdi_devices?.map((device) => device.name), ["tencent.com/rdma=mlx5_0"]);
    deepEqual(answer!.devices, []);
    deepEqual(answer!.annotations, { "cdi.k8s.io/tencent.com_rdma": "tencent.com/rdma=mlx5_0" });
    await one.host.renumberUverbs("mlx5_0", 42);
    await one.kubelet.allocate(DEFAULT_SPEC.name, [["mlx5_0"]]);
    match(text(), /uverbs42/);
    await one.agent.reconfigure([{ ...withCdi[0]!, name: "example.com/other" }]);
    // The kubelet has been given names of the former one a moment ago, and may not have recorded them.
    const former = "rdma-device-plugin_tencent.com_rdma.json";
    deepEqual(files(), ["rdma-device-plugin_example.com_other.json", former]);
    await offered(one.kubelet, 10, "example.com/other");
    await one.agent.close();
    deepEqual(files(), [former]);
  } finally {
    await one[Symbol.asyncDispose]();
  }
});

Deno.test("A dead predecessor's CDI specs are removed at the start, and nobody else's", async () => {
  const stale = { ...cdiSpec(poolState(spec(), []), HOST, "/nowhere/dead.sock") };
  const foreign = { ...stale, annotations: {} };
  const written: string[] = [];
  await using one = await world({
    host: "connectx-ib-dual",
    agent: {
      get cdiDir() {
        const dir = join(Deno.makeTempDirSync(), "cdi");
        mkdirSync(dir);
        written.push(dir);
        writeFileSync(join(dir, "rdma-device-plugin_gone.json"), JSON.stringify(stale));
        writeFileSync(join(dir, "rdma-device-plugin_foreign.json"), JSON.stringify(foreign));
        writeFileSync(join(dir, "vendor.json"), JSON.stringify(stale));
        return dir;
      },
    },
  });
  await one.kubelet.waitFor((state) => state.resources[DEFAULT_SPEC.name]?.capacity === 1, { what: "the HCA" });
  deepEqual(readdirSync(written[0]!).sort(), ["rdma-device-plugin_foreign.json", "vendor.json"]);
  match(one.log.join("\n"), /removed rdma-device-plugin_gone\.json/);
  Deno.removeSync(join(written[0]!, ".."), { recursive: true });
});

Deno.test("A CDI directory that cannot be written to is told, and Allocate does not name what no file defines", async () => {
  await using one = await world({ host: "connectx-ib-dual", specs: withCdi, agent: { cdiDir: "/proc/nowhere/cdi" } });
  await one.kubelet.waitFor((state) => state.resources[DEFAULT_SPEC.name]?.capacity === 1, { what: "the HCA" });
  match(one.log.join("\n"), /Cannot write the CDI spec \/proc\/nowhere\/cdi/);
  await rejects(one.kubelet.allocate(DEFAULT_SPEC.name, [["mlx5_0"]]), /Cannot write the CDI spec/);
  equal(existsSync("/proc/nowhere"), false);
});

import { deepEqual, equal, ok } from "@std/assert";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { formatMistakes, loadConfig } from "../../src/config/mod.ts";
import type { Config } from "../../src/config/mod.ts";
import { DEFAULT_SPEC } from "../../src/pool/spec.ts";

const EXAMPLES = fileURLToPath(new URL("../../examples/config/", import.meta.url));

async function example(name: string): Promise<Config> {
  const result = await loadConfig(EXAMPLES + name);
  if (!result.ok) throw new Error(`${name} is refused: ${JSON.stringify(result.mistakes)}`);
  return result.config;
}

Deno.test("loadConfig() takes every example, and only the SR-IOV one has warnings", async () => {
  for (const name of readdirSync(EXAMPLES)) {
    const { warnings } = await example(name);
    equal(warnings.length > 0, name === "sriov-network-device-plugin.json", `${name}: ${formatMistakes(warnings)}`);
  }
});

Deno.test("loadConfig() gives the default resource for a file that says only its name", async () => {
  const config = await example("one-resource.yaml");
  deepEqual(config, { format: "own", resources: [DEFAULT_SPEC], rescanSeconds: null, warnings: [] });
});

Deno.test("loadConfig() reads rails on two NUMA nodes", async () => {
  const { resources, rescanSeconds } = await example("rails.yaml");
  equal(rescanSeconds, 60);
  deepEqual(resources.map(({ name, mode }) => [name, mode]), [
    ["rdma/rail-numa0", { kind: "exclusive" }],
    ["rdma/rail-numa1", { kind: "exclusive" }],
    ["rdma/storage", { kind: "shared", shares: 63, of: "all" }],
  ]);
  deepEqual(resources[1], {
    ...DEFAULT_SPEC,
    name: "rdma/rail-numa1",
    select: [{ numaNodes: [1], linkLayers: ["InfiniBand"], minRateGbps: 200 }],
    exclude: [{ hcas: ["mlx5_bond_0"] }],
    prefer: "spread",
    env: { ...DEFAULT_SPEC.env, nccl: true, ucx: true },
  });
});

Deno.test("loadConfig() reads shares per HCA with their health and nodes", async () => {
  const { resources } = await example("shared-one.yaml");
  deepEqual(resources, [{
    ...DEFAULT_SPEC,
    name: "rdma/roce",
    mode: { kind: "shared", shares: 32, of: "one" },
    prefer: "least-used",
    select: [{ transports: ["RoCE"] }],
    health: {
      policy: "auto",
      ports: null,
      require: "all",
      settleMs: 5_000,
      graceMs: 120_000,
      errors: [
        { counter: "out_of_sequence", limit: 1_000_000, windowMs: 300_000 },
        { counter: "rx_icrc_encapsulated", limit: 10, windowMs: 3_600_000 },
      ],
    },
    expose: { ...DEFAULT_SPEC.expose, issm: false, knem: false },
  }]);
});

Deno.test("loadConfig() reads VF ranges and several selectors", async () => {
  const { resources } = await example("vfs-for-multus.yaml");
  deepEqual(resources.map(({ select }) => select), [
    [{ pfs: [{ pf: "ens1f0", vfs: [0, 1, 2, 3, 4, 5, 6, 7] }] }],
    [
      { pfs: [{ pf: "ens1f0", vfs: [8, 9, 10, 11, 12, 13, 14, 15] }] },
      { pfs: [{ pf: "0000:5e:00.1", vfs: null }], kinds: ["vf"] },
    ],
  ]);
  ok(resources.every(({ ids, env }) => ids === "pci" && env.pcidevice));
});

Deno.test("loadConfig() reads the shared device plugin's config as that plugin does", async () => {
  const config = await example("shared-device-plugin.json");
  equal(config.format, "shared-device-plugin");
  equal(config.rescanSeconds, 300);
  const common = { ...DEFAULT_SPEC, expose: { ...DEFAULT_SPEC.expose, knem: false }, overlap: true };
  deepEqual(config.resources, [
    {
      ...common,
      name: "rdma/hca_shared_a",
      mode: { kind: "shared", shares: 1000, of: "all" },
      select: [{
        vendors: ["15b3"],
        devices: ["1017", "101b"],
        drivers: ["mlx5_core"],
        netdevs: ["ib0", "ib1"],
        linkLayers: ["InfiniBand"],
      }],
    },
    {
      ...common,
      name: "example.org/hca_shared_b",
      mode: { kind: "shared", shares: 63, of: "all" },
      select: [{ netdevs: ["ens2f0", "ens2f1"] }],
    },
  ]);
});

Deno.test("loadConfig() reads the SR-IOV plugin's config as far as RDMA goes", async () => {
  const config = await example("sriov-network-device-plugin.json");
  equal(config.format, "sriov-network-device-plugin");
  equal(config.rescanSeconds, null);
  const common = {
    ...DEFAULT_SPEC,
    ids: "pci",
    exclude: [{ pfWithVfs: true }, { kinds: ["sf", "virtual"] }],
    health: { ...DEFAULT_SPEC.health, policy: "present" },
    expose: { ...DEFAULT_SPEC.expose, knem: false },
  };
  deepEqual(config.resources, [
    {
      ...common,
      name: "example.org/storage_vfs",
      select: [{
        vendors: ["15b3"],
        devices: ["101e"],
        pfs: [{ pf: "ens1f0", vfs: [0, 1, 2, 3, 6] }, { pf: "ens1f1", vfs: null }],
      }],
      env: {
        ...DEFAULT_SPEC.env,
        pcidevice: true,
        pcideviceInfo: { "*": { fabric: "storage" }, "0000:3b:00.2": { rail: "0" } },
      },
    },
    {
      ...common,
      name: "intel.com/ib-vfs",
      topology: false,
      select: [
        { drivers: ["mlx5_core", "mlx5_ib"], linkLayers: ["InfiniBand"], pkeys: ["0x8001"] },
        { pciAddresses: ["0000:af:00.4"] },
      ],
      env: { ...DEFAULT_SPEC.env, pcidevice: true },
    },
  ]);
  deepEqual(config.warnings.map(({ line, column, path, code }) => [line, column, path, code]), [
    [25, 5, "resourceList[2]", "no-effect"],
  ]);
});

Deno.test("a migrated config asks for the same as the peer's config that it comes from", async () => {
  for (
    const [from, to] of [["shared-device-plugin.json", "migrated-from-shared.yaml"], [
      "sriov-network-device-plugin.json",
      "migrated-from-sriov.yaml",
    ]]
  ) {
    const before = await example(from!);
    const after = await example(to!);
    deepEqual(after.resources, before.resources);
    if (before.rescanSeconds !== null) equal(after.rescanSeconds, before.rescanSeconds);
  }
});

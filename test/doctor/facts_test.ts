import { deepEqual, equal } from "@std/assert";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { memlockOf, selinuxContext } from "../../src/doctor/facts.ts";
import { readWantedFunctions } from "../../src/doctor/functions.ts";
import { deviceNumber } from "../../src/hca/files.ts";
import { readNodeFiles } from "../../src/doctor/node_files.ts";
import { driverOf, providerNames } from "../../src/hca/drivers.ts";
import { readProviders } from "../../src/doctor/provider_files.ts";
import { openRights } from "../../src/doctor/rights.ts";
import { DEFAULT_SPEC } from "../../src/pool/spec.ts";
import { FakeHost, preset } from "../../sim/mod.ts";
import { needs } from "../support/need.ts";
import { inspected } from "../support/inspected.ts";
import { temporaryDir } from "../support/temp.ts";

Deno.test("memlockOf() reads the soft limit, and nothing out of nothing", () => {
  const limits = (soft: string) =>
    `Limit                     Soft Limit           Hard Limit           Units     \nMax locked memory         ${
      soft.padEnd(20)
    } unlimited            bytes     \nMax address space         7                    unlimited            bytes\n`;
  equal(memlockOf(limits("65536")), 65536);
  equal(memlockOf(limits("unlimited")), Infinity);
  equal(memlockOf(null), null);
  equal(memlockOf("Max locked"), null);
});

Deno.test("selinuxContext() knows SELinux's contexts from AppArmor's profiles in the same file", () => {
  equal(selinuxContext("system_u:system_r:container_t:s0:c1,c2\0"), "system_u:system_r:container_t:s0:c1,c2");
  equal(
    selinuxContext("unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023\n"),
    "unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023",
  );
  for (const other of ["cri-containerd.apparmor.d (enforce)\n", "unconfined\n", "", null]) {
    equal(selinuxContext(other), null);
  }
});

Deno.test("deviceNumber() takes dev_t apart as glibc does", () => {
  equal(deviceNumber((231 << 8) | 192), "231:192");
  equal(deviceNumber(0x10000 * 0x10 + (510 << 8) + 3), "510:259");
});

Deno.test("readNodeFiles() tells devices from directories and files, and opens none", () => {
  using dir = temporaryDir();
  const nodes = join(dir.path, "infiniband");
  mkdirSync(join(nodes, "uverbs1"), { recursive: true });
  writeFileSync(join(nodes, "uverbs2"), "");
  symlinkSync("/dev/null", join(nodes, "uverbs3"));
  symlinkSync("/nowhere", join(nodes, "uverbs4"));
  const files = readNodeFiles(dir.path);
  deepEqual([...files].map(([name, file]) => [name, file.kind, file.dev]), [
    ["uverbs1", "directory", null],
    ["uverbs2", "other", null],
    ["uverbs3", "character", "1:3"],
  ]);
});

Deno.test("stateOf() tells what is missing, no directory and writable, and leaves nothing behind", () => {
  using dir = temporaryDir();
  using rights = openRights();
  writeFileSync(join(dir.path, "file"), "");
  equal(rights.stateOf(join(dir.path, "none")), "missing");
  equal(rights.stateOf(join(dir.path, "file")), "no directory");
  const before = [...Deno.readDirSync(dir.path)].length;
  equal(rights.stateOf(dir.path), "writable");
  equal([...Deno.readDirSync(dir.path)].length, before);
});

Deno.test("readWantedFunctions() tells PFs with VFs, without, VFs themselves and what is not there", () => {
  const host = FakeHost.create(FakeHost.temporaryRoot(), preset("connectx-roce-vfs"));
  try {
    const select = [
      { masters: ["ens1f0np0", "eth9"] },
      { pfs: [{ pf: "ens1f0v0", vfs: [0] }, { pf: "ens2f0np0", vfs: null }, { pf: "ens*", vfs: [0] }] },
    ];
    const found = readWantedFunctions([{ ...DEFAULT_SPEC, select }], host.sysfsRoot);
    deepEqual(found.map(({ name, vfs, instead }) => [name, vfs, instead?.replace(/ \(.*/, "") ?? null]), [
      ["ens1f0np0", 4, null],
      ["eth9", null, "no such interface"],
      ["ens1f0v0", null, "a virtual function itself"],
    ]);
  } finally {
    host.close();
  }
});

Deno.test("driverOf() knows the provider of every adapter in the sim", async () => {
  const { snapshot } = await inspected("mixed");
  const found = snapshot.hcas.map((hca) => `${hca.name} ${driverOf(hca)?.provider?.name}`);
  deepEqual(found, [
    "bnxt_re0 bnxt_re",
    ..."01234".split("").map((n) => `mlx5_${n} mlx5`),
    "rdmap16s27 efa",
    "rocep24s0f0 irdma",
    "rxe0 rxe",
  ]);
});

Deno.test({
  name: "every provider in the table is one of rdma-core 44's, installed and configured as readProviders() finds them",
  ...needs("libibverbs"),
  fn() {
    const files = readProviders();
    if (typeof files === "string") throw new Error(`readProviders() says ${files}`);
    const later = ["ionic"];
    for (const name of providerNames().filter((one) => !later.includes(one))) {
      equal(files.libraries.some((file) => file.startsWith(`lib${name}-rdmav`)), true, `no library for ${name}`);
      equal(files.drivers?.includes(`${name}.driver`), true, `no .driver for ${name}`);
    }
  },
});

import { deepEqual, equal, match, ok } from "@std/assert";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { FakeHost, preset } from "../../sim/mod.ts";
import { discoveryOn } from "../support/discovery.ts";

const CROWD = 100_000;

/** MiB that a scan may leave behind; what it holds of each entry must not grow with what the entry is. */
const MOST = 150;

/** Of this test file alone: others run beside it in one process. */
function memory(): number {
  return process.memoryUsage().heapUsed / 1024 / 1024;
}

Deno.test(`discover() finds the HCAs among ${CROWD} entries that are none, lists some of them and counts the rest`, async () => {
  using host = FakeHost.create(FakeHost.temporaryRoot(), preset("soft-roce"));
  const before = await discoveryOn(host).scan("full");
  const dir = join(host.sysfsRoot, "class/infiniband");
  // Dangling links cost no inode's data and are what a broken mount is full of; every other name could be an HCA's.
  for (let i = 0; i < CROWD; i++) symlinkSync("nowhere", join(dir, i % 2 === 0 ? `not an HCA ${i}` : `zz9_${i}`));
  const start = memory();
  const crowded = discoveryOn(host);
  const snapshot = await crowded.scan("full");
  equal(snapshot.unreadable.length, 100);
  for (const { reason } of snapshot.unreadable) match(reason, /not a valid name|disappeared|more than 8192/);
  deepEqual(snapshot.hcas, before.hcas);
  equal(snapshot.notes.filter((one) => one.includes("99900 more unreadable entries")).length, 1);
  const quick = await crowded.scan("quick");
  equal(quick, snapshot);
  ok(memory() - start < MOST, `${(memory() - start).toFixed(0)} MiB more than before`);
});

Deno.test(`discover() reads an HCA that has ${CROWD} files too many in every directory as it was before`, async () => {
  using host = FakeHost.create(FakeHost.temporaryRoot(), preset("connectx-roce-vfs"));
  const before = await discoveryOn(host).scan("full");
  const hca = host.hcaPath("mlx5_0");
  for (const dir of ["", "device/", "ports/1/", "ports/1/gids/", "ports/"]) {
    for (let i = 0; i < CROWD / 5; i++) writeFileSync(join(hca, `${dir}junk ${i}`), "");
  }
  mkdirSync(join(host.sysfsRoot, "class/infiniband_verbs/uverbs"));
  const start = memory();
  const crowded = discoveryOn(host);
  const snapshot = await crowded.scan("full");
  deepEqual(snapshot, before);
  equal(await crowded.scan("quick"), snapshot);
  ok(memory() - start < MOST, `${(memory() - start).toFixed(0)} MiB more than before`);
});

import { deepEqual, equal } from "@std/assert";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type DiscoverySources } from "../../src/hca/discover.ts";
import { FakeHost, preset } from "../../sim/mod.ts";
import { memoryDir, within } from "../support/temp.ts";
import { run } from "../support/run.ts";
import { discoveryOn } from "../support/discovery.ts";

/** A host of that preset, scanned once. */
async function scanned(dir: string, name: string, options: Partial<DiscoverySources> = {}) {
  const host = FakeHost.create(mkdtempSync(join(dir, "host-")), preset(name));
  const discovery = discoveryOn(host, options);
  await discovery.scan("full");
  return { host, discovery };
}

Deno.test("Discovery.poll() finds a port that goes down and comes up, and nothing while it stays", async () => {
  using dir = memoryDir();
  const { host, discovery } = await scanned(dir.path, "connectx-roce-vfs");
  equal(await discovery.poll(), null);
  await host.carrierLost("mlx5_1", 1);
  equal(await discovery.poll(), "mlx5_1 port 1 changed its state");
  equal(await discovery.poll(), "mlx5_1 port 1 changed its state"); // it changes nothing: only a scan does
  await discovery.scan("quick");
  equal(await discovery.poll(), null);
  await host.portUp("mlx5_1", 1);
  equal(await discovery.poll(), "mlx5_1 port 1 changed its state");
});

Deno.test("Discovery.poll() finds another physical state of a port that is down", async () => {
  using dir = memoryDir();
  const { host, discovery } = await scanned(dir.path, "connectx-ib-dual");
  await host.carrierLost("mlx5_0", 1);
  await discovery.scan("quick");
  equal(await discovery.poll(), null);
  writeFileSync(join(host.hcaPath("mlx5_0"), "ports/1/phys_state"), "3: Disabled\n");
  equal(await discovery.poll(), "mlx5_0 port 1 changed its state");
});

Deno.test("Discovery.poll() finds the device node of an HCA that had none", async () => {
  using dir = memoryDir();
  const { host, discovery } = await scanned(dir.path, "connectx-ib-dual");
  const node = join(host.devRoot, "infiniband/uverbs0");
  const before = readFileSync(node);
  rmSync(node);
  await discovery.scan("quick");
  equal(await discovery.poll(), null);
  writeFileSync(node, before);
  equal(await discovery.poll(), "device nodes were added or removed");
  await discovery.scan("quick");
  equal(await discovery.poll(), null);
});

Deno.test("Discovery.poll() finds an HCA that goes at once, and one that comes with the next poll that lists them", async () => {
  using dir = memoryDir();
  const { host, discovery } = await scanned(dir.path, "connectx-roce-vfs");
  equal(await discovery.poll(), null); // lists the HCAs
  await host.removeHca("mlx5_2");
  equal(await discovery.poll(), "mlx5_2 port 1 changed its state");
  await discovery.scan("quick");
  await host.restoreHca("mlx5_2");
  const found = [];
  for (let polls = 0; polls < 4; polls++) found.push(await discovery.poll());
  deepEqual(found.filter((one) => one !== null), ["HCAs were added or removed"]);
});

Deno.test("Discovery.poll() finds the first HCA of a machine that has none at once", async () => {
  using dir = memoryDir();
  const { host, discovery } = await scanned(dir.path, "connectx-ib-dual");
  const names = host.describe().map(({ name }) => name);
  for (const name of names) await host.removeHca(name);
  await discovery.scan("quick");
  equal(await discovery.poll(), null);
  await host.restoreHca(names[0]!);
  equal(await discovery.poll(), "HCAs were added or removed");
});

Deno.test("Discovery.poll() is quiet on every host that is odd and stays as it is", async () => {
  using dir = memoryDir();
  for (const name of ["no-modules", "empty", "aws-efa", "mixed", "soft-roce", "sub-functions"]) {
    const { discovery } = await scanned(dir.path, name);
    equal(await discovery.poll(), null, name);
  }
});

Deno.test("Discovery.poll() waits no longer than its deadline for firmware that hangs, and then leaves it alone", async () => {
  using dir = memoryDir();
  const { promise: late, resolve: answered } = Promise.withResolvers<string>();
  const { host, discovery } = await scanned(dir.path, "connectx-roce-vfs", {
    deadlineMs: 1_000,
    onLateAnswer: answered,
  });
  // A reader of a FIFO waits in the kernel until somebody writes, as one of a dead adapter's attribute does.
  const state = join(host.hcaPath("mlx5_0"), "ports/1/state");
  rmSync(state);
  run("mkfifo", [state]);
  equal(await discovery.poll(), "mlx5_0 does not answer");
  equal((await discovery.scan("quick")).hcas[0]!.ports[0]!.state, "unknown");
  equal(await discovery.poll(), null);
  await host.carrierLost("mlx5_1", 1); // the others are polled as before
  equal(await discovery.poll(), "mlx5_1 port 1 changed its state");
  writeFileSync(state, "4: ACTIVE\n");
  equal(await within(late, "the late answer"), "mlx5_0");
});

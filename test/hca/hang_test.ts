/**
 * Attributes that hang although the state of the port was answered: a scan ends nevertheless, since what it found out
 * about the rest of the machine must reach the kubelet.
 *
 * @module
 */
import { deepEqual, equal, match, notEqual } from "@std/assert";
import {
  closeSync,
  cpSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { Discovery } from "../../src/hca/discover.ts";
import { FakeHost, preset } from "../../sim/mod.ts";
import { temporaryDir, within } from "../support/temp.ts";
import { run } from "../support/run.ts";
import { buildHost } from "../hosts/build.ts";
import { discoveryOn } from "../support/discovery.ts";

/** A machine with a dead attribute or two. */
class Machine implements Disposable {
  readonly #dir = temporaryDir();
  readonly #hung: string[] = [];
  #late = Promise.withResolvers<string>();
  readonly host = FakeHost.create(join(this.#dir.path, "host"), preset("connectx-roce-vfs"));
  readonly discovery = this.start();

  start(): Discovery {
    this.#late = Promise.withResolvers();
    return discoveryOn(this.host, { deadlineMs: 300, onLateAnswer: (hca) => this.#late.resolve(hca) });
  }

  /** The first answer that comes after its deadline, since the last start. */
  lateAnswer(): Promise<string> {
    return within(this.#late.promise, "the late answer");
  }

  /** A reader of a FIFO waits in the kernel until something is written, as one of a dead adapter's attribute does. */
  hang(path: string): void {
    rmSync(path, { force: true });
    run("mkfifo", [path]);
    this.#hung.push(path);
  }

  /** The attribute answers, all who wait and all who come. */
  answers(path: string, text: string): void {
    const fifo = openSync(path, "r+");
    rmSync(path);
    writeFileSync(path, text);
    writeSync(fifo, text);
    closeSync(fifo);
    this.#hung.splice(this.#hung.indexOf(path), 1);
  }

  [Symbol.dispose](): void {
    for (const path of [...this.#hung]) this.answers(path, "\n");
    this.host.close();
    this.#dir[Symbol.dispose]();
  }
}

for (const file of ["rate", "lid", "sm_lid", "pkeys/0"]) {
  Deno.test(`a scan ends although ${file} of a port hangs, and the HCA is as one whose state does`, async () => {
    using machine = new Machine();
    const before = await machine.discovery.scan("full");
    const path = join(machine.host.hcaPath("mlx5_0"), "ports/1", file);
    const text = readFileSync(path, "utf8");
    machine.hang(path);
    const hung = await within(machine.discovery.scan("full"), "the scan");
    equal(hung.hcas[0]!.ports[0]!.state, "unknown");
    match(hung.hcas[0]!.notes.join(), /did not report its port states/);
    equal(hung.hcas[1]!.ports[0]!.state, "ACTIVE");
    machine.answers(path, text);
    equal(await machine.lateAnswer(), "mlx5_0");
    deepEqual((await machine.discovery.scan("full")).hcas[0], before.hcas[0]);
  });
}

/** The file of the HCA's first net device from which the kernel answers under the RTNL lock. */
function physPortName({ host }: Machine, hca: string): string {
  const device = realpathSync(join(host.hcaPath(hca), "device"));
  return join(device, "net", readdirSync(join(device, "net"))[0]!, "phys_port_name");
}

Deno.test("a port that goes down is seen while the kernel does not tell of net devices: their facts stay as they were", async () => {
  using machine = new Machine();
  const before = await machine.discovery.scan("full");
  machine.hang(physPortName(machine, "mlx5_0"));
  await machine.host.portDown("mlx5_0", 1);
  await machine.host.portDown("mlx5_1", 1);
  for (const depth of ["quick", "full"] as const) {
    const { hcas } = await within(machine.discovery.scan(depth), "the scan");
    deepEqual(hcas.map((hca) => hca.netdevs), before.hcas.map((hca) => hca.netdevs), depth);
    deepEqual(hcas.slice(0, 2).map(({ ports: [port] }) => [port!.state, port!.netdevAway]), [
      ["DOWN", false],
      ["DOWN", false],
    ]);
  }
});

Deno.test("a net device of which the kernel has not told yet is no one's, nor away, until it has", async () => {
  using machine = new Machine();
  const before = (await machine.discovery.scan("full")).hcas[0]!;
  const path = physPortName(machine, "mlx5_0");
  machine.hang(path);
  const discovery = machine.start();
  const first = (await within(discovery.scan("full"), "the scan")).hcas[0]!;
  deepEqual([first.netdevs, first.ports[0]!.netdevAway, first.ports[0]!.state], [[], false, "ACTIVE"]);
  machine.answers(path, "p0\n");
  await machine.lateAnswer();
  deepEqual((await discovery.scan("quick")).hcas[0], before);
});

Deno.test("an HCA stays the same one when the kernel has freed sysfs' inodes, and is another in another entry", async () => {
  using machine = new Machine();
  const { host, discovery } = machine;
  mkdirSync(join(host.sysfsRoot, "kernel"), { recursive: true });
  writeFileSync(join(host.sysfsRoot, "kernel/uevent_seqnum"), "1\n"); // it is the kernel's own sysfs
  const before = await discovery.scan("full");
  // A second link changes the time, as reading the inode in again does; the old number stays in use.
  const entry = join(host.sysfsRoot, "class/infiniband/mlx5_0");
  linkSync(entry, join(host.sysfsRoot, "second-link"));
  equal(await discovery.scan("quick"), before);
  const target = readlinkSync(entry);
  rmSync(entry);
  symlinkSync(target, entry);
  notEqual((await discovery.scan("quick")).hcas[0], before.hcas[0]);
});

Deno.test("an HCA with a port for each representor does not take the others along when its firmware hangs", async () => {
  using machine = new Machine();
  const ports = join(machine.host.hcaPath("mlx5_0"), "ports");
  for (let n = 2; n <= 40; n++) cpSync(join(ports, "1"), join(ports, `${n}`), { recursive: true });
  await machine.discovery.scan("full");
  const states = Array.from({ length: 40 }, (_, i) => join(ports, `${i + 1}`, "state"));
  for (const path of states) machine.hang(path);
  for (const depth of ["quick", "full"] as const) {
    const [hung, other] = (await within(machine.discovery.scan(depth), "the scan")).hcas;
    deepEqual([hung!.ports.length, hung!.ports[39]!.state, other!.ports[0]!.state], [40, "unknown", "ACTIVE"], depth);
  }
  for (const path of states) machine.answers(path, "4: ACTIVE\n");
  await machine.lateAnswer();
});

Deno.test("an adapter with many VFs does not take the others along when its firmware hangs", async () => {
  using dir = temporaryDir();
  const pf = { pci: "0000:3b:00.0", driver: "mlx5_core", sriov_totalvfs: 40, sriov_numvfs: 40 };
  const vfs = Array.from({ length: 40 }, (_, vf) => ({
    name: `mlx5_${vf + 1}`,
    pci: `0000:3b:${(vf >> 3) + 1}.${vf & 7}`.replace(/:(\d)\./, ":0$1."),
    driver: "mlx5_core",
    physfn: pf.pci,
    vf,
  }));
  const other = { name: "mlx5_41", pci: "0000:af:00.0", driver: "mlx5_core" };
  const { promise: allAnswered, resolve } = Promise.withResolvers<void>();
  const late = new Set<string>();
  const { sysfs, dev } = buildHost({ hcas: [{ name: "mlx5_0", ...pf }, ...vfs, other] }, join(dir.path, "host"));
  const discovery = discoveryOn({ sysfsRoot: sysfs, devRoot: dev }, {
    deadlineMs: 300,
    onLateAnswer: (hca) => late.add(hca).size === 8 && resolve(),
  });
  await discovery.scan("full");
  const states = Array.from({ length: 41 }, (_, n) => join(sysfs, `class/infiniband/mlx5_${n}/ports/1/state`));
  for (const path of states) {
    rmSync(path);
    run("mkfifo", [path]);
  }
  try {
    for (const depth of ["full", "quick"] as const) {
      const { hcas } = await within(discovery.scan(depth), "the scan");
      deepEqual(hcas.map((hca) => hca.ports[0]!.state), [...states.map(() => "unknown"), "ACTIVE"], depth);
    }
    equal(await discovery.poll(), null);
  } finally {
    for (const path of states) releaseReaders(path);
  }
  await within(allAnswered, "the answers of the eight that were asked");
});

/** Whoever reads the FIFO gets an empty line. */
function releaseReaders(path: string): void {
  const fifo = openSync(path, "r+");
  writeSync(fifo, "\n");
  closeSync(fifo);
}

/**
 * The hardware of a node: a fake host whose device nodes are real, and which has two NUMA nodes.
 *
 * @module
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { FakeHost, type HostDescription } from "../../../sim/mod.ts";
import type { Space } from "./space.ts";
import { run } from "../run.ts";

/** Real for runc, though nothing answers behind most of them. By the kernel's own numbers. */
const MISC_NODES: Readonly<Record<string, string>> = { rdma_cm: "10:58" };

/** Builds the fake host below `dir/host`, with what the kubelet wants to know of the processors. */
export function createHost(dir: string, description: HostDescription): FakeHost {
  const host = FakeHost.create(join(dir, "host"), description);
  for (const mountPoint of ["fs/cgroup", "block", "class/dmi", "kernel"]) {
    mkdirSync(join(host.sysfsRoot, mountPoint), { recursive: true });
  }
  writeProcessors(join(host.sysfsRoot, "devices/system"));
  return host;
}

/** Makes the node's /dev/infiniband what the fake host's is; to be called after HCAs came or went. */
export function mirrorNodes(host: FakeHost, space: Space): void {
  const wanted = join(host.devRoot, "infiniband");
  const real = space.path("/dev/infiniband");
  const names = new Set(existsSync(wanted) ? readdirSync(wanted) : []);
  if (names.size > 0) mkdirSync(real, { recursive: true });
  const present = existsSync(real) ? readdirSync(real) : [];
  for (const name of present) if (!names.has(name)) rmSync(join(real, name));
  for (const name of names) {
    if (present.includes(name)) continue;
    const [major = "", minor = ""] = numbersOf(host, name).split(":");
    run("mknod", ["-m", "666", join(real, name), "c", major, minor]);
  }
  // As in a kernel: the directory comes and goes with the first and the last node.
  if (names.size === 0) rmSync(real, { recursive: true, force: true });
}

/** Major and minor number of a node, from the fake sysfs. */
function numbersOf(host: FakeHost, name: string): string {
  const known = MISC_NODES[name];
  if (known !== undefined) return known;
  const group = name.startsWith("uverbs") ? "infiniband_verbs" : "infiniband_mad";
  return readFileSync(join(host.sysfsRoot, "class", group, name, "dev"), "utf8").trim();
}

/** Two NUMA nodes that share the machine's processors. */
function writeProcessors(system: string): void {
  const all = cpus().map((_, number) => number);
  const range = `0-${all.length - 1}\n`;
  const write = (path: string, text: string) => {
    mkdirSync(join(system, path, ".."), { recursive: true });
    writeFileSync(join(system, path), text);
  };
  for (const name of ["online", "possible", "present"]) write(`cpu/${name}`, range);
  for (const cpu of all) {
    const topology = { core_id: cpu, physical_package_id: cpu % 2, die_id: 0, thread_siblings_list: cpu };
    for (const [name, value] of Object.entries(topology)) {
      write(`cpu/cpu${cpu}/topology/${name}`, `${value}\n`);
      write(`node/node${cpu % 2}/cpu${cpu}/topology/${name}`, `${value}\n`);
    }
  }
  for (const node of [0, 1]) {
    write(`node/node${node}/meminfo`, `Node ${node} MemTotal: 4194304 kB\nNode ${node} MemFree: 4000000 kB\n`);
    write(`node/node${node}/distance`, node === 0 ? "10 20\n" : "20 10\n");
    write(`node/node${node}/cpulist`, `${all.filter((cpu) => cpu % 2 === node).join(",")}\n`);
    mkdirSync(join(system, `node/node${node}/hugepages`), { recursive: true });
  }
  write("node/online", "0-1\n");
}

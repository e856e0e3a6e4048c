/**
 * The sim's machines against the builder's, which shares no code with it: whatever file or link the builder's tree has
 * is in the sim's, and says the same.
 *
 * @module
 */
import { deepEqual } from "@std/assert";
import { readdirSync, readFileSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { FakeHost, preset } from "../../sim/mod.ts";
import { memoryDir } from "../support/temp.ts";
import { buildHost, readPlan } from "./build.ts";

const MACHINES = {
  "1/host.json": "smi-subdevice",
  "3/host.json": "vpi",
  "4/host.json": "roce-lag",
  "8/host.json": "vfs-down",
  "9/host.json": "omni-path",
  "10/host.json": "soft-old-kernel",
  "11/host.json": "intel-vfs",
  "21/host.json": "switchdev",
  "21/host-upstream.json": "switchdev-no-roce",
  "25/host.json": "vfs-down-np",
  "26/host.json": "macvlan-names",
  "30/host.json": "rails-in-pods",
} as const;

/** What either is free to choose: addresses, numbers that the kernel counts up, words for people. */
const FREE =
  /\/(address|ifindex|uevent|node_desc|cap_mask|mtu|carrier)$|\/class\/misc\/rdma_cm\/dev$|^\/class\/misc|^\/module\//;
/** Of a VF the sim makes GUIDs and GIDs of its own. */
const OF_VFS = /\/(node_guid|sys_image_guid|gids\/\d+|gid_attrs\/(types|ndevs)\/\d+)$/;

/** Every file and link below a directory: what it says, or where it leads. */
function contents(root: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  const real = realpathSync(root);
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const name = path.slice(root.length);
    if (entry.isSymbolicLink()) found.set(name, `-> ${realpathSync(path).slice(real.length)}`);
    else if (entry.isFile()) found.set(name, readFileSync(path, "utf8").trim());
  }
  return found;
}

for (const [file, name] of Object.entries(MACHINES)) {
  Deno.test(`the sim's host ${name} is the machine of ${file}`, () => {
    using dir = memoryDir();
    const built = buildHost(readPlan(file), join(dir.path, "built"));
    using fake = FakeHost.create(join(dir.path, "sim"), preset(name));
    const sim = contents(fake.sysfsRoot);
    const vfs = readPlan(file).hcas.filter((hca) => hca.physfn !== undefined).map((hca) => `/${hca.pci}/`);
    const wrong = [...contents(built.sysfs)].filter(([path, text]) => {
      if (FREE.test(path) || (OF_VFS.test(path) && vfs.some((pci) => path.includes(pci)))) return false;
      return sim.get(path) !== text;
    });
    deepEqual(wrong.map(([path, text]) => `${path}: ${text}, and ${sim.get(path)} in the sim`), []);
    deepEqual(readdirSync(join(fake.devRoot, "infiniband")).sort(), readdirSync(join(built.dev, "infiniband")).sort());
  });
}

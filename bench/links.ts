/**
 * Links of a fake host in the benchmark's own network namespace, so that the plugin hears of them as it does of the
 * host's own: same name, index and hardware address.
 *
 * @module
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FakeHost, manyHcas } from "../sim/mod.ts";
import { ip } from "./rig.ts";

/** Where the indices of the far ends begin; the near ones are those of the fake host. */
const FAR = 100_000;

/** Makes a veth link for each net device that a host with so many HCAs has. */
export function makeLinks(hcas: number): void {
  const dir = mkdtempSync(join(tmpdir(), "rdma-bench-"));
  try {
    const { sysfsRoot } = FakeHost.create(join(dir, "host"), manyHcas(hcas));
    const net = join(sysfsRoot, "class/net");
    for (const name of readdirSync(net)) {
      const of = (file: string) => readFileSync(join(net, name, file), "utf8").trim();
      const far = FAR + Number(of("ifindex"));
      ip(`link add ${name} index ${of("ifindex")} address ${of("address")} type veth peer name far${far} index ${far}`);
    }
  } finally {
    rmSync(dir, { recursive: true });
  }
}

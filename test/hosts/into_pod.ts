/**
 * What the host's sysfs shows while a CNI plugin moves a net device into a pod: the HCA, its function and its uverbs
 * node stay, the net device leaves, and the port goes down and up again.
 *
 * @module
 */
import { readdirSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** The HCA's port 1 loses its net device: the class entry goes, the GID table is emptied, the port is DOWN. */
export function leavesForPod(sysfs: string, hca: string): void {
  const dir = join(sysfs, "class/infiniband", hca);
  const port = join(dir, "ports/1");
  const net = join(realpathSync(join(dir, "device")), "net");
  for (const name of readdirSync(net)) rmSync(join(sysfs, "class/net", name), { force: true });
  rmSync(net, { recursive: true });
  writeFileSync(join(port, "state"), "1: DOWN\n");
  writeFileSync(join(port, "phys_state"), "3: Disabled\n");
  for (const slot of readdirSync(join(port, "gids"))) {
    writeFileSync(join(port, "gids", slot), `${Array(8).fill("0000").join(":")}\n`);
    for (const table of ["ndevs", "types"]) rmSync(join(port, "gid_attrs", table, slot), { force: true });
  }
}

/** The pod has raised its link: the GID table names the net device by the pod's name for it. */
export function upInPod(sysfs: string, hca: string, name = "net1"): void {
  const port = join(sysfs, "class/infiniband", hca, "ports/1");
  ["IB/RoCE v1", "RoCE v2"].forEach((type, slot) => {
    writeFileSync(join(port, "gids", `${slot}`), "fe80:0000:0000:0000:0e42:a1ff:fe00:0019\n");
    writeFileSync(join(port, "gid_attrs/ndevs", `${slot}`), `${name}\n`);
    writeFileSync(join(port, "gid_attrs/types", `${slot}`), `${type}\n`);
  });
  writeFileSync(join(port, "phys_state"), "5: LinkUp\n");
  writeFileSync(join(port, "state"), "4: ACTIVE\n");
}

/**
 * Whether libibverbs can see what sysfs shows. It looks for device nodes in /dev/infiniband and nowhere else, so in a
 * container that has the host's /dev mounted aside (`--dev-root`) it would list nothing, on every node and for ever; and
 * a kernel with RDMA is asked for its own HCAs, even if `--sysfs-root` is a tree that was made on a disk. Such an answer
 * says nothing about the machine, so the library is not called.
 *
 * @module
 */
import { isDirectory } from "./files.ts";
import { readDevNodes } from "./nodes.ts";
import { isKernelsOwn } from "./sysfs.ts";
import type { Verbs } from "./verbs.ts";

/** The only place in which libibverbs looks for nodes. */
const LIBRARY_DEV = "/dev";

/** There from the moment when ib_core is loaded. */
const KERNELS_CLASS = "/sys/class/infiniband";

/**
 * Asks the library only about the tree that it reads. libibverbs asks the kernel by netlink, and reads sysfs, or the
 * tree in SYSFS_PATH, where that has no answer (rdma-core `libibverbs/init.c`, `ibverbs_get_device_list`).
 *
 * @param kernelsClass tests put a directory of their own here
 */
export function whoseTreeItReads(verbs: Verbs, sysfsRoot: string, kernelsClass = KERNELS_CLASS): Verbs {
  if (isKernelsOwn(sysfsRoot)) return verbs;
  return {
    list() {
      if (!isDirectory(kernelsClass)) return verbs.list();
      const detail = `it asks this machine's kernel, which has RDMA, and not ${sysfsRoot}`;
      return Promise.resolve({ kind: "not-asked", detail });
    },
    [Symbol.dispose]: () => verbs[Symbol.dispose](),
  };
}

/**
 * Asks the library only while /dev/infiniband has every uverbs node that `devRoot` has: a mount of the directory goes
 * stale with the last HCA, so a directory that is there is not enough.
 *
 * @param libraryDev tests put a directory of their own here
 */
export function whereNodesAre(verbs: Verbs, devRoot: string, libraryDev = LIBRARY_DEV): Verbs {
  if (devRoot === libraryDev) return verbs;
  return {
    list() {
      const here = readDevNodes(libraryDev);
      const lacking = [...readDevNodes(devRoot)].some((name) => name.startsWith("uverbs") && !here.has(name));
      if (!lacking) return verbs.list();
      const detail = `it looks for nodes in ${libraryDev}/infiniband, and they are in ${devRoot}/infiniband`;
      return Promise.resolve({ kind: "not-asked", detail });
    },
    [Symbol.dispose]: () => verbs[Symbol.dispose](),
  };
}

/**
 * Whether libibverbs can see what sysfs shows. It looks for device nodes in /dev/infiniband and nowhere else, so in a
 * container that has the host's /dev mounted aside (`--dev-root`) it would list nothing, on every node and for ever.
 * Such an answer says nothing about the machine, so the library is not called.
 *
 * @module
 */
import { readDevNodes } from "./nodes.ts";
import type { Verbs } from "./verbs.ts";

/** The only place in which libibverbs looks for nodes. */
const LIBRARY_DEV = "/dev";

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

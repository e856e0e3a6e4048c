/**
 * Hints for keys that are known but misplaced: a level too high or too low, or from the other plugin's format. Such
 * files are in use, because the plugins that they were written for ignore unknown keys.
 *
 * @module
 */
import * as z from "zod";
import { type Path, pathText } from "./mistakes.ts";

/** A peer's format. */
export type Peer = "shared-device-plugin" | "sriov-network-device-plugin";

/** Hints for keys of the other peer, or of another version; keys in lower case. */
const ELSEWHERE: Readonly<Record<Peer, Readonly<Record<string, string>>>> = {
  "shared-device-plugin": {
    isrdma: "every resource under configList is RDMA, so it is not needed",
    pfnames: `here it is called "ifNames"`,
    rootdevices: "this format cannot select by PCI address; use resourceList or a file of this plugin's own format",
    pciaddresses: "this format cannot select by PCI address; use resourceList or a file of this plugin's own format",
    "selectors.devices": `PCI device IDs are called "deviceIDs" here`,
    devicetype: "a key of the SR-IOV network device plugin, whose list is called resourceList",
  },
  "sriov-network-device-plugin": {
    rdmahcamax:
      "a key of the RDMA shared device plugin, whose list is called configList: write configList instead of " +
      "resourceList to share HCAs between pods",
    periodicupdateinterval: "a key of the RDMA shared device plugin; here it is --rescan",
    ifnames: `here it is called "pfNames"`,
    deviceids: `here it is called "devices"`,
  },
};

/**
 * Where an unknown key belongs, as the end of a sentence; null when it is not known.
 *
 * @param path of the key, in the file's spelling
 * @param root schema of the whole file
 */
export function whereItBelongs(peer: Peer, path: Path, root: z.ZodType): string | null {
  const key = String(path.at(-1)).toLowerCase();
  const above = String(path.at(-2) ?? "").toLowerCase();
  const words = ELSEWHERE[peer];
  for (const one of [`${above}.${key}`, key]) if (Object.hasOwn(words, one)) return words[one]!;
  const home = homes(root, key)[0];
  return home === undefined ? null : `it belongs in ${pathText(placed(home, path)) || "the top level"}`;
}

/** Paths of the mappings that have this key, "*" for an index. */
function homes(schema: z.ZodType, key: string, path: Path = []): readonly Path[] {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault) {
    return homes(schema.unwrap() as z.ZodType, key, path);
  }
  if (schema instanceof z.ZodUnion) {
    return (schema.options as readonly z.ZodType[]).filter((one) => one instanceof z.ZodObject)
      .flatMap((one) => homes(one, key, path));
  }
  if (schema instanceof z.ZodArray) return homes(schema.element as z.ZodType, key, [...path, "*"]);
  if (!(schema instanceof z.ZodObject)) return [];
  const shape = schema.shape as Record<string, z.ZodType>;
  const here = Object.keys(shape).some((one) => one.toLowerCase() === key) ? [path] : [];
  return [...here, ...Object.entries(shape).flatMap(([name, one]) => homes(one, key, [...path, name]))];
}

/** The path with the indices of the place where the key was found, or 0. */
function placed(home: Path, found: Path): Path {
  return home.map((step, i) => step !== "*" ? step : typeof found[i] === "number" ? found[i] : 0);
}

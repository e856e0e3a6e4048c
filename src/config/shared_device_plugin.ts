/**
 * The config file of the shared RDMA device plugin (`configList`).
 *
 * @module
 */
import * as z from "zod";
import { DEFAULT_SPEC } from "../pool/spec.ts";
import type { ResourceSpec } from "../pool/spec.ts";
import { type Finding, invalidName } from "./checks.ts";
import { nameProblem } from "./name.ts";
import { hexId, without } from "./own.ts";
import { text, whole } from "./parts.ts";
import { MOST_SHARES } from "./schema.ts";

/** The shared plugin's default for its periodic update: one minute. */
const DEFAULT_PERIOD_SECONDS = 60;
const DEFAULT_PREFIX = "rdma";

const texts = (phrase: string) => z.array(z.string({ error: "text" }), { error: phrase });
const HEX = text(/^(0x)?[0-9a-f]{1,4}$/i, `up to four hex digits such as "15b3"`);
const IDS = z.array(HEX, { error: "a list of hex IDs" });

const IFNAME = text(/^[^\s/,]+$/, "one net device name");

const Selectors = z.object({
  vendors: IDS.optional(),
  deviceIDs: IDS.optional(),
  drivers: texts("a list of driver names").optional(),
  ifNames: z.array(IFNAME, { error: "a list of net device names" }).optional(),
  linkTypes: z.array(z.enum(["ether", "infiniband"], { error: "ether or infiniband" }), {
    error: "a list of ether, infiniband",
  }).optional(),
}, { error: "a mapping of selectors" });

const Item = z.object({
  resourceName: text(/^\w+$/, `a name of letters, digits and "_"`),
  resourcePrefix: z.string({ error: "a domain" }).optional(),
  rdmaHcaMax: whole(0, MOST_SHARES).optional(),
  devices: z.array(IFNAME, { error: "a list of net device names" }).optional(),
  selectors: Selectors.optional(),
}, { error: "a mapping with resourceName and rdmaHcaMax" });

/** The file, with the keys of that plugin's documentation. */
export const SharedFile = z.object({
  periodicUpdateInterval: whole(0, 86_400).optional(),
  configList: z.array(Item, { error: "a list of resources" }).min(1, { error: "a list with at least one resource" }),
}, { error: "a mapping with configList" });

type SharedInput = z.infer<typeof SharedFile>;
type ItemInput = SharedInput["configList"][number];

/** The resources of a peer's file. Paths of findings are relative to the file. */
export interface Reading {
  /** With the index in the peer's list. */
  readonly resources: readonly { readonly index: number; readonly spec: ResourceSpec }[];
  readonly rescanSeconds: number | null;
  readonly problems: readonly Finding[];
  readonly warnings: readonly Finding[];
}

/**
 * Each entry becomes a resource with mode shared, `all`: that plugin gives each container every HCA of the entry.
 * Entries may have HCAs in common, as in that plugin.
 */
export function readShared(input: SharedInput): Reading {
  const problems: Finding[] = [];
  const warnings: Finding[] = [];
  const resources = input.configList.flatMap((item, index) => {
    const path = ["configList", index];
    const name = `${item.resourcePrefix || DEFAULT_PREFIX}/${item.resourceName}`;
    const problem = nameProblem(name);
    if (problem !== null) {
      const key = item.resourcePrefix ? "resourcePrefix" : "resourceName";
      problems.push(invalidName([...path, key], name, problem));
    }
    const selectors = item.selectors ?? {};
    const selects = Object.values(selectors).some((list) => given(list) !== undefined);
    const named = (item.devices ?? []).length > 0;
    if (selects && named) {
      problems.push({
        path: [...path, "devices"],
        code: "conflict",
        message: "devices and selectors exclude each other",
        hint: "selectors.ifNames is the new name of devices",
      });
    }
    if (!selects && !named) {
      const [where, what] = item.selectors === undefined
        ? [path, "selectors are missing"]
        : [[...path, "selectors"], "none of its conditions is known here"];
      problems.push({
        path: where,
        code: "missing",
        message: `${what}: without selectors, this resource would have every HCA`,
        hint: `select some, for example "vendors": ["15b3"]`,
      });
    }
    const shares = item.rdmaHcaMax ?? 0;
    if (shares === 0) {
      const where = item.rdmaHcaMax === undefined ? path : [...path, "rdmaHcaMax"];
      const message = `rdmaHcaMax is 0, so ${name} has no devices; it is ignored`;
      warnings.push({ path: where, code: "no-effect", message });
      return [];
    }
    return [{ index, spec: toSharedSpec(name, shares, item) }];
  });
  if (resources.length === 0 && problems.length === 0) {
    const message = "no resource is left: rdmaHcaMax is 0 everywhere";
    problems.push({ path: ["configList"], code: "nothing-left", message });
  }
  return { resources, rescanSeconds: input.periodicUpdateInterval ?? DEFAULT_PERIOD_SECONDS, problems, warnings };
}

const LINK_LAYERS = { ether: "Ethernet", infiniband: "InfiniBand" } as const;

/** The link layer in sysfs for the link type of that plugin and the SR-IOV plugin. */
export function linkLayer(type: keyof typeof LINK_LAYERS): "Ethernet" | "InfiniBand" {
  return LINK_LAYERS[type];
}

/** In Go programs an empty list is no condition; here it would match nothing. */
export function given<T>(list: readonly T[] | undefined): readonly T[] | undefined {
  return list === undefined || list.length === 0 ? undefined : list;
}

function toSharedSpec(name: string, shares: number, { devices, selectors }: ItemInput): ResourceSpec {
  return {
    ...DEFAULT_SPEC,
    name,
    mode: { kind: "shared", shares, of: "all" },
    select: [without({
      vendors: given(selectors?.vendors)?.map(hexId),
      devices: given(selectors?.deviceIDs)?.map(hexId),
      drivers: given(selectors?.drivers),
      netdevs: given(selectors?.ifNames) ?? given(devices),
      linkLayers: given(selectors?.linkTypes)?.map(linkLayer),
    })],
    expose: { ...DEFAULT_SPEC.expose, knem: false },
    overlap: true,
  };
}

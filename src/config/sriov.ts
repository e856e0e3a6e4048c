/**
 * The RDMA part of the config file of the SR-IOV network device plugin (`resourceList`).
 *
 * @module
 */
import * as z from "zod";
import { DEFAULT_SPEC } from "../pool/spec.ts";
import type { ExtraDevice, ResourceSpec, Selector } from "../pool/spec.ts";
import { type Finding, invalidName, vfBudget } from "./checks.ts";
import { nameProblem } from "./name.ts";
import type { Path } from "./mistakes.ts";
import { asList, hexId, without } from "./own.ts";
import { either, flag, refuse, text } from "./parts.ts";
import { given, linkLayer } from "./shared_device_plugin.ts";
import type { Reading } from "./shared_device_plugin.ts";
import { readPf, toPfRange } from "./vf_ranges.ts";

/** The default of that plugin's `-resource-prefix`. */
export const SRIOV_PREFIX = "intel.com";

const texts = (phrase: string) => z.array(z.string({ error: "text" }), { error: phrase }).optional();
const IDS = z.array(text(/^(0x)?[0-9a-f]{1,4}$/i, `up to four hex digits such as "15b3"`), {
  error: "a list of hex IDs",
});
const PF = z.string({ error: `a PF such as "eth1" or "eth1#0-7,9"` }).superRefine((value, context) => {
  const read = readPf(value);
  if (!read.ok) refuse(context, read.code, `found ${JSON.stringify(value.slice(0, 60))}: ${read.problem}`);
});
const PFS = z.array(PF, { error: "a list of PFs" }).optional();

const Selectors = z.object({
  isRdma: flag().optional(),
  vendors: IDS.optional(),
  devices: IDS.optional(),
  drivers: texts("a list of driver names"),
  pciAddresses: z.array(
    text(/^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i, "a full PCI address such as 0000:3b:00.0"),
    {
      error: "a list of PCI addresses",
    },
  ).optional(),
  pfNames: PFS,
  rootDevices: PFS,
  linkTypes: z.array(z.enum(["ether", "infiniband"], { error: "ether or infiniband" }), {
    error: "a list of ether, infiniband",
  }).optional(),
  pKeys: z.array(text(/^(0x)?[0-9a-f]{1,4}$/i, "a partition key such as 0x8001"), { error: "a list of partition keys" })
    .optional(),
  needVhostNet: flag().optional(),
  acpiIndexes: texts("a list of ACPI indexes"),
  ddpProfiles: texts("a list of DDP profiles"),
  auxTypes: texts("a list of auxiliary device types"),
  vdpaType: z.string({ error: "virtio or vhost" }).optional(),
}, { error: "a mapping of selectors" });

const Item = z.object({
  resourceName: text(/^[\w-]+$/, `a name of letters, digits, "_" and "-"`),
  resourcePrefix: z.string({ error: "a domain" }).optional(),
  deviceType: z.enum(["netDevice", "accelerator", "auxNetDevice"], { error: "netDevice, accelerator or auxNetDevice" })
    .optional(),
  excludeTopology: flag().optional(),
  selectors: either(
    Selectors,
    z.array(Selectors, { error: "a list of selectors" }),
    "a mapping of selectors or a list of such",
  )
    .optional(),
  additionalInfo: z.record(z.string(), z.record(z.string(), z.string({ error: "text" }), { error: "a mapping" }), {
    error: "a mapping of PCI addresses (or *) to mappings",
  }).optional(),
}, { error: "a mapping with resourceName and selectors" });

/** The file, with the keys of that plugin's documentation. */
export const SriovFile = z.object({
  resourceList: z.array(Item, { error: "a list of resources" }).min(1, { error: "a list with at least one resource" }),
}, { error: "a mapping with resourceList" });

type SriovInput = z.infer<typeof SriovFile>;
type ItemInput = SriovInput["resourceList"][number];
type SelectorsInput = z.infer<typeof Selectors>;

/** Selectors that this plugin does not support; ignoring them would select other devices than the file means. */
const CANNOT: Readonly<Partial<Record<keyof SelectorsInput, Pick<Finding, "message" | "hint">>>> = {
  acpiIndexes: {
    message: "selecting by ACPI index is not supported",
    hint: "use pfNames, rootDevices or pciAddresses",
  },
  ddpProfiles: {
    message: "selecting by DDP profile is not supported",
    hint: "use pfNames, rootDevices or pciAddresses",
  },
  vdpaType: { message: "vDPA devices are not RDMA devices (that plugin refuses vdpaType together with isRdma, too)" },
};

/** With needVhostNet, that plugin adds the nodes that a vhost-net back end in user space opens. */
const VHOST_NET: readonly ExtraDevice[] = ["/dev/vhost-net", "/dev/net/tun"].map((path) => ({
  hostPath: path,
  containerPath: path,
  permissions: "rw",
  optional: true,
}));

/**
 * Each entry with `isRdma` becomes an exclusive resource with PCI addresses as device IDs. An entry without it is for
 * plain networking and stays with the other plugin, with a warning; a file with no other entries is a mistake.
 */
export function readSriov(input: SriovInput, prefix: string): Reading {
  const problems: Finding[] = [];
  const warnings: Finding[] = [];
  const withinBudget = vfBudget();
  const resources = input.resourceList.flatMap((item, index) => {
    const path = ["resourceList", index];
    const name = `${item.resourcePrefix || prefix}/${item.resourceName}`;
    const problem = nameProblem(name);
    if (problem !== null) {
      const key = item.resourcePrefix ? "resourcePrefix" : "resourceName";
      problems.push(invalidName([...path, key], name, problem));
    }
    const all = asList(item.selectors);
    const rdma = all.filter((selectors) => selectors.isRdma === true);
    if (rdma.length === 0) {
      warnings.push({
        path,
        code: "no-effect",
        message:
          `${name} has no isRdma: true, so it is not an RDMA resource; it is ignored and must stay with the other plugin`,
      });
      return [];
    }
    if (item.deviceType === "accelerator") {
      const message = "accelerators are not RDMA devices";
      const hint = "this resource must stay with the other plugin";
      problems.push({ path: [...path, "deviceType"], code: "unsupported", message, hint });
    }
    all.forEach((selectors, i) => {
      const here = [...path, "selectors", ...Array.isArray(item.selectors) ? [i] : []];
      if (selectors.isRdma !== true) {
        const message = `has no isRdma: true, so this selector of ${name} is ignored`;
        warnings.push({ path: here, code: "no-effect", message });
      } else {
        problems.push(...selectorProblems(selectors, here, withinBudget));
        problems.push(...auxTypeProblems(selectors, item.deviceType, here));
      }
    });
    return problems.length > 0 ? [] : [{ index, spec: toSriovSpec(name, rdma, item) }];
  });
  if (resources.length === 0 && problems.length === 0) {
    problems.push({
      path: ["resourceList"],
      code: "nothing-left",
      message: "no resource here has isRdma: true in its selectors",
      hint: "this plugin serves RDMA devices only, other resources must stay with the other plugin",
    });
    return { resources, rescanSeconds: null, problems, warnings: [] };
  }
  return { resources, rescanSeconds: null, problems, warnings };
}

function selectorProblems(selectors: SelectorsInput, path: Path, withinBudget: ReturnType<typeof vfBudget>): Finding[] {
  const found: Finding[] = Object.entries(CANNOT).flatMap(([key, problem]) => {
    const value = selectors[key as keyof SelectorsInput];
    return value === undefined || value === "" || (Array.isArray(value) && value.length === 0)
      ? []
      : [{ path: [...path, key], code: "unsupported", ...problem }];
  });
  if (!withinBudget([...selectors.pfNames ?? [], ...selectors.rootDevices ?? []])) {
    found.push({ path, code: "too-large", message: "the VF ranges of this file expand to more than a million VFs" });
  }
  return found;
}

/** Of auxiliary devices, only sub-functions carry an RDMA device. */
function auxTypeProblems({ auxTypes = [] }: SelectorsInput, type: ItemInput["deviceType"], path: Path): Finding[] {
  if (auxTypes.length === 0 || (type === "auxNetDevice" && auxTypes.includes("sf"))) return [];
  const here = [...path, "auxTypes"];
  if (type !== "auxNetDevice") {
    return [{ path: here, code: "conflict", message: "auxTypes needs deviceType: auxNetDevice" }];
  }
  const found = auxTypes.map((one) => JSON.stringify(one.slice(0, 40))).join(", ");
  const message = `found ${found}, expected sf: no other auxiliary device carries an RDMA device`;
  return [{ path: here, code: "unsupported", message }];
}

function toSriovSpec(name: string, rdma: readonly SelectorsInput[], item: ItemInput): ResourceSpec {
  const vhostNet = rdma.some((selectors) => selectors.needVhostNet === true);
  const info = Object.entries(item.additionalInfo ?? {}).map(([address, keys]) =>
    [address.toLowerCase(), keys] as const
  );
  return {
    ...DEFAULT_SPEC,
    name,
    mode: { kind: "exclusive" },
    ids: "pci",
    select: rdma.map((selectors) => toSelector(selectors, item.deviceType)),
    // That plugin never offers a PF that has VFs: moving it into a pod would take the parent of the VFs away. Devices
    // without a PCI function of their own are not among its netDevices.
    exclude: item.deviceType === "auxNetDevice" ? [] : [{ pfWithVfs: true }, { kinds: ["sf", "virtual"] }],
    // That plugin offers devices regardless of their link: the link of a VF is set up inside the pod.
    health: { ...DEFAULT_SPEC.health, policy: "present" },
    expose: { ...DEFAULT_SPEC.expose, knem: false, devices: vhostNet ? VHOST_NET : [] },
    env: { ...DEFAULT_SPEC.env, pcidevice: true, pcideviceInfo: Object.fromEntries(info) },
    topology: item.excludeTopology !== true,
  };
}

function toSelector(selectors: SelectorsInput, type: ItemInput["deviceType"]): Selector {
  const pfNames = given(selectors.pfNames)?.map(toPfRange);
  const rootDevices = given(selectors.rootDevices)?.map((address) => toPfRange(address.toLowerCase()));
  return without<Selector>({
    vendors: given(selectors.vendors)?.map(hexId),
    devices: given(selectors.devices)?.map(hexId),
    drivers: given(selectors.drivers),
    pciAddresses: given(selectors.pciAddresses)?.map((address) => address.toLowerCase()),
    pfs: pfNames ?? rootDevices,
    rootDevices: pfNames === undefined ? undefined : rootDevices,
    kinds: type === "auxNetDevice" ? ["sf" as const] : undefined,
    linkLayers: given(selectors.linkTypes)?.map(linkLayer),
    pkeys: given(selectors.pKeys)?.map((key) => `0x${hexId(key)}`),
  });
}

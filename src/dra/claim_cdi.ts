/**
 * The CDI spec of a claim: one CDI device per device of the claim, and the edits common to all its containers. Pure.
 *
 * @module
 */
import type { Hca } from "../hca/types.ts";
import { allocateNodes, type Check, type HostFacts, type NodeGrant } from "../pool/allocate.ts";
import { CDI_VERSION, type CdiDevice, type CdiSpec, containerEdits } from "../pool/cdi.ts";
import { environment } from "../pool/env.ts";
import { DEFAULT_SPEC, type ResourceSpec } from "../pool/spec.ts";
import { type ClaimRecord, findHca, type HeldDevice } from "./claim_record.ts";

/** CDI annotation with the devices of the claim, so that they are known when the record is invalid. */
export const DEVICES_ANNOTATION = "rdma-device-plugin/devices";

/** The CDI spec of a record on the machine as it is now. */
export interface Rendered {
  readonly cdi: CdiSpec;
  /** Conditions under which the device nodes are correct. */
  readonly checks: readonly Check[];
}

/**
 * @param hcas the HCAs of the machine now; a device whose HCA is missing gets a node that does not exist
 * @param host facts about the host as a whole
 */
export function renderClaim(
  record: Pick<ClaimRecord, "uid" | "driver" | "devices"> & { readonly cdi?: CdiSpec },
  hcas: readonly Hca[],
  host: HostFacts,
): Rendered {
  const checks: Check[] = [];
  const before = new Map((record.cdi?.devices ?? []).map((one) => [one.name, one]));
  const found = new Map<HeldDevice, readonly Hca[]>();
  for (const held of record.devices) {
    const there = held.hcas.map((key) => findHca(hcas, key));
    if (there.every((hca) => hca?.uverbs?.present)) found.set(held, there as Hca[]);
  }
  const requests = new Set(record.devices.map((one) => one.request));
  const joint: Record<string, string> = {};
  const common = new Map<string, NodeGrant>();
  const devices: CdiDevice[] = [];
  for (const held of record.devices) {
    const mine = found.get(held);
    if (mine === undefined) {
      const old = before.get(held.cdiName);
      if (old !== undefined) devices.push(withoutNodes(old, held));
      continue;
    }
    const spec = specOf(held);
    const nodes = allocateNodes(spec, host, mine);
    checks.push(...nodes.evidence);
    for (const node of nodes.common) common.set(node.containerPath, node);
    const all = record.devices.filter((one) => one.request === held.request).flatMap((one) => found.get(one) ?? []);
    const { short, long } = variables(held, spec, all, nodes.perHca, record.devices);
    Object.assign(joint, short);
    const env = { ...long, ...ownVariables(held, mine) };
    devices.push({ name: held.cdiName, containerEdits: containerEdits({ env, nodes: nodes.perHca }) });
  }
  const mounts = [
    ...new Map(record.devices.flatMap((one) => one.expose.mounts).map((one) => [one.containerPath, one])).values(),
  ];
  const kept = found.size === 0 && record.cdi !== undefined;
  return {
    cdi: {
      cdiVersion: CDI_VERSION,
      kind: claimKind(record.driver),
      annotations: {
        "rdma-device-plugin/claim": record.uid,
        [DEVICES_ANNOTATION]: record.devices.filter((one) => !one.admin).map((one) => one.device).join(),
      },
      devices,
      containerEdits: kept
        ? record.cdi!.containerEdits
        : containerEdits({ env: requests.size === 1 ? joint : {}, nodes: [...common.values()], mounts }),
    },
    checks,
  };
}

/**
 * The CDI device of an HCA that is missing. The kernel reuses the numbers of its nodes for the next HCA, which another
 * claim may hold. They are replaced by a path that does not exist: the runtime then refuses to start the container, and
 * its error has the HCA's name.
 */
function withoutNodes({ name, containerEdits }: CdiDevice, held: HeldDevice): CdiDevice {
  const { deviceNodes, ...rest } = containerEdits;
  if (deviceNodes === undefined) return { name, containerEdits };
  const hostPath = `/dev/infiniband/${held.hcas.map((one) => one.name).join("-")}-is-gone`;
  return { name, containerEdits: { ...rest, deviceNodes: deviceNodes.map((one) => ({ ...one, hostPath })) } };
}

/** "rdma.tencent.com/hca" */
export function claimKind(driver: string): string {
  return `${driver}/hca`;
}

/**
 * The variables of a request. Each CDI device sets the variables that contain the request's name, with every HCA of the
 * request, because a container gets all devices of a request or none. The short names are set only if the claim has a
 * single request; otherwise requests would overwrite each other's variables.
 */
function variables(
  held: HeldDevice,
  spec: ResourceSpec,
  hcas: readonly Hca[],
  nodes: readonly NodeGrant[],
  all: readonly HeldDevice[],
) {
  const ids = all.filter((one) => one.request === held.request).flatMap((one) => one.hcas).map((one) =>
    one.pci ?? one.name
  );
  const env = environment(spec, ids, hcas, nodes);
  const suffix = `_${variable(held.request)}`;
  const long = Object.entries(env).filter(([name]) => name.endsWith(suffix) || name.includes(`${suffix}_`));
  const short = Object.entries(env).filter((entry) => !long.includes(entry));
  return { short: Object.fromEntries(short), long: Object.fromEntries(long) };
}

/** One variable per HCA; these never overwrite each other, whatever other claims the container has. */
function ownVariables(held: HeldDevice, hcas: readonly Hca[]): Record<string, string> {
  if (!held.env.rdma) return {};
  return Object.fromEntries(
    hcas.map((hca) => [`RDMA_HCA_${variable(hca.name)}`, `/dev/infiniband/${hca.uverbs!.name}`]),
  );
}

function variable(text: string): string {
  return text.toUpperCase().replace(/[^A-Z0-9]/g, "_");
}

function specOf({ request, expose, env, select, exclude }: HeldDevice): ResourceSpec {
  return { ...DEFAULT_SPEC, name: request, expose, env, select, exclude };
}

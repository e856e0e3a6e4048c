/**
 * Decides whether a claim can be prepared with the devices that the scheduler allocated to it, and computes its record.
 * Pure.
 *
 * @module
 */
import type { Hca } from "../hca/types.ts";
import type { ResourceClaim } from "../kubernetes/resource_api.ts";
import type { Check, HostFacts } from "../pool/allocate.ts";
import { renderClaim } from "./claim_cdi.ts";
import { type ClaimRecord, type ClaimRef, type HeldDevice, keyOf, nameOf } from "./claim_record.ts";
import type { DraDevice } from "./devices.ts";
import { configFor, exposure } from "./exposure.ts";
import type { ParsedConfig } from "./rdma_config.ts";

/** The state of the node that a decision depends on. */
export interface NodeView {
  readonly driver: string;
  readonly pool: string;
  readonly devices: ReadonlyMap<string, DraDevice>;
  readonly hcas: readonly Hca[];
  readonly host: HostFacts;
  /** Current holders through the device plugin API, by HCA name. */
  readonly heldBy: ReadonlyMap<string, string>;
  /** The record of the same claim, if it was prepared before. */
  readonly before: ClaimRecord | null;
  /** Parses opaque parameters. */
  readonly parse: (parameters: unknown) => ParsedConfig;
}

export type Decision =
  | { readonly ok: true; readonly record: ClaimRecord; readonly checks: readonly Check[] }
  /** `passing`: another pod holds a device and may be about to release it, so it is worth waiting. */
  | { readonly ok: false; readonly reason: string; readonly passing?: true };

/** Why the API server's object is not the claim to be prepared; null when it is. */
export function claimMismatch(ref: ClaimRef, claim: ResourceClaim): string | null {
  if (claim.metadata.uid !== ref.uid) {
    return `${nameOf(ref)} was replaced: the API server has UID ${claim.metadata.uid}, the pod's claim is ${ref.uid}`;
  }
  if (claim.status?.allocation === undefined) return `${nameOf(ref)} is not allocated (any more)`;
  return null;
}

/** Decides for one claim. */
export function decide(ref: ClaimRef, claim: ResourceClaim, view: NodeView): Decision {
  const no = (reason: string) => ({ ok: false, reason: `claim ${nameOf(ref)}: ${reason}` }) as const;
  const mismatch = claimMismatch(ref, claim);
  if (mismatch !== null) return no(mismatch);
  const { results = [], config = [] } = claim.status?.allocation?.devices ?? {};
  const held: HeldDevice[] = [];
  for (const result of results.filter((one) => one.driver === view.driver)) {
    const device = view.devices.get(result.device);
    const words = describe(result.device, device);
    if (result.pool !== view.pool) return no(`${words} is in pool ${result.pool}, and this node's is ${view.pool}`);
    if (device === undefined) return no(`${words} is not on this node (any more)`);
    const { state, spec } = device;
    if (!state.present) return no(`${words} is gone: ${state.reason}`);
    if (state.member.hcas.some((hca) => !hca.uverbs?.present)) return no(`${words} cannot be used: ${state.reason}`);
    const admin = result.adminAccess === true;
    const holder = state.member.hcas.map((hca) => view.heldBy.get(hca.name)).find((one) => one !== undefined);
    if (holder !== undefined && !admin) return { ...no(`${words} is held by ${holder}`), passing: true };
    const request = result.request.split("/")[0]!;
    const given = exposure(spec, configFor(config, view.driver, result.request), view.parse);
    if (!given.ok) return no(`request ${request}: ${given.reason}`);
    held.push({
      ...given.exposure,
      request,
      pool: result.pool,
      device: result.device,
      shareID: result.shareID ?? null,
      admin,
      cdiName: knownName(view.before, request, result.device, result.shareID) ??
        cdiName(ref, device, result.shareID, held),
      resource: spec.name,
      select: spec.select,
      exclude: spec.exclude,
      hcas: state.member.hcas.map(keyOf),
    });
  }
  const base = { version: 1, state: "pending", driver: view.driver, ...ref, devices: held } as const;
  const { cdi, checks } = renderClaim(base, view.hcas, view.host);
  return { ok: true, record: { ...base, cdi }, checks };
}

/**
 * The reason when another claim holds a device of this claim; otherwise null. Several claims can hold shares of one
 * device, and admin access conflicts with nothing.
 */
export function conflict(record: ClaimRecord, others: readonly ClaimRecord[]): string | null {
  for (const mine of record.devices) {
    if (mine.admin) continue;
    for (const other of others) {
      if (other.uid === record.uid) continue;
      const theirs = other.devices.find((one) =>
        one.device === mine.device && !one.admin && (one.shareID === null || mine.shareID === null)
      );
      if (theirs === undefined) continue;
      const again = nameOf(other) === nameOf(record) ? ` of before (UID ${other.uid})` : "";
      return `claim ${nameOf(record)}: ${wordsOf(mine)} is held by claim ${nameOf(other)}${again}`;
    }
  }
  return null;
}

/**
 * The conflict with an invalid record: the devices of its claim are held, although the claim's name is unknown.
 *
 * @param torn paths of invalid records with the devices in their CDI files; null when these are unknown, too
 */
export function hiddenConflict(
  record: ClaimRecord,
  torn: readonly { readonly path: string; readonly devices: readonly string[] | null }[],
): string | null {
  for (const mine of record.devices) {
    const found = mine.admin ? undefined : torn.find(({ devices }) => devices?.includes(mine.device) ?? true);
    if (found === undefined) continue;
    const may = found.devices === null ? "may be" : "is";
    return `claim ${nameOf(record)}: ${wordsOf(mine)} ${may} held by the claim of ${found.path}, which cannot be read`;
  }
  return null;
}

function wordsOf({ device, hcas }: HeldDevice): string {
  return `${device} (${hcas.map((one) => one.name).join(", ")})`;
}

/** The name that the kubelet already has for this device; the HCA may have been renamed since. */
function knownName(before: ClaimRecord | null, request: string, device: string, shareID: string | undefined) {
  return before?.devices.find((one) =>
    one.request === request && one.device === device && one.shareID === (shareID ?? null)
  )?.cdiName;
}

/** The kubelet shows this name in the pod's status, so it contains the HCA's name. */
function cdiName(ref: ClaimRef, device: DraDevice, shareID: string | undefined, before: readonly HeldDevice[]): string {
  const hca = device.state.member.hcas[0]!.name.replace(/[^A-Za-z0-9_.-]/g, "_");
  const name = `${ref.uid}-${hca}${shareID === undefined ? "" : `-${shareID}`}`;
  const taken = before.filter((one) => one.cdiName === name || one.cdiName.startsWith(`${name}-again`)).length;
  return taken === 0 ? name : `${name}-again${taken}`;
}

function describe(name: string, device: DraDevice | undefined): string {
  return device === undefined ? name : `${name} (${device.state.member.hcas.map((hca) => hca.name).join(", ")})`;
}

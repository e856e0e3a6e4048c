/**
 * The pods that hold a device: which, from the kubelet's PodResources API; their UIDs, without which `kubectl describe pod`
 * shows no event, from the kubelet's checkpoint or the ResourceClaim, so that no right to read pods is needed.
 *
 * @module
 */
import { deviceName } from "../dra/names.ts";
import { heldByContainers, type HeldDevices } from "../kubelet/checkpoint.ts";
import type { Holder, PodsAnswer } from "../kubelet/pod_resources.ts";
import type { ApiClient } from "../kubernetes/client.ts";
import type { ObjectReference } from "../kubernetes/core_api.ts";
import { claimPath, type ResourceClaim } from "../kubernetes/resource_api.ts";
import { membersOf } from "../pool/devices.ts";
import type { PoolState } from "../pool/states.ts";

export interface PodFinderOptions {
  readonly list: () => Promise<PodsAnswer>;
  readonly kubeletDir: string;
  readonly client: Pick<ApiClient, "call">;
  /** Name and pool of the DRA driver. */
  readonly driver: string;
  readonly pool: string;
  /** The kubelet does not answer. */
  readonly onFailure: (reason: string) => void;
}

export class PodFinder {
  readonly #options: PodFinderOptions;

  constructor(options: PodFinderOptions) {
    this.#options = options;
  }

  /** Each pod once. Never rejects; empty when the kubelet does not answer. */
  async holders(poolState: PoolState, device: string): Promise<readonly ObjectReference[]> {
    const { list, kubeletDir, onFailure } = this.#options;
    const answer = await list();
    if (!answer.ok) {
      onFailure(answer.reason);
      return [];
    }
    const found = poolState.spec.api === "dra"
      ? await this.#byClaim(answer, poolState, device)
      : byDevice(answer, poolState, device, heldByContainers(kubeletDir));
    return [...new Map(found.map((one) => [`${one.namespace}/${one.name}`, one])).values()];
  }

  async #byClaim(
    { claimed }: Extract<PodsAnswer, { ok: true }>,
    { deviceStates }: PoolState,
    device: string,
  ): Promise<readonly ObjectReference[]> {
    const { client, driver, pool } = this.#options;
    const member = deviceStates.get(device)?.member;
    if (member === undefined) return [];
    const name = deviceName(member);
    const found = claimed.filter((one) => one.driver === driver && one.pool === pool && one.device === name);
    return await Promise.all(found.map(async (one) => {
      const claim = await client.call<ResourceClaim>("GET", claimPath(one.claimNamespace, one.claim));
      const users = claim.ok ? claim.value.status?.reservedFor ?? [] : [];
      return reference(one, users.find((user) => user.resource === "pods" && user.name === one.pod)?.uid ?? null);
    }));
  }
}

/** Pods with a device of that member, which in a shared resource has other IDs than the member. */
function byDevice(
  { holders }: Extract<PodsAnswer, { ok: true }>,
  poolState: PoolState,
  device: string,
  held: readonly HeldDevices[],
): readonly ObjectReference[] {
  const resource = poolState.spec.name;
  return [...holders.get(resource) ?? []].flatMap(([id, containers]) => {
    const members = membersOf(poolState, id) ?? [];
    if (!members.some((one) => one.member.id === device)) return [];
    return containers.map((one) => {
      const entry = held.find((other) =>
        other.resource === resource && other.container === one.container && other.ids.includes(id)
      );
      return reference(one, entry?.podUid ?? null);
    });
  });
}

function reference({ namespace, pod }: Holder, uid: string | null): ObjectReference {
  return { apiVersion: "v1", kind: "Pod", namespace, name: pod, ...uid === null ? {} : { uid } };
}

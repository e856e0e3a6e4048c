/**
 * The collections that a fleet is read from, and what is missing when one of them cannot be read.
 *
 * @module
 */
import type { ClaimFacts, EventFacts, FleetFacts, NodeFacts, PodFacts, SliceFacts } from "../fleet/facts.ts";
import { keepers, type Wanted } from "../fleet/keep.ts";
import type { ApiClaim, ApiEvent, ApiNode, ApiPod, ApiSlice } from "../fleet/objects.ts";
import type { ApiClient, ApiError } from "../kubernetes/client.ts";
import { Reflector } from "../kubernetes/reflector.ts";
import { SLICES_PATH } from "../kubernetes/resource_api.ts";

/** What the plugin's events are reported by. */
export const CONTROLLER = "rdma.tencent.com/device-plugin";

/** What could not be read. */
export interface Missing {
  /** The resource, as `kubectl auth can-i list` names it. */
  readonly what: string;
  readonly reason: string;
  /** What the table is without. */
  readonly without: string;
}

export interface SourceOptions {
  readonly driver: string;
  readonly wanted: Wanted;
  /** Label selector of nodes. */
  readonly selector: string | undefined;
}

const NAMES = {
  nodes: ["nodes", "capacity, conditions and labels"],
  pods: ["pods", "what is used, by which pods, and the plugin's versions"],
  slices: ["resourceslices.resource.k8s.io", "devices of dynamic resource allocation"],
  claims: ["resourceclaims.resource.k8s.io", "what is used of dynamic resource allocation, and by which pods"],
  events: ["events.events.k8s.io", "reasons, and since when"],
} as const;

export class FleetSource {
  readonly #nodes: Reflector<ApiNode, NodeFacts>;
  readonly #pods: Reflector<ApiPod, PodFacts>;
  readonly #slices: Reflector<ApiSlice, SliceFacts>;
  readonly #claims: Reflector<ApiClaim, ClaimFacts>;
  readonly #events: Reflector<ApiEvent, EventFacts>;
  #claimsRead = false;

  constructor(client: ApiClient, { driver, wanted, selector }: SourceOptions) {
    const keep = keepers(driver, wanted);
    this.#nodes = new Reflector(client, {
      path: "/api/v1/nodes",
      query: { labelSelector: selector },
      keep: keep.node,
    });
    this.#pods = new Reflector(client, {
      path: "/api/v1/pods",
      query: { fieldSelector: "status.phase!=Succeeded,status.phase!=Failed" },
      keep: keep.pod,
    });
    const slices = { path: SLICES_PATH, query: { fieldSelector: `spec.driver=${driver}` }, keep: keep.slice };
    this.#slices = new Reflector(client, slices);
    this.#claims = new Reflector(client, { path: "/apis/resource.k8s.io/v1/resourceclaims", keep: keep.claim });
    const ours = { fieldSelector: `reportingController=${CONTROLLER},regarding.kind=Node` };
    this.#events = new Reflector(client, { path: "/apis/events.k8s.io/v1/events", query: ours, keep: keep.event });
  }

  /** Reads everything, the large collections at the same time. */
  async read(signal: AbortSignal): Promise<void> {
    const withClaims = async () => {
      await this.#slices.list(signal);
      // Without devices of ours no claim can have one.
      if (this.#slices.kept.size === 0) return;
      this.#claimsRead = true;
      await this.#claims.list(signal);
    };
    await Promise.all([this.#nodes.list(signal), this.#pods.list(signal), withClaims(), this.#events.list(signal)]);
  }

  /** Follows what was read until `signal` aborts; what the server does not know or give is not asked for again. */
  async follow(onChange: () => void, signal: AbortSignal): Promise<void> {
    const all: readonly Pick<Reflector<never, unknown>, "error" | "follow">[] = [
      this.#nodes,
      this.#pods,
      this.#slices,
      this.#events,
      ...this.#claimsRead ? [this.#claims] : [],
    ];
    const readable = all.filter(({ error }) => error === null || ![403, 404].includes(error.status ?? 0));
    await Promise.all(readable.map((one) => one.follow(onChange, signal)));
  }

  get facts(): FleetFacts {
    return {
      nodes: this.#nodes.kept.values(),
      pods: this.#pods.kept.values(),
      slices: this.#slices.kept.values(),
      claims: this.#claims.kept.values(),
      events: this.#events.kept.values(),
      known: { pods: this.#pods.error === null, claims: this.#claims.error === null },
    };
  }

  /** Why nothing can be said at all; null when something was read. A selector needs the nodes. */
  get failure(): ApiError | null {
    const { error } = this.#nodes;
    if (error === null || error.status === null || error.status === 401) return error;
    const others = [this.#pods, this.#slices].every((one) => one.error !== null || one.kept.size === 0);
    return others ? error : null;
  }

  get nodesError(): ApiError | null {
    return this.#nodes.error;
  }

  get missing(): readonly Missing[] {
    const errors = {
      nodes: this.#nodes.error,
      pods: this.#pods.error,
      slices: this.#slices.error,
      claims: this.#claims.error,
      events: this.#events.error,
    };
    return Object.entries(errors).flatMap(([key, error]) => {
      // A server that does not know the API has none of its objects.
      if (error === null || error.status === 404) return [];
      const [what, without] = NAMES[key as keyof typeof NAMES];
      return [{ what, without, reason: error.message }];
    });
  }
}

/**
 * Which pod holds which device, from the kubelet's PodResources API v1, read only. Errors are returned as values,
 * because the plugin works without this information.
 *
 * @module
 */
import { exists } from "../hca/files.ts";
import { type Client, type ServiceError, status } from "@grpc/grpc-js";
import type { ListPodResourcesResponse__Output } from "../gen/v1/ListPodResourcesResponse.ts";
import { method, podResourcesServices, withoutAnswer } from "./api.ts";
import { closeClient, localClient } from "./local_client.ts";

/** Socket path; kubelet `pkg/kubelet/apis/podresources/constants.go`. */
export const POD_RESOURCES_SOCKET = "/var/lib/kubelet/pod-resources/kubelet.sock";

/** The kubelet's own limit for clients of this API is 16 MiB; 110 pods with devices need a fraction of it. */
const LONGEST_ANSWER = 16 * 1024 * 1024;

/** A container that holds a device. */
export interface Holder {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
}

/** A device of a container's ResourceClaim. */
export interface ClaimedDevice extends Holder {
  readonly claimNamespace: string;
  readonly claim: string;
  readonly driver: string;
  readonly pool: string;
  readonly device: string;
}

/** Holders by resource and device ID, and devices of claims, or the reason why they are not known. */
export type PodsAnswer =
  | {
    readonly ok: true;
    readonly holders: ReadonlyMap<string, ReadonlyMap<string, readonly Holder[]>>;
    readonly claimed: readonly ClaimedDevice[];
  }
  | { readonly ok: false; readonly reason: string };

/**
 * Asks the kubelet once. Never rejects.
 *
 * @param socket path of the kubelet's PodResources socket
 * @param timeoutMs deadline, in milliseconds
 */
export async function podsByDevice(socket: string = POD_RESOURCES_SOCKET, timeoutMs = 2_000): Promise<PodsAnswer> {
  const lister = new PodLister(socket, timeoutMs);
  try {
    return await lister.list();
  } finally {
    await lister.close();
  }
}

/** Client of the kubelet's PodResources API. It closes its connection after each request, or a while later. */
export class PodLister {
  readonly #socket: string;
  readonly #timeoutMs: number;
  /** Shared by all pending requests, so that a hanging kubelet does not collect a connection from each. */
  #client: Client | null = null;
  readonly #keepMs: number;
  #closed = false;
  /** When the connections that were given up are closed. */
  #hungUp: Promise<void> = Promise.resolve();
  #idle: ReturnType<typeof setTimeout> | undefined;

  /** @param keepMs how long the connection is kept for the next request, in milliseconds */
  constructor(socket: string, timeoutMs = 2_000, keepMs = 0) {
    this.#socket = socket;
    this.#timeoutMs = timeoutMs;
    this.#keepMs = keepMs;
  }

  /** Lists the holders. Never rejects. */
  list(): Promise<PodsAnswer> {
    const socket = this.#socket;
    if (!exists(socket)) {
      const reason = `${socket} does not exist; mount the directory into the container, or start the kubelet`;
      return Promise.resolve({ ok: false, reason });
    }
    const { path, requestSerialize, responseDeserialize } = method<object, ListPodResourcesResponse__Output>(
      podResourcesServices()["v1.PodResourcesLister"],
      "List",
    );
    clearTimeout(this.#idle);
    const client = this.#client ??= localClient(socket, { "grpc.max_receive_message_length": LONGEST_ANSWER });
    return new Promise((resolve) => {
      const options = { deadline: Date.now() + this.#timeoutMs };
      client.makeUnaryRequest(path, requestSerialize, responseDeserialize, {}, options, (error, answer) => {
        this.#rest(client, error === null ? this.#keepMs : 0);
        if (error !== null) resolve({ ok: false, reason: sentence(socket, error, this.#timeoutMs) });
        else resolve({ ok: true, holders: byDevice(answer!), claimed: claimedDevices(answer!) });
      });
    });
  }

  /** Closes the connection, answers pending requests with that, and keeps no connection from now on. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#hangUp();
    await this.#hungUp;
  }

  /** Keeps the connection of a request that has ended for a while. By then there may be a newer one. */
  #rest(client: Client, keepMs: number): void {
    if (client !== this.#client) return;
    clearTimeout(this.#idle);
    if (keepMs === 0 || this.#closed) this.#hangUp();
    else this.#idle = setTimeout(() => this.#hangUp(), keepMs);
  }

  #hangUp(): void {
    clearTimeout(this.#idle);
    const client = this.#client;
    if (client === null) return;
    this.#client = null;
    const earlier = this.#hungUp;
    this.#hungUp = closeClient(client).then(() => earlier);
  }
}

/** Inverts the kubelet's list. */
function byDevice(answer: ListPodResourcesResponse__Output): ReadonlyMap<string, ReadonlyMap<string, Holder[]>> {
  const holders = new Map<string, Map<string, Holder[]>>();
  for (const { name: pod, namespace, containers } of answer.pod_resources) {
    for (const { name: container, devices } of containers) {
      for (const { resource_name, device_ids } of devices) {
        const ofResource = holders.get(resource_name) ?? new Map<string, Holder[]>();
        holders.set(resource_name, ofResource);
        for (const id of device_ids) {
          ofResource.set(id, [...ofResource.get(id) ?? [], { namespace, pod, container }]);
        }
      }
    }
  }
  return holders;
}

function claimedDevices(answer: ListPodResourcesResponse__Output): readonly ClaimedDevice[] {
  return answer.pod_resources.flatMap(({ name: pod, namespace, containers }) =>
    containers.flatMap(({ name: container, dynamic_resources }) =>
      dynamic_resources.flatMap(({ claim_name: claim, claim_namespace: claimNamespace, claim_resources }) =>
        claim_resources.map(({ driver_name: driver, pool_name: pool, device_name: device }) => (
          { namespace, pod, container, claimNamespace, claim, driver, pool, device }
        ))
      )
    )
  );
}

function sentence(socket: string, error: ServiceError, timeoutMs: number): string {
  if (withoutAnswer(error)) {
    return `no one answers on ${socket}; the kubelet is down, or the plugin has no permission to connect (${error.details})`;
  }
  switch (error.code) {
    case status.DEADLINE_EXCEEDED:
      return `the kubelet did not answer on ${socket} within ${timeoutMs / 1e3} s`;
    case status.UNIMPLEMENTED:
      return `the kubelet on ${socket} has no PodResources v1; it came with Kubernetes 1.20`;
    default:
      return `the kubelet refused on ${socket}: ${error.details}`;
  }
}

/** Caches answers for a few seconds and shares pending requests between callers. */
export class PodResources {
  readonly #lister: Pick<PodLister, "list" | "close">;
  readonly #keepMs: number;
  #last: { readonly answer: PodsAnswer; readonly at: number } | null = null;
  #underway: Promise<PodsAnswer> | null = null;
  #failures = 0;

  /** @param keepMs how long an answer is valid, in milliseconds */
  constructor(lister: Pick<PodLister, "list" | "close">, keepMs = 5_000) {
    this.#lister = lister;
    this.#keepMs = keepMs;
  }

  /** Requests that failed since the start. */
  get failures(): number {
    return this.#failures;
  }

  /** Returns the cached answer if it is valid, otherwise a new one. Never rejects. */
  get(): Promise<PodsAnswer> {
    if (this.#last !== null && performance.now() - this.#last.at < this.#keepMs) {
      return Promise.resolve(this.#last.answer);
    }
    return this.#underway ??= this.#renew();
  }

  /** Resolves when no request is pending and the connection is closed. */
  async close(): Promise<void> {
    await this.#lister.close();
  }

  async #renew(): Promise<PodsAnswer> {
    const answer = await this.#lister.list();
    if (!answer.ok) this.#failures++;
    this.#last = { answer, at: performance.now() };
    this.#underway = null;
    return answer;
  }
}

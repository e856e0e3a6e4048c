/**
 * Admits and releases pods: chooses the devices of a container, calls the plugin, and computes what the container gets.
 * One pod at a time, as in the kubelet.
 *
 * @module
 */
import type { ContainerAllocateResponse } from "../../src/kubelet/api.ts";
import { type ContainerView, injectCdi, viewOf } from "./cdi.ts";
import { decodeResponse, encodeResponse, type PluginEndpoint } from "./endpoint.ts";
import type { History } from "./history.ts";
import { type Allocation, choose, idsOf, perNuma } from "./allocations.ts";
import type { Resources, ResourceState } from "./resources.ts";

/** A container that requests devices. */
export interface PodRequest {
  readonly name: string;
  /** Default "main". */
  readonly container?: string;
  readonly resource: string;
  readonly count: number;
  /** Device IDs that the container must get, such as those reused from the pod's init containers. */
  readonly mustInclude?: readonly string[];
  /** NUMA node of the topology manager's hint; omitted for no alignment. */
  readonly numaNode?: number;
}

/** A container that may start. */
export interface AdmittedPod {
  readonly name: string;
  readonly container: string;
  readonly resource: string;
  readonly ids: readonly string[];
  /** The plugin's answer as received (or as stored in the checkpoint). */
  readonly response: ContainerAllocateResponse;
  /** Names in `response.cdi_devices`. */
  readonly cdiDevices: readonly string[];
  /** What the runtime adds to the container: the answer and, with `cdiDirs`, the edits of the CDI specs. */
  readonly view: ContainerView;
}

/** The reason why a pod was not admitted, as in the pod's status. */
export class AdmissionError extends Error {
  override readonly name = "AdmissionError";
  /** The pod's `status.reason`. */
  readonly reason = "UnexpectedAdmissionError";
  /** gRPC code when the plugin returned an error; null when the kubelet itself rejected the pod. */
  readonly code: number | null;
  readonly resource: string;

  constructor(pod: PodRequest, cause: unknown) {
    const why = cause instanceof Error ? cause.message : String(cause);
    super(`UnexpectedAdmissionError: pod ${pod.name} cannot have ${pod.count} ${pod.resource}: ${why}`, { cause });
    this.code = codeOf(cause);
    this.resource = pod.resource;
  }
}

/** The parts of the kubelet that admission needs. */
export interface AdmissionContext {
  readonly resources: Resources;
  readonly history: History;
  readonly cdiDirs: readonly string[] | null;
  readonly persist: () => void;
}

/** The containers that hold devices. */
export class Admission {
  readonly #context: AdmissionContext;
  #allocations: readonly Allocation[] = [];

  constructor(context: AdmissionContext) {
    this.#context = context;
  }

  get allocations(): readonly Allocation[] {
    return this.#allocations;
  }

  /** Replaces everything by the content of the checkpoint. */
  load(allocations: readonly Allocation[]): void {
    this.#allocations = allocations;
  }

  /** Releases the pod's devices; true when it held any. */
  release(pod: string): boolean {
    const kept = this.#allocations.filter((allocation) => allocation.pod !== pod);
    if (kept.length === this.#allocations.length) return false;
    this.#allocations = kept;
    this.#context.persist();
    this.#context.history.record({ kind: "released", pod });
    return true;
  }

  /** @throws AdmissionError */
  async admit(pod: PodRequest): Promise<AdmittedPod> {
    try {
      const resource = this.#context.resources.get(pod.resource);
      const allocation = this.#held(pod) ?? await this.#allocate(pod, resource);
      await this.#preStart(pod, allocation, resource);
      return this.#start(pod, allocation);
    } catch (cause) {
      const error = new AdmissionError(pod, cause);
      this.#context.history.record({
        kind: "admission-failed",
        resource: pod.resource,
        pod: pod.name,
        reason: error.message,
      });
      throw error;
    }
  }

  /** A restarted container keeps its devices, without another call to the plugin. */
  #held(pod: PodRequest): Allocation | null {
    const held = this.#allocations.find((allocation) =>
      allocation.pod === pod.name && allocation.container === containerOf(pod) && allocation.resource === pod.resource
    );
    if (held === undefined) return null;
    const count = idsOf(held).length;
    if (count !== pod.count) throw new Error(`the container already holds ${count} of it and cannot change that`);
    return held;
  }

  async #allocate(pod: PodRequest, resource: ResourceState | null): Promise<Allocation> {
    const { resources, history } = this.#context;
    if (resource === null) throw new Error("no device plugin has registered this resource here");
    const ask = resource.options?.get_preferred_allocation_available
      ? (available: readonly string[], mustInclude: readonly string[], size: number) =>
        this.#prefer(pod.resource, available, mustInclude, size)
      : null;
    const ids = await choose({
      resource: pod.resource,
      devices: resource.devices,
      inUse: new Set(this.#allocations.filter((each) => each.resource === pod.resource).flatMap(idsOf)),
      count: pod.count,
      mustInclude: pod.mustInclude ?? [],
      numaNode: pod.numaNode ?? null,
    }, ask);
    const [response] = await inWords("Allocate", endpointOf(resources, pod.resource).allocate([ids]));
    if (response === undefined) throw new Error("the plugin answered Allocate without a container response");
    const allocation: Allocation = {
      pod: pod.name,
      container: containerOf(pod),
      resource: pod.resource,
      perNuma: perNuma(ids, resource.devices),
      response: encodeResponse(response),
    };
    this.#allocations = [...this.#allocations, allocation];
    this.#context.persist();
    history.record({ kind: "allocated", resource: pod.resource, pod: pod.name, ids });
    return allocation;
  }

  async #prefer(
    resource: string,
    available: readonly string[],
    mustInclude: readonly string[],
    size: number,
  ): Promise<readonly string[]> {
    const endpoint = endpointOf(this.#context.resources, resource);
    const answers = await inWords("GetPreferredAllocation", endpoint.preferred([{ available, mustInclude, size }]));
    const answer = answers[0] ?? [];
    const offered = new Set(available);
    const ignored = answer.filter((id, at) => !offered.has(id) || answer.indexOf(id) !== at || at >= size);
    this.#context.history.record({ kind: "preferred", resource, available, mustInclude, size, answer, ignored });
    return answer;
  }

  async #preStart(pod: PodRequest, allocation: Allocation, resource: ResourceState | null): Promise<void> {
    if (!resource?.options?.pre_start_required) return;
    const ids = idsOf(allocation);
    const endpoint = endpointOf(this.#context.resources, pod.resource);
    await inWords("PreStartContainer", endpoint.preStart(ids));
    this.#context.history.record({ kind: "pre-started", resource: pod.resource, pod: pod.name, ids });
  }

  #start(pod: PodRequest, allocation: Allocation): AdmittedPod {
    const response = decodeResponse(allocation.response);
    const cdiDevices = (response.cdi_devices ?? []).map((device) => device.name ?? "");
    const view = viewOf(response);
    const { cdiDirs } = this.#context;
    return {
      name: pod.name,
      container: containerOf(pod),
      resource: pod.resource,
      ids: idsOf(allocation),
      response,
      cdiDevices,
      view: cdiDirs === null ? view : injectCdi(view, cdiDevices, cdiDirs),
    };
  }
}

function containerOf(pod: PodRequest): string {
  return pod.container ?? "main";
}

function endpointOf(resources: Resources, name: string): PluginEndpoint {
  const endpoint = resources.endpoint(name);
  if (endpoint === null) throw new Error(`the device plugin of ${name} is not connected`);
  return endpoint;
}

/** Adds the name of the failed call to the plugin's message, and keeps the gRPC error as the cause. */
async function inWords<T>(call: string, answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (cause) {
    throw new Error(`${call} failed: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

function codeOf(error: unknown): number | null {
  if (!(error instanceof Error)) return null;
  const code: unknown = Reflect.get(error, "code");
  return typeof code === "number" ? code : codeOf(error.cause);
}

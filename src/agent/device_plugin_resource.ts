/**
 * One resource as the kubelet sees it: the list, and answers to Allocate and GetPreferredAllocation, computed from the
 * last state of the resource. Answers are checked against the machine before they are sent.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import { readLine } from "../hca/files.ts";
import type { Codec, ContainerAnswer } from "../device_plugin/codec.ts";
import { type DeviceSource, RequestError } from "../device_plugin/source.ts";
import { allocate, type Check, type Grant, type HostFacts } from "../pool/allocate.ts";
import { cdiGrant } from "../pool/cdi.ts";
import { devices } from "../pool/devices.ts";
import type { PoolState } from "../pool/states.ts";
import { prefer } from "../pool/prefer.ts";

export interface DevicePluginResourceOptions {
  readonly codec: Codec;
  readonly sysfsRoot: string;
  /** Scans the machine and updates the resource; resolves when that is done. */
  readonly rescan: () => Promise<void>;
  /** Whether the CDI spec that an answer refers to is on disk; used when the resource has one. */
  readonly cdiInPlace?: () => boolean;
  readonly onAllocated: (resource: string, ids: readonly string[], grant: Grant) => void;
}

/** An earlier answer, which is valid while its checks hold. */
interface Remembered {
  readonly answer: Buffer;
  readonly evidence: readonly Check[];
  readonly containers: readonly { readonly ids: readonly string[]; readonly grant: Grant }[];
}

/** Number of cached answers; a kubelet sends few distinct sets of IDs. */
const MEMORY = 1_000;

/** Larger requests (bytes) are not cached: gRPC accepts 4 MiB, and a thousand of those would be gigabytes. */
const LONGEST_REMEMBERED = 4_096;

/** The devices of one resource. */
export class DevicePluginResource implements DeviceSource {
  readonly resource: string;
  readonly #options: DevicePluginResourceOptions;
  readonly #listeners = new Set<() => void>();
  readonly #memory = new Map<string, Remembered>();
  #poolState: PoolState;
  #host: HostFacts;
  #list: Buffer;
  /** Why nothing can be allocated although devices are healthy; null when allocation is possible. */
  #refusal: string | null = null;

  constructor(poolState: PoolState, host: HostFacts, options: DevicePluginResourceOptions) {
    this.resource = poolState.spec.name;
    this.#options = options;
    this.#poolState = poolState;
    this.#host = host;
    this.#list = options.codec.list(devices(poolState));
  }

  get poolState(): PoolState {
    return this.#poolState;
  }

  /**
   * Updates the state. Subscribers are notified only if the device list changed.
   *
   * @param refusal why no container can be served now, such as a CDI spec that could not be written
   */
  update(poolState: PoolState, host: HostFacts, refusal: string | null = null): void {
    this.#refusal = refusal;
    const sameHost = host.rdmaCm === this.#host.rdmaCm && host.knem === this.#host.knem &&
      poolState.spec.expose.devices.every(({ hostPath }) =>
        String(host.ownersOf(hostPath)) === String(this.#host.ownersOf(hostPath))
      );
    this.#host = host;
    if (poolState === this.#poolState && sameHost) return;
    this.#memory.clear();
    if (poolState === this.#poolState) return;
    this.#poolState = poolState;
    const list = this.#options.codec.list(devices(poolState));
    if (list.equals(this.#list)) return;
    this.#list = list;
    for (const listener of this.#listeners) listener();
  }

  list(): Buffer {
    return this.#list;
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Answers from the cache if the checks of the cached answer still hold, which is the common case. */
  allocate(request: Buffer): Buffer | Promise<Buffer> {
    if (this.#refusal !== null || !this.#named()) return this.#retry(request);
    const key = request.toString("latin1");
    const known = this.#memory.get(key);
    if (known !== undefined && this.#verify(known.evidence)) return this.#out(known);
    return this.#allocate(request, key);
  }

  prefer(request: Buffer): Buffer {
    const { codec } = this.#options;
    const { container_requests } = decode(() => codec.preferredRequest(request), "PreferredAllocationRequest");
    return codec.preferredResponse(container_requests.map((one) =>
      prefer(this.#poolState, {
        available: one.available_deviceIDs,
        mustInclude: one.must_include_deviceIDs,
        size: one.allocation_size,
      })
    ));
  }

  /** The reason may be gone, for example when a disk has space again: scans once more, and the call waits. */
  async #retry(request: Buffer): Promise<Buffer> {
    await this.#options.rescan();
    if (this.#refusal !== null) throw new RequestError("FAILED_PRECONDITION", this.#refusal);
    if (!this.#named()) {
      const message =
        `${this.resource}: its CDI spec is removed as soon as it is written; find out what cleans the directory`;
      throw new RequestError("FAILED_PRECONDITION", message);
    }
    return this.allocate(request);
  }

  /** Whether the runtime can resolve the CDI names of an answer. */
  #named(): boolean {
    return !this.#poolState.spec.cdi || (this.#options.cdiInPlace?.() ?? true);
  }

  async #allocate(request: Buffer, key: string): Promise<Buffer> {
    const { codec, rescan } = this.#options;
    const asked = decode(() => codec.allocateRequest(request), "AllocateRequest").container_requests
      .map((container) => container.devices_ids);
    let made = this.#make(asked);
    if (!this.#verify(made.evidence)) {
      // Nodes were renumbered since the last scan, so scan again.
      await rescan();
      made = this.#make(asked);
      const wrong = made.evidence.find((one) => !this.#isMet(one));
      if (wrong !== undefined) throw new RequestError("FAILED_PRECONDITION", this.#changing(wrong));
    }
    if (this.#memory.size >= MEMORY) this.#memory.clear();
    if (key.length <= LONGEST_REMEMBERED) this.#memory.set(key, made);
    return this.#out(made);
  }

  #make(asked: readonly (readonly string[])[]): Remembered {
    const containers: { ids: readonly string[]; grant: Grant }[] = [];
    const evidence: Check[] = [];
    for (const ids of asked) {
      const outcome = allocate(this.#poolState, this.#host, ids);
      if (!outcome.ok) {
        throw new RequestError(
          outcome.reason === "unknown" ? "INVALID_ARGUMENT" : "FAILED_PRECONDITION",
          outcome.message,
        );
      }
      containers.push({ ids, grant: outcome.grant });
      evidence.push(...outcome.evidence);
    }
    const answers = containers.map(({ grant }): ContainerAnswer => ({
      grant,
      cdi: this.#poolState.spec.cdi ? cdiGrant(this.#poolState.spec, grant) : null,
    }));
    return { answer: this.#options.codec.allocateResponse(answers), evidence, containers };
  }

  #out(made: Remembered): Buffer {
    for (const { ids, grant } of made.containers) this.#options.onAllocated(this.resource, ids, grant);
    return made.answer;
  }

  #verify(evidence: readonly Check[]): boolean {
    return evidence.every((one) => this.#isMet(one));
  }

  #isMet(check: Check): boolean {
    if ("exists" in check) return this.#host.has(check.hostPath) === check.exists;
    return readLine(`${this.#options.sysfsRoot}/${check.path}`) === check.expected;
  }

  /** Why nothing can be answered now: the result of the last scan is already out of date. */
  #changing(check: Check): string {
    const later = "the pod will be admitted when it is retried";
    if ("exists" in check) {
      return `${this.resource}: ${check.hostPath} ${check.exists ? "was just removed" : "was just created"}; ${later}`;
    }
    const found = readLine(`${this.#options.sysfsRoot}/${check.path}`) ?? "nothing";
    return `${this.resource}: the nodes of ${check.hca} are changing right now (${check.path} is ${found}); ${later}`;
  }
}

function decode<T>(read: () => T, what: string): T {
  try {
    return read();
  } catch (error) {
    throw new RequestError("INVALID_ARGUMENT", `The request is not a valid ${what}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

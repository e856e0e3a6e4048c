/**
 * One resource as the kubelet sees it: the list, and answers to Allocate and GetPreferredAllocation, all made from the
 * last state of the resource. Here the pure policy meets the wire format and the one check against the machine.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import { readLine, readOnce } from "../hca/files.ts";
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
  /** Scans of the machine now and updates the offer; resolves when that is done. */
  readonly rescan: () => Promise<void>;
  /** Whether the CDI spec that an answer would name is on disk; asked when the resource has one. */
  readonly cdiInPlace?: () => boolean;
  readonly onAllocated: (resource: string, ids: readonly string[], grant: Grant) => void;
}

/** An answer that was given before and still is right while its evidence holds. */
interface Remembered {
  readonly answer: Buffer;
  readonly evidence: readonly Check[];
  readonly containers: readonly { readonly ids: readonly string[]; readonly grant: Grant }[];
}

/** Answers that are remembered; a kubelet asks for few distinct sets of IDs. */
const MEMORY = 1_000;

/** Requests of more bytes are not remembered: gRPC takes 4 MiB, and a thousand of those would be gigabytes. */
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
  /** Why nothing can be allocated now although devices are healthy; null when nothing stands in the way. */
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
   * Takes over what is known now. Subscribers hear of it only if the kubelet's list is another one.
   *
   * @param refusal why no container can be served at the moment, such as a CDI spec that could not be written
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

  /** Answers at once from memory when the machine still agrees; that is the path of a quiet day. */
  allocate(request: Buffer): Buffer | Promise<Buffer> {
    if (this.#refusal !== null || !this.#named()) return this.#retry(request);
    const key = request.toString("latin1");
    const known = this.#memory.get(key);
    if (known !== undefined && this.#holds(known.evidence)) return this.#out(known);
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

  /** What stood in the way may be gone, as when a disk has room again: a scan tries once more, and the call waits. */
  async #retry(request: Buffer): Promise<Buffer> {
    await this.#options.rescan();
    if (this.#refusal !== null) throw new RequestError("FAILED_PRECONDITION", this.#refusal);
    if (!this.#named()) {
      const message = `${this.resource}: its CDI spec vanishes as soon as it is written; see who cleans the directory`;
      throw new RequestError("FAILED_PRECONDITION", message);
    }
    return this.allocate(request);
  }

  /** Whether what an answer would name can be found by the runtime. */
  #named(): boolean {
    return !this.#poolState.spec.cdi || (this.#options.cdiInPlace?.() ?? true);
  }

  async #allocate(request: Buffer, key: string): Promise<Buffer> {
    const { codec, rescan } = this.#options;
    const asked = decode(() => codec.allocateRequest(request), "AllocateRequest").container_requests
      .map((container) => container.devices_ids);
    let made = this.#make(asked);
    if (!this.#holds(made.evidence)) {
      // Nodes were renumbered since the last scan. The machine is asked, not believed from memory.
      await rescan();
      made = this.#make(asked);
      const wrong = made.evidence.find((one) => !this.#true(one));
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

  #holds(evidence: readonly Check[]): boolean {
    return evidence.every((one) => this.#true(one));
  }

  #true(check: Check): boolean {
    if ("exists" in check) return this.#host.has(check.hostPath) === check.exists;
    return readOnce(`${this.#options.sysfsRoot}/${check.path}`) === check.says;
  }

  /** Why nothing can be answered at this moment: what was just read does not hold any more. */
  #changing(check: Check): string {
    const later = "the pod will be admitted when it is tried again";
    if ("exists" in check) {
      return `${this.resource}: ${check.hostPath} ${check.exists ? "has just gone" : "has just appeared"}; ${later}`;
    }
    const says = readLine(`${this.#options.sysfsRoot}/${check.path}`) ?? "nothing";
    return `${this.resource}: the nodes of ${check.hca} are changing right now (${check.path} says ${says}); ${later}`;
  }
}

function decode<T>(read: () => T, what: string): T {
  try {
    return read();
  } catch (error) {
    throw new RequestError("INVALID_ARGUMENT", `These bytes are no ${what}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

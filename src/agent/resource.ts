/**
 * One resource: its pool's state, its CDI file, the answers made from both, and the session that serves them to the
 * kubelet. Created, updated and closed together.
 *
 * @module
 */
import type { Codec } from "../device_plugin/codec.ts";
import { type RegistrationMode, Session, type SessionStatus, type Timing } from "../device_plugin/session.ts";
import type { HostFacts } from "../pool/allocate.ts";
import type { Hca } from "../hca/types.ts";
import type { PoolState } from "../pool/states.ts";
import type { Log } from "../text/log.ts";
import type { CdiSpecs } from "./cdi.ts";
import { DevicePluginResource } from "./device_plugin_resource.ts";
import type { Observers } from "./observer.ts";

/** Options shared by all resources of an agent. */
export interface ResourceOptions {
  readonly kubeletDir: string;
  readonly registryDir: string;
  readonly registration: RegistrationMode;
  readonly sysfsRoot: string;
  readonly cdi: CdiSpecs;
  readonly codec: Codec;
  readonly log: Log;
  readonly observers: Observers;
  /** Scans the machine; resolves when every resource is up to date. */
  readonly rescan: (detail: string) => Promise<void>;
  readonly timing: Partial<Timing>;
}

export class Resource {
  readonly name: string;
  readonly #options: ResourceOptions;
  readonly #answers: DevicePluginResource;
  readonly #session: Session;

  constructor(poolState: PoolState, host: HostFacts, options: ResourceOptions) {
    const resource = this.name = poolState.spec.name;
    this.#options = options;
    const { log, observers } = options;
    this.#answers = new DevicePluginResource(poolState, host, {
      codec: options.codec,
      sysfsRoot: options.sysfsRoot,
      rescan: () => options.rescan(`an Allocate of ${resource} cannot be answered from the last scan`),
      cdiInPlace: () => options.cdi.isInPlace(resource),
      onAllocated: (name, ids, grant) => {
        options.cdi.answered(name, ids);
        observers.onAllocated(name, ids, grant);
      },
    });
    this.#session = new Session(this.#answers, {
      kubeletDir: options.kubeletDir,
      registryDir: options.registryDir,
      mode: options.registration,
      note: ({ level, code, message }) => log[level](message, { resource, code }),
      onStatus: (status) => {
        observers.onSession(status);
        observers.onState();
      },
      events: {
        onListSent: (bytes) => observers.onListSent(resource, bytes),
        onCall: (method, seconds, refused) => {
          if (refused !== null) log.warn(`${method} refused: ${refused.message}`, { resource, code: refused.code });
          observers.onCall(resource, method, seconds, refused);
        },
      },
      timing: options.timing,
    });
    this.#session.reconcile();
  }

  get status(): SessionStatus {
    return this.#session.status;
  }

  /**
   * Whether {@link update} has work to do although nothing changed: free disk space or a deleted spec causes no event.
   */
  get hasPendingWork(): boolean {
    return this.#options.cdi.needsWriting(this.name);
  }

  /**
   * Applies the state of a scan. Writes the CDI file first: an answer must not refer to a missing file.
   *
   * @param hcas every HCA of the machine, selected or not
   */
  update(poolState: PoolState, host: HostFacts, hcas: readonly Hca[]): void {
    this.#answers.update(poolState, host, this.#writeCdi(poolState, host, hcas));
  }

  /** Called when the kubelet's directories changed. */
  kubeletDirChanged(): void {
    this.#session.kubeletDirChanged();
  }

  /** Registers with the kubelet again although nothing seems to be missing (SIGHUP). */
  reregister(): void {
    this.#session.reregister();
  }

  /** Probes our own socket, and serves again if it does not answer. */
  probe(): void {
    this.#session.probe();
  }

  /**
   * Ends with the plugin: completes pending calls, which may refer to the CDI file, then removes the file unless
   * needed.
   */
  async close(): Promise<void> {
    await this.#session.close();
    this.#options.cdi.end(this.name);
  }

  /**
   * Ends this resource only. The CDI file is removed first, because a later resource of the same name writes its own.
   */
  async retire(): Promise<void> {
    this.#options.cdi.end(this.name);
    await this.#session.close();
  }

  /** Writes the spec if there is one. Returns null on success, otherwise the reason. */
  #writeCdi(poolState: PoolState, host: HostFacts, hcas: readonly Hca[]): string | null {
    if (poolState.spec.cdi) return this.#options.cdi.write(poolState, host, this.status.socket, hcas);
    this.#options.cdi.end(this.name);
    return null;
  }
}

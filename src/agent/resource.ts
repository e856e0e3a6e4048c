/**
 * One resource as one thing: its pool's state, its CDI file, the answers made from both, and the session that serves
 * them to the kubelet. Created, updated and closed together.
 *
 * @module
 */
import type { Codec } from "../device_plugin/codec.ts";
import { type RegistrationMode, Session, type SessionStatus, type Timing } from "../device_plugin/session.ts";
import type { CdiFiles } from "../kubelet/cdi_files.ts";
import type { HostFacts } from "../pool/allocate.ts";
import { cdiSpec } from "../pool/cdi.ts";
import type { PoolState } from "../pool/states.ts";
import type { Log } from "../text/log.ts";
import { DevicePluginResource } from "./device_plugin_resource.ts";
import type { Observers } from "./observer.ts";

/** What all resources of an agent share. */
export interface ResourceOptions {
  readonly kubeletDir: string;
  readonly registryDir: string;
  readonly registration: RegistrationMode;
  readonly sysfsRoot: string;
  readonly cdi: CdiFiles;
  readonly codec: Codec;
  readonly log: Log;
  readonly observers: Observers;
  /** Scans the machine now; resolves when every resource is up to date. */
  readonly rescan: (detail: string) => Promise<void>;
  readonly timing: Partial<Timing>;
}

export class Resource {
  readonly name: string;
  readonly #options: ResourceOptions;
  readonly #answers: DevicePluginResource;
  readonly #session: Session;
  /** Why the CDI spec could not be written; null when it was, or when none is wanted. */
  #cdiFailure: string | null = null;

  constructor(poolState: PoolState, host: HostFacts, options: ResourceOptions) {
    const resource = this.name = poolState.spec.name;
    this.#options = options;
    const { log, observers } = options;
    this.#answers = new DevicePluginResource(poolState, host, {
      codec: options.codec,
      sysfsRoot: options.sysfsRoot,
      rescan: () => options.rescan(`an Allocate of ${resource} cannot be answered from the last scan`),
      onAllocated: (name, ids, grant) => observers.onAllocated(name, ids, grant),
    });
    this.#session = new Session(this.#answers, {
      kubeletDir: options.kubeletDir,
      registryDir: options.registryDir,
      mode: options.registration,
      note: ({ level, message }) => log[level](message, { resource }),
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
    this.#session.poke();
  }

  get status(): SessionStatus {
    return this.#session.status;
  }

  /** Whether {@link update} has something to retry although nothing changed: a disk that has room again is no event. */
  get hasPendingWork(): boolean {
    return this.#cdiFailure !== null;
  }

  /** Takes over the state of a scan. The CDI file comes first: no answer may name what no file describes. */
  update(poolState: PoolState, host: HostFacts): void {
    this.#writeCdi(poolState, host);
    this.#answers.update(poolState, host, this.#cdiFailure);
  }

  /** The kubelet's directories changed. */
  kubeletDirChanged(): void {
    this.#session.nudge();
  }

  /** Registers with the kubelet again although nothing seems to be missing (SIGHUP). */
  reregister(): void {
    this.#session.reregister();
  }

  /** Dials our own socket, and serves again when nothing answers. */
  probe(): void {
    this.#session.prove();
  }

  /** The plugin ends: finishes calls in flight, whose answers may name the CDI file, then removes it. */
  async close(): Promise<void> {
    await this.#session.close();
    this.#removeCdi();
  }

  /** The resource alone ends. Its CDI file goes first: a later resource of the same name writes its own. */
  async retire(): Promise<void> {
    this.#removeCdi();
    await this.#session.close();
  }

  #writeCdi(poolState: PoolState, host: HostFacts): void {
    const { cdi, log } = this.#options;
    if (!poolState.spec.cdi) {
      this.#removeCdi();
      return;
    }
    try {
      cdi.write(this.name, cdiSpec(poolState, host, this.status.socket));
      if (this.#cdiFailure !== null) log.info("the CDI spec is written now", { resource: this.name });
      this.#cdiFailure = null;
    } catch (error) {
      const { message } = error as Error;
      if (this.#cdiFailure === null) log.error(message, { resource: this.name });
      this.#cdiFailure = message;
    }
  }

  #removeCdi(): void {
    this.#cdiFailure = null;
    const left = this.#options.cdi.remove(this.name);
    if (left !== null) this.#options.log.warn(`Cannot remove ${left}; the next plugin that starts does, when it can`);
  }
}

/**
 * The registered resources: the current endpoint of each, its last list, and the timer that runs while it has no
 * endpoint.
 *
 * @module
 */
import { HEALTHY, UNHEALTHY } from "../../src/kubelet/api.ts";
import type { DevicePluginOptions, PluginEndpoint } from "./endpoint.ts";
import type { History, Via } from "./history.ts";
import { type DeviceState, fromList } from "./allocations.ts";

/** One resource in a snapshot of the state. */
export interface ResourceState {
  readonly name: string;
  /** Socket path of the current endpoint; null after its stream ended, or when only known from the checkpoint. */
  readonly endpoint: string | null;
  readonly via: Via | null;
  readonly devices: readonly DeviceState[];
  /** Healthy and unhealthy devices. */
  readonly capacity: number;
  /** Healthy devices. */
  readonly allocatable: number;
  /** Lists received over all endpoints of this resource since the kubelet started. */
  readonly lists: number;
  /** null when the kubelet did not request them. */
  readonly options: DevicePluginOptions | null;
}

interface Resource {
  endpoint: PluginEndpoint | null;
  /** Endpoints that were replaced; the kubelet keeps reading their streams. */
  readonly earlier: Set<PluginEndpoint>;
  /** Endpoints whose end is not noticed any more, since another one with the same path was refused. */
  readonly untracked: Set<PluginEndpoint>;
  via: Via | null;
  devices: readonly DeviceState[];
  lists: number;
  options: DevicePluginOptions | null;
  expiry: ReturnType<typeof setTimeout> | null;
}

/** How a kubelet identifies endpoints of one resource: not at all (up to 1.36), or by socket path (since 1.37). */
export type EndpointKeys = "resource" | "path";

/** Options of the table. */
export interface ResourcesOptions {
  readonly history: History;
  /** Milliseconds that a resource without endpoint stays on the node. */
  readonly endpointTtlMs: number;
  readonly endpointKeys: EndpointKeys;
  /** Called after the devices of a resource changed, before the event is recorded. */
  readonly changed: () => void;
}

/** The resources by name. */
export class Resources {
  readonly #options: ResourcesOptions;
  readonly #table = new Map<string, Resource>();
  /** When the last connections are closed. */
  #closed: Promise<void> = Promise.resolve();

  constructor(options: ResourcesOptions) {
    this.#options = options;
  }

  /** Adds a resource from the checkpoint: on the node without devices, until its plugin returns or the time is over. */
  remember(name: string): void {
    this.#expire(name, this.#get(name));
  }

  /**
   * Makes a connected endpoint the current one of `name`. The previous one stays connected, as with the real kubelet:
   * its lists still count, and when its stream ends the kubelet up to 1.36 disconnects the current endpoint.
   *
   * @throws Error as kubelet 1.37 does, when the path is connected; as there, the connected endpoint is lost track of
   */
  adopt(name: string, endpoint: PluginEndpoint, options: DevicePluginOptions, via: Via): void {
    const resource = this.#get(name);
    const before = resource.endpoint;
    if (this.#options.endpointKeys === "path") {
      const connected = [before, ...resource.earlier].find((one) => one?.socket === endpoint.socket);
      if (connected) {
        resource.untracked.add(connected);
        throw new Error(`device plugin already connected: ${endpoint.socket}`);
      }
    }
    clearTimeout(resource.expiry ?? undefined);
    Object.assign(resource, { endpoint, options, via, expiry: null });
    if (before !== null) resource.earlier.add(before);
    this.#options.history.record({ kind: "registered", resource: name, endpoint: endpoint.socket, via });
  }

  /** Opens ListAndWatch on `endpoint`, if it is still the current one of `name`. */
  watch(name: string, endpoint: PluginEndpoint): void {
    const resource = this.#table.get(name);
    if (resource?.endpoint !== endpoint) return;
    endpoint.watch({
      onList: (list) => {
        resource.devices = fromList(list);
        resource.lists += 1;
        this.#options.changed();
        this.#options.history.record({ kind: "list", resource: name, devices: resource.devices });
      },
      onEnd: (reason) => this.#ended(name, endpoint, reason),
    });
  }

  /** A stream has ended: up to 1.36 disconnects the current endpoint, even if it was the stream of an earlier one. */
  #ended(name: string, endpoint: PluginEndpoint, reason: string): void {
    const resource = this.#table.get(name);
    if (resource === undefined || resource.untracked.has(endpoint)) return;
    const wasEarlier = resource.earlier.delete(endpoint);
    if (wasEarlier) this.close(endpoint);
    if (wasEarlier && this.#options.endpointKeys === "path") return;
    if (resource.endpoint !== null) this.disconnect(name, resource.endpoint, reason);
  }

  /** Removes a lost or rejected endpoint: its devices become unhealthy. No effect if another one is current. */
  disconnect(name: string, endpoint: PluginEndpoint, reason: string): void {
    const resource = this.#table.get(name);
    if (resource?.endpoint !== endpoint) return;
    this.close(endpoint);
    const [remaining] = this.#options.endpointKeys === "path" ? resource.earlier : [];
    if (remaining !== undefined) {
      resource.earlier.delete(remaining);
      resource.endpoint = remaining;
      return;
    }
    resource.endpoint = null;
    resource.devices = resource.devices.map((device) =>
      device.health === HEALTHY ? { ...device, health: UNHEALTHY } : device
    );
    this.#expire(name, resource);
    this.#options.changed();
    this.#options.history.record({ kind: "stream-ended", resource: name, reason });
  }

  /** The current endpoint of a resource; null when no plugin is connected. */
  endpoint(name: string): PluginEndpoint | null {
    return this.#table.get(name)?.endpoint ?? null;
  }

  get(name: string): ResourceState | null {
    const resource = this.#table.get(name);
    if (resource === undefined) return null;
    const { endpoint, via, devices, lists, options } = resource;
    return {
      name,
      endpoint: endpoint?.socket ?? null,
      via,
      devices,
      capacity: devices.length,
      allocatable: devices.filter((device) => device.health === HEALTHY).length,
      lists,
      options,
    };
  }

  /** Every resource by name, in order. */
  all(): Record<string, ResourceState> {
    const names = [...this.#table.keys()].sort();
    return Object.fromEntries(names.flatMap((name) => {
      const resource = this.get(name);
      return resource === null ? [] : [[name, resource]];
    }));
  }

  /** Resource name → healthy device IDs, for the checkpoint. */
  healthyIds(): Record<string, readonly string[]> {
    const healthy = (resource: Resource) => resource.devices.filter(({ health }) => health === HEALTHY);
    return Object.fromEntries(
      [...this.#table].map(([name, resource]) => [name, healthy(resource).map(({ id }) => id)]),
    );
  }

  /** Closes every connection and clears the state, as at the end of the process; resolves when no timer is left. */
  async clear(): Promise<void> {
    for (const { endpoint, earlier, expiry } of this.#table.values()) {
      clearTimeout(expiry ?? undefined);
      for (const one of endpoint === null ? earlier : [endpoint, ...earlier]) this.close(one);
    }
    this.#table.clear();
    await this.#closed;
  }

  /** Closes a connection; {@link clear} waits for its end. */
  close(endpoint: PluginEndpoint): void {
    const earlier = this.#closed;
    this.#closed = endpoint.close().then(() => earlier);
  }

  #get(name: string): Resource {
    const known = this.#table.get(name);
    if (known !== undefined) return known;
    const fresh: Resource = {
      endpoint: null,
      earlier: new Set(),
      untracked: new Set(),
      via: null,
      devices: [],
      lists: 0,
      options: null,
      expiry: null,
    };
    this.#table.set(name, fresh);
    return fresh;
  }

  #expire(name: string, resource: Resource): void {
    resource.expiry = setTimeout(() => {
      this.#table.delete(name);
      this.#options.changed();
      this.#options.history.record({ kind: "dropped", resource: name });
    }, this.#options.endpointTtlMs);
  }
}

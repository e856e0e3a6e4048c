/**
 * The kubelet's plugin watcher: asks every socket in `plugins_registry` for its plugin info, registers device plugins
 * and notifies them of the result, and deregisters sockets that were removed.
 *
 * Unlike the real watcher it ignores subdirectories.
 *
 * @module
 */
import { type FSWatcher, readdirSync, statSync, watch } from "node:fs";
import { basename, join } from "node:path";
import { API_VERSION, method, watcherServices } from "../../src/kubelet/api.ts";
import { identityOf } from "../../src/kubelet/socket_file.ts";
import type { PluginInfo__Output as PluginInfo } from "../../src/gen/pluginregistration/PluginInfo.ts";
import { closeClient } from "../../src/kubelet/local_client.ts";
import { dial, unary } from "./dial.ts";

/** The plugin type handled by the kubelet's device manager. */
const DEVICE_PLUGIN = "DevicePlugin";
/** The plugin type handled by its DRA manager. */
const DRA_PLUGIN = "DRAPlugin";
/** Milliseconds. The pause before the next attempt with a failed socket, doubled each time. */
const RETRY_MS = 500;
const RETRY_MAX_MS = 120_000;

/** The callbacks of a watcher. */
export interface WatcherHandler {
  /** Registers the plugin; rejects with the reason. */
  register(found: { resource: string; endpoint: string; versions: readonly string[] }): Promise<void>;
  /** The same for a DRA driver; without it such a plugin is refused. */
  registerDra?(found: { driver: string; endpoint: string; versions: readonly string[] }): Promise<void>;
  deregister(resource: string, endpoint: string): void;
  /** Logs a line; also called for sockets that are not plugins. */
  log(line: string): void;
}

interface Watched {
  /** Differs when the socket file was replaced. */
  readonly identity: string;
  registered: { resource: string; endpoint: string } | null;
  retry: ReturnType<typeof setTimeout> | null;
}

/** Milliseconds that the kubelet gives a plugin for the two calls of its watcher. */
const INFO_TIMEOUT_MS = 1_000;
const NOTIFY_TIMEOUT_MS = 5_000;

/** Watches one directory from `start()` to `stop()`. */
export class PluginWatcher {
  readonly #dir: string;
  readonly #dialTimeoutMs: number;
  readonly #signal: AbortSignal;
  readonly #handler: WatcherHandler;
  readonly #sockets = new Map<string, Watched>();
  readonly #busy = new Set<Promise<void>>();
  #watcher: FSWatcher | null = null;

  /** `signal` cancels dialling; abort it before `stop()`. */
  constructor(dir: string, dialTimeoutMs: number, signal: AbortSignal, handler: WatcherHandler) {
    this.#dir = dir;
    this.#signal = signal;
    this.#dialTimeoutMs = dialTimeoutMs;
    this.#handler = handler;
  }

  start(): void {
    // Watching starts before the scan, so that a socket that appears in between is seen twice rather than missed.
    this.#watcher = watch(this.#dir, () => this.#applyScan());
    this.#watcher.on("error", (error) => this.#handler.log(`plugin watcher: ${error.message}`));
    this.#applyScan();
  }

  /** Stops watching and waits for pending calls; deregisters no plugins. */
  async stop(): Promise<void> {
    this.#watcher?.close();
    this.#watcher = null;
    for (const watched of this.#sockets.values()) clearTimeout(watched.retry ?? undefined);
    this.#sockets.clear();
    await Promise.all(this.#busy);
  }

  #applyScan(): void {
    if (this.#watcher === null) return;
    const found = this.#list();
    for (const [name, watched] of [...this.#sockets]) {
      if (found.get(name) === watched.identity) continue;
      this.#sockets.delete(name);
      clearTimeout(watched.retry ?? undefined);
      if (watched.registered !== null) {
        this.#handler.deregister(watched.registered.resource, watched.registered.endpoint);
      }
    }
    for (const [name, identity] of found) {
      if (this.#sockets.has(name)) continue;
      const watched: Watched = { identity, registered: null, retry: null };
      this.#sockets.set(name, watched);
      this.#attend(name, watched, RETRY_MS);
    }
  }

  /** Sockets by name with their identity; names with a leading dot are ignored, as in the kubelet. */
  #list(): Map<string, string> {
    const found = new Map<string, string>();
    for (const name of readdirSync(this.#dir)) {
      if (name.startsWith(".")) continue;
      const path = join(this.#dir, name);
      const identity = identityOf(path);
      if (identity !== null && statSync(path, { throwIfNoEntry: false })?.isSocket()) found.set(name, identity);
    }
    return found;
  }

  #attend(name: string, watched: Watched, retryMs: number): void {
    const current = () => this.#watcher !== null && this.#sockets.get(name) === watched;
    const talk = this.#introduce(join(this.#dir, name), watched, current).catch((error: unknown) => {
      this.#handler.log(`plugin watcher: ${name}: ${error instanceof Error ? error.message : error}`);
      if (!current()) return;
      watched.retry = setTimeout(() => this.#attend(name, watched, Math.min(2 * retryMs, RETRY_MAX_MS)), retryMs);
    }).finally(() => this.#busy.delete(talk));
    this.#busy.add(talk);
  }

  async #introduce(path: string, watched: Watched, current: () => boolean): Promise<void> {
    const service = watcherServices()["pluginregistration.Registration"];
    const client = await dial(path, this.#dialTimeoutMs, this.#signal, encodeURIComponent(path));
    try {
      const info = await unary(
        client,
        method<object, PluginInfo>(service, "GetInfo"),
        {},
        this.#signal,
        INFO_TIMEOUT_MS,
      );
      const notify = (error: string) =>
        unary(
          client,
          method<object, object>(service, "NotifyRegistrationStatus"),
          {
            plugin_registered: error === "",
            error,
          },
          this.#signal,
          NOTIFY_TIMEOUT_MS,
        );
      const fault = await this.#take(path, info, watched, current);
      await notify(fault ?? "");
      if (fault !== null) throw new Error(fault);
    } finally {
      await closeClient(client);
    }
  }

  async #take(path: string, info: PluginInfo, watched: Watched, current: () => boolean): Promise<string | null> {
    if (info.type === DRA_PLUGIN && this.#handler.registerDra !== undefined) {
      try {
        const { name: driver, endpoint, supported_versions: versions } = info;
        await this.#handler.registerDra({ driver, endpoint, versions });
      } catch (error) {
        return `registration of ${info.name} failed: ${error instanceof Error ? error.message : error}`;
      }
      this.#settle(path, watched, current, { resource: info.name, endpoint: info.endpoint });
      return null;
    }
    if (info.type !== DEVICE_PLUGIN) {
      return `no handler here for plugins of type ${JSON.stringify(info.type)}, only for ${DEVICE_PLUGIN}`;
    }
    const endpoint = info.endpoint === "" ? path : info.endpoint;
    const versions = info.supported_versions;
    if (!versions.includes(API_VERSION)) {
      return `${info.name} supports versions [${versions.join(", ")}], this kubelet needs ${API_VERSION}`;
    }
    try {
      await this.#handler.register({ resource: info.name, endpoint, versions });
    } catch (error) {
      return `registration of ${info.name} failed: ${error instanceof Error ? error.message : error}`;
    }
    this.#settle(path, watched, current, { resource: info.name, endpoint });
    return null;
  }

  /**
   * Notes a registration. If the socket was removed meanwhile, it is deregistered; if another one is at its path by
   * now, that one's registration counts, which has the same endpoint.
   */
  #settle(
    path: string,
    watched: Watched,
    current: () => boolean,
    registered: NonNullable<Watched["registered"]>,
  ): void {
    if (current()) watched.registered = registered;
    else if (!this.#sockets.has(basename(path))) this.#handler.deregister(registered.resource, registered.endpoint);
  }
}

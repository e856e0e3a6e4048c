/**
 * The server of a session: starts it on a new socket, probes, replaces and releases it.
 *
 * @module
 */
import { API_VERSION } from "../kubelet/api.ts";
import { watcherService } from "../kubelet/plugin_watcher.ts";
import { probeSocket } from "../kubelet/socket_probe.ts";
import { PluginServer, type ServerEvents } from "./server.ts";
import type { Mode, ServerFacts } from "./session_facts.ts";
import type { SessionOptions, Timing } from "./session_options.ts";
import type { Outcome } from "./session_outcomes.ts";
import type { DeviceSource } from "./source.ts";

/** At most one current server, and earlier ones that are being released. */
export class SessionServer {
  readonly #source: DeviceSource;
  readonly #options: Pick<SessionOptions, "note" | "events">;
  readonly #timing: Timing;
  readonly #onNews: (news: Outcome) => void;
  readonly #stop = new AbortController();
  readonly #leaving = new Set<Promise<void>>();
  #current: { readonly server: PluginServer; probedAt: number } | null = null;

  /** @param onNews called for what the kubelet does on the current server */
  constructor(
    source: DeviceSource,
    options: Pick<SessionOptions, "note" | "events">,
    timing: Timing,
    onNews: (news: Outcome) => void,
  ) {
    this.#source = source;
    this.#options = options;
    this.#timing = timing;
    this.#onNews = onNews;
  }

  get facts(): ServerFacts | null {
    if (this.#current === null) return null;
    const { server, probedAt } = this.#current;
    return { identity: server.identity, streams: server.streams, probedAt };
  }

  /**
   * Serves on a new socket, replacing the current server.
   *
   * @throws when the path cannot be served; the previous server then continues
   */
  async listen(path: string, mode: Mode): Promise<void> {
    let mine: PluginServer | null = null;
    // Events of a server that is being released do not concern its successor.
    const tell = (news: Outcome) => {
      if (mine !== null && mine === this.#current?.server) this.#onNews(news);
    };
    let before = 0;
    const events: ServerEvents = {
      ...this.#options.events,
      onStreams: (open, oldestEnded) => {
        const news: Outcome = { kind: "streams", open, before, oldestEnded };
        before = open;
        tell(news);
      },
    };
    const { resource } = this.#source;
    const info = { type: "DevicePlugin", name: resource, endpoint: path, supported_versions: [API_VERSION] };
    const watcher = mode === "watcher" ? watcherService(info, (refusal) => tell({ kind: "watched", refusal })) : null;
    const server = await PluginServer.listen(path, this.#source, events, watcher);
    this.release(0);
    mine = server;
    this.#current = { server, probedAt: performance.now() };
    this.#options.note({ level: "debug", code: "serving", message: `serving on ${path}` });
    if (server.swept === 0) return;
    const message = `removed ${server.swept} unfinished sockets of killed plugins`;
    this.#options.note({ level: "info", code: "sockets-swept", message });
  }

  /** Makes the next step probe the server, even if it was probed recently. */
  probeSoon(): void {
    if (this.#current !== null) this.#current.probedAt = -Infinity;
  }

  /** Whether the server still answers. */
  async probe(path: string): Promise<boolean> {
    if (this.#current !== null) this.#current.probedAt = performance.now();
    // Probes twice: in a process that was stopped, the first timeout expires when it continues.
    for (let attempt = 0; attempt < 2; attempt++) {
      const found = await probeSocket(path, { speaksWithinMs: this.#timing.probeTimeoutMs });
      if (found === "answers" || found === "unknown") return true;
    }
    return false;
  }

  /** Releases the server when its streams end or after this time (ms); removes its socket only if it is still ours. */
  release(lingerMs: number): void {
    if (this.#current === null) return;
    const { server } = this.#current;
    this.#current = null;
    const leaving = this.#leave(server, lingerMs).finally(() => this.#leaving.delete(leaving));
    this.#leaving.add(leaving);
  }

  /** Ends all servers at once; resolves when all have ended. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.release(0);
    await Promise.all(this.#leaving);
  }

  async #leave(server: PluginServer, lingerMs: number): Promise<void> {
    if (lingerMs > 0) await server.left(lingerMs, this.#stop.signal);
    try {
      await server.close(this.#timing.drainTimeoutMs);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const message = `Cannot close ${server.path} cleanly: ${reason}`;
      this.#options.note({ level: "error", code: "socket-failed", message });
    }
  }
}

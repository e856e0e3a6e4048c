/**
 * Executes the actions of a session: probes, serves, releases servers, calls Register.
 *
 * @module
 */
import { basename } from "node:path";
import { type FileIdentity, identityOf, linkHidden, removeIfOurs } from "../kubelet/socket_file.ts";
import { isServed } from "../kubelet/socket_probe.ts";
import { register, RegistrationError } from "./registration.ts";
import { kubeletPath, type Mode, type Plan, type ServerFacts, socketPath } from "./session_facts.ts";
import type { SessionOptions } from "./session_options.ts";
import type { Outcome } from "./session_outcomes.ts";
import { SessionServer } from "./session_server.ts";
import type { Action } from "./session_state.ts";
import type { DeviceSource } from "./source.ts";

export class SessionExecutor {
  readonly #plan: Plan;
  readonly #server: SessionServer;
  readonly #onNews: (news: Outcome) => void;
  readonly #stop = new AbortController();
  /** Register calls in progress. */
  readonly #calls = new Set<Promise<void>>();

  /** @param onNews called for events while no action is awaited */
  constructor(
    source: DeviceSource,
    options: Pick<SessionOptions, "note" | "events">,
    plan: Plan,
    onNews: (news: Outcome) => void,
  ) {
    this.#plan = plan;
    this.#onNews = onNews;
    this.#server = new SessionServer(source, options, plan.timing, onNews);
  }

  get server(): ServerFacts | null {
    return this.#server.facts;
  }

  /** Makes the next step probe our server, even if it was probed recently. */
  probeSoon(): void {
    this.#server.probeSoon();
  }

  /**
   * Executes one action. Never throws.
   *
   * @param served receives probe results
   * @returns the outcome, when it is more than the next observation shows
   */
  async execute(
    action: Exclude<Action, { do: "wait" }>,
    mode: Mode,
    served: Map<FileIdentity, boolean>,
  ): Promise<Outcome | null> {
    const path = socketPath(this.#plan, mode);
    switch (action.do) {
      case "probe": {
        const { target, identity } = action;
        const found = target === "server"
          ? this.#server.probe(path)
          : isServed(target === "other" ? path : kubeletPath(this.#plan));
        served.set(identity, await found);
        return null;
      }
      case "listen":
        try {
          await this.#server.listen(path, mode);
          return { kind: "listening" };
        } catch (error) {
          return { kind: "broken", reason: messageOf(error) };
        }
      case "release":
        this.#server.release(action.lingerMs);
        return null;
      case "register": {
        const call = this.#register(action.call).then(this.#onNews).finally(() => this.#calls.delete(call));
        this.#calls.add(call);
        return null;
      }
    }
  }

  /** Cancels calls and stops all servers; resolves when all have ended. */
  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.all([this.#server.close(), ...this.#calls]);
  }

  /**
   * Registers with a hidden name of the socket that only this call uses and that is removed after it. Since 1.37 the
   * kubelet identifies a plugin by resource and socket path and refuses a path that is still connected: that of the old
   * plugin in a rolling update, or our own when we register again. After such a refusal it also no longer notices the
   * end of the connected plugin. Up to 1.36 the name does not matter.
   */
  async #register(call: number): Promise<Outcome> {
    const path = socketPath(this.#plan, "socket");
    const hidden = linkHidden(path);
    const identity = hidden === null ? null : identityOf(hidden);
    try {
      await register(kubeletPath(this.#plan), this.#plan.resource, basename(hidden ?? path), this.#stop.signal);
      return { kind: "accepted", call };
    } catch (error) {
      const unreachable = error instanceof RegistrationError && error.unreachable;
      return { kind: "refused", call, reason: messageOf(error), unreachable };
    } finally {
      if (hidden !== null) removeQuietly(hidden, identity);
    }
  }
}

/** As {@link removeIfOurs}, but a file that cannot be removed is left for the next sweep. */
function removeQuietly(path: string, identity: FileIdentity | null): void {
  try {
    removeIfOurs(path, identity);
  } catch {
    return;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/**
 * Carries out the actions of a session: probes, serves, lets servers go, calls Register.
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
  /** Register calls under way. */
  readonly #calls = new Set<Promise<void>>();

  /** @param onNews gets what happens while no action is being waited for */
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

  /** The next step probes our server, however short a time ago that was done. */
  probeSoon(): void {
    this.#server.probeSoon();
  }

  /**
   * Carries out one action. Never throws.
   *
   * @param served takes what a probe finds
   * @returns the outcome, when it is more than what the next observation shows
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

  /** Gives up calls and ends every server; resolves when all are gone. */
  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.all([this.#server.close(), ...this.#calls]);
  }

  /**
   * The kubelet is given a name of the socket that is this call's alone, which is gone when it has dialled. From 1.37 on
   * it keeps plugins apart by their sockets' paths and refuses a path that is still connected: that of the plugin before
   * us in a rolling update, or our own when we register again. Such a refusal also makes it lose track of the one that
   * is connected, until it restarts, so it is never brought about. Before 1.37 the name does not matter.
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

/** What cannot be removed now, the next plugin sweeps. */
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

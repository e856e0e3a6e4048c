/**
 * One resource's life with the kubelet: serve, register, notice when either is no longer so, and put it right.
 *
 * This is the executor: it observes the facts, asks the pure step ({@link next}) for an action, carries it out, and hands
 * the outcome to the pure {@link after}. What causes a step carries nothing; losing it costs time, not truth.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { type FileIdentity, identityOf, socketName } from "../kubelet/socket_file.ts";
import { isServed } from "../kubelet/socket_probe.ts";
import { register, RegistrationError } from "./registration.ts";
import { kubeletPath, observe, type Plan, socketPath } from "./session_facts.ts";
import { type SessionOptions, type SessionStatus, TIMING } from "./session_options.ts";
import { after, type Outcome } from "./session_outcomes.ts";
import { SessionServer } from "./session_server.ts";
import { type Action, initialState, type State, type Step } from "./session_state.ts";
import { next } from "./session_step.ts";
import type { DeviceSource } from "./source.ts";

export type { Phase, RegistrationMode, SessionNote, SessionOptions, SessionStatus, Timing } from "./session_options.ts";

/** Serves and registers one resource until it is closed. */
export class Session {
  readonly #options: SessionOptions;
  readonly #plan: Plan;
  readonly #server: SessionServer;
  readonly #stop = new AbortController();
  /** Register calls under way. */
  readonly #calls = new Set<Promise<void>>();
  #state: State;
  #status: SessionStatus;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running: Promise<void> | null = null;
  #again = false;

  constructor(source: DeviceSource, options: SessionOptions) {
    const { kubeletDir, registryDir, mode } = options;
    const timing = { ...TIMING, ...options.timing };
    this.#options = options;
    this.#plan = { resource: source.resource, kubeletDir, registryDir, fallback: mode === "auto", timing };
    this.#server = new SessionServer(source, options, timing, (news) => this.#happened(news));
    this.#state = initialState(mode === "auto" ? existsSync(registryDir) ? "watcher" : "socket" : mode);
    this.#status = this.#describe();
  }

  get status(): SessionStatus {
    return this.#status;
  }

  /** Something may have changed: compares what is with what should be, and acts. Cheap when nothing has changed. */
  reconcile(): void {
    if (this.#stop.signal.aborted) return;
    this.#again = true;
    this.#running ??= Promise.resolve().then(() => this.#run());
  }

  /** As {@link reconcile}, when the kubelet's directory changed: a new kubelet need not wait for the back-off of the old. */
  kubeletDirChanged(): void {
    this.#happened({ kind: "kubeletDirChanged", kubelet: identityOf(kubeletPath(this.#plan)) });
  }

  /**
   * Registers again although nothing seems to be missing (SIGHUP), also after a registration that is under way, and
   * probes our socket.
   */
  reregister(): void {
    this.#server.probeSoon();
    this.#happened({ kind: "reregister" });
  }

  /** As {@link reconcile}, and probes our own socket: something happened that a listener may not have lived through. */
  probe(): void {
    this.#server.probeSoon();
    this.reconcile();
  }

  /** Ends streams, finishes calls in flight, removes the socket. */
  async close(): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#timer);
    await Promise.all([this.#server.close(), this.#running]);
    // A socket may have been in the making.
    await Promise.all([this.#server.close(), ...this.#calls]);
    this.#state = { ...this.#state, phase: "stopped", reason: null };
    this.#report();
  }

  async #run(): Promise<void> {
    while (this.#again && !this.#stop.signal.aborted) {
      this.#again = false;
      // What probes find counts for one pass only.
      const served = new Map<FileIdentity, boolean>();
      let action = this.#step(served);
      while (action.do !== "wait" && !this.#stop.signal.aborted) {
        await this.#execute(action, served);
        action = this.#step(served);
      }
    }
    this.#running = null;
  }

  /** Observes, decides and reports. @returns what is to be done now; a wait is arranged already */
  #step(served: ReadonlyMap<FileIdentity, boolean>): Action {
    if (this.#stop.signal.aborted) return { do: "wait", until: Infinity };
    const now = performance.now();
    const facts = observe(this.#plan, this.#state.mode, this.#server.facts, served);
    const { action, ...taken } = next(this.#state, facts, now, this.#plan);
    this.#take(taken);
    clearTimeout(this.#timer);
    if (action.do === "wait" && action.until !== Infinity) {
      this.#timer = setTimeout(() => this.reconcile(), Math.max(0, Math.ceil(action.until - now)));
    }
    return action;
  }

  async #execute(action: Exclude<Action, { do: "wait" }>, served: Map<FileIdentity, boolean>): Promise<void> {
    const path = socketPath(this.#plan, this.#state.mode);
    switch (action.do) {
      case "probe": {
        const { target, identity } = action;
        const found = target === "server"
          ? this.#server.probe(path)
          : isServed(target === "other" ? path : kubeletPath(this.#plan));
        served.set(identity, await found);
        return;
      }
      case "listen":
        try {
          await this.#server.listen(path, this.#state.mode);
          this.#settle({ kind: "listening" });
        } catch (error) {
          this.#settle({ kind: "broken", reason: messageOf(error) });
        }
        return;
      case "release":
        this.#server.release(action.lingerMs);
        return;
      case "register": {
        const call = this.#register(action.call).finally(() => this.#calls.delete(call));
        this.#calls.add(call);
      }
    }
  }

  async #register(call: number): Promise<void> {
    const { resource } = this.#plan;
    try {
      await register(kubeletPath(this.#plan), resource, socketName(resource), this.#stop.signal);
      this.#happened({ kind: "accepted", call });
    } catch (error) {
      const unreachable = error instanceof RegistrationError && error.unreachable;
      this.#happened({ kind: "refused", call, reason: messageOf(error), unreachable });
    }
  }

  /** News from outside a step are taken in at once, and a step follows. */
  #happened(news: Outcome): void {
    this.#settle(news);
    this.reconcile();
  }

  #settle(outcome: Outcome): void {
    if (!this.#stop.signal.aborted) this.#take(after(this.#state, outcome, performance.now(), this.#plan));
  }

  #take({ state, notes }: Omit<Step, "action">): void {
    this.#state = state;
    for (const note of notes) this.#options.note(note);
    this.#report();
  }

  #report(): void {
    const status = this.#describe();
    if (JSON.stringify(status) === JSON.stringify(this.#status)) return;
    this.#status = status;
    this.#options.onStatus(status);
  }

  #describe(): SessionStatus {
    const { mode, phase, reason, history } = this.#state;
    return {
      resource: this.#plan.resource,
      phase,
      via: mode,
      socket: socketPath(this.#plan, mode),
      streams: this.#server.facts?.streams ?? 0,
      registrations: history.registrations,
      reason,
    };
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

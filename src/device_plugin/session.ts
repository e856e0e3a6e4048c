/**
 * The session of one resource with the kubelet: serves it, registers it, and restores both when they are lost.
 *
 * A loop around pure functions: it observes the facts, {@link next} chooses one action, the executor performs it, and
 * {@link after} records the outcome. Events that cause a step carry no state, so a lost event only causes a delay.
 *
 * @module
 */
import { exists } from "../hca/files.ts";
import { type FileIdentity, identityOf } from "../kubelet/socket_file.ts";
import { SessionExecutor } from "./session_executor.ts";
import { kubeletPath, observe, type Plan, socketPath } from "./session_facts.ts";
import { type SessionOptions, type SessionStatus, TIMING } from "./session_options.ts";
import { after, type Outcome } from "./session_outcomes.ts";
import { type Action, initialState, type State, type Step } from "./session_state.ts";
import { next } from "./session_step.ts";
import type { DeviceSource } from "./source.ts";

export type { Phase, RegistrationMode, SessionNote, SessionOptions, SessionStatus, Timing } from "./session_options.ts";

/** Serves and registers one resource until it is closed. */
export class Session {
  readonly #options: SessionOptions;
  readonly #plan: Plan;
  readonly #executor: SessionExecutor;
  #state: State;
  #status: SessionStatus;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running: Promise<void> | null = null;
  #again = false;
  #closed = false;

  constructor(source: DeviceSource, options: SessionOptions) {
    const { kubeletDir, registryDir, mode } = options;
    const timing = { ...TIMING, ...options.timing };
    this.#options = options;
    this.#plan = { resource: source.resource, kubeletDir, registryDir, fallback: mode === "auto", timing };
    this.#executor = new SessionExecutor(source, options, this.#plan, (news) => this.#happened(news));
    this.#state = initialState(mode === "auto" ? exists(registryDir) ? "watcher" : "socket" : mode);
    this.#status = this.#describe();
  }

  get status(): SessionStatus {
    return this.#status;
  }

  /**
   * Compares the actual with the desired state and acts. Called when something may have changed; cheap when nothing
   * did.
   */
  reconcile(): void {
    if (this.#closed) return;
    this.#again = true;
    this.#running ??= Promise.resolve().then(() => this.#run());
  }

  /**
   * As {@link reconcile}, after a change in the kubelet's directory: a new kubelet does not wait for the old backoff.
   */
  kubeletDirChanged(): void {
    this.#happened({ kind: "kubeletDirChanged", kubelet: identityOf(kubeletPath(this.#plan)) });
  }

  /**
   * Registers again although nothing seems to be missing (SIGHUP), also after a registration in progress, and probes
   * our socket.
   */
  reregister(): void {
    this.#executor.probeSoon();
    this.#happened({ kind: "reregister" });
  }

  /** As {@link reconcile}, and probes our own socket, after an event that may have broken the listener. */
  probe(): void {
    this.#executor.probeSoon();
    this.reconcile();
  }

  /** Ends streams, completes pending calls, removes the socket. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await Promise.all([this.#executor.close(), this.#running]);
    // A socket may have been created in the meantime.
    await this.#executor.close();
    this.#state = { ...this.#state, phase: "stopped", code: "stopped", reason: null };
    this.#report();
  }

  async #run(): Promise<void> {
    while (this.#again && !this.#closed) {
      this.#again = false;
      // Probe results are valid for one pass only.
      const served = new Map<FileIdentity, boolean>();
      let action = this.#step(served);
      while (action.do !== "wait" && !this.#closed) {
        const outcome = await this.#executor.execute(action, this.#state.mode, served);
        if (outcome !== null) this.#settle(outcome);
        action = this.#step(served);
      }
    }
    this.#running = null;
  }

  /** Observes, decides and reports. @returns the next action; a wait is already scheduled */
  #step(served: ReadonlyMap<FileIdentity, boolean>): Action {
    if (this.#closed) return { do: "wait", until: Infinity };
    const now = performance.now();
    const facts = observe(this.#plan, this.#state.mode, this.#executor.server, served);
    const { action, ...taken } = next(this.#state, facts, now, this.#plan);
    this.#take(taken);
    clearTimeout(this.#timer);
    if (action.do === "wait" && action.until !== Infinity) {
      this.#timer = setTimeout(() => this.reconcile(), Math.max(0, Math.ceil(action.until - now)));
    }
    return action;
  }

  /** Applies an outcome from outside a step at once, then makes a step. */
  #happened(news: Outcome): void {
    this.#settle(news);
    this.reconcile();
  }

  #settle(outcome: Outcome): void {
    if (!this.#closed) this.#take(after(this.#state, outcome, performance.now(), this.#plan));
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
    const { mode, phase, code, reason, history } = this.#state;
    return {
      resource: this.#plan.resource,
      phase,
      via: mode,
      socket: socketPath(this.#plan, mode),
      streams: this.#executor.server?.streams ?? 0,
      registrations: history.registrations,
      code,
      reason,
    };
  }
}

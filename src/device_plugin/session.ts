/**
 * One resource's life with the kubelet: serve, register, notice when either is no longer so, and mend it.
 *
 * Level-triggered: every poke compares what should be with what is (our socket is ours and in place, the kubelet that
 * is there now knows us, a stream is open) and does the next thing that is missing. Losing a poke costs time, not truth.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { KUBELET_SOCKET } from "../kubelet/api.ts";
import { register, RegistrationError, watcherService } from "./registration.ts";
import { PluginServer, type ServerEvents } from "./server.ts";
import { type FileIdentity, identityOf, isAlive, socketName, speaks } from "../kubelet/socket_file.ts";
import {
  type Phase,
  type SessionNote,
  type SessionOptions,
  type SessionStatus,
  TIMING,
  type Timing,
} from "./session_options.ts";
import type { DeviceSource } from "./source.ts";

export type { Phase, RegistrationMode, SessionNote, SessionOptions, SessionStatus, Timing } from "./session_options.ts";

/** So many streams that end at once are no restart any more. */
const PATIENCE = 4;
const OFF_AND_ON = "the kubelet takes the registration and ends its stream at once, again and again; " +
  "its log says why, and it is tried with growing pauses";

/** Serves and registers one resource until it is closed. */
export class Session {
  readonly #source: DeviceSource;
  readonly #options: SessionOptions;
  readonly #timing: Timing;
  readonly #stop = new AbortController();
  /** Servers and calls on their way out. */
  readonly #closing = new Set<Promise<void>>();
  #via: "socket" | "watcher";
  #server: PluginServer | null = null;
  /** Since when a plugin watcher could have found our socket. */
  #shownAt = 0;
  /** Whether the plugin watcher has to be shown another socket: it comes for new files only. */
  #stale = false;
  /** Whether our socket has to be dialled before it counts as served on. */
  #unproven = false;
  /** Somebody else's socket at our path, to whom we leave it as long as they live. */
  #yieldedTo: FileIdentity | null = null;
  /** The kubelet.sock that accepted us, or null when we have to register. */
  #knownTo: FileIdentity | null = null;
  #registeredAt = 0;
  /** Counts the times that a registration was asked for; one that began earlier does not serve. */
  #round = 0;
  #registrations = 0;
  /** The kubelet.sock that was tried last: a new one need not wait for the back-off of the old. */
  #tried: FileIdentity | null = null;
  #failures = 0;
  /** Streams in a row that the kubelet ended soon after it had registered us. */
  #brief = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #look: ReturnType<typeof setTimeout> | undefined;
  #proof: ReturnType<typeof setTimeout> | undefined;
  #running: Promise<void> | null = null;
  /** The Register call that counts; what an older one brings is no longer of interest. */
  #registering: symbol | null = null;
  #again = false;
  #status: SessionStatus;

  constructor(source: DeviceSource, options: SessionOptions) {
    this.#source = source;
    this.#options = options;
    this.#timing = { ...TIMING, ...options.timing };
    this.#via = this.#way();
    this.#status = {
      resource: source.resource,
      phase: "waiting",
      via: this.#via,
      socket: this.#socket,
      streams: 0,
      registrations: 0,
      trouble: "it has not started",
    };
  }

  get status(): SessionStatus {
    return this.#status;
  }

  /** Something may have changed: compare and mend. Cheap when nothing has. */
  poke(): void {
    if (this.#stop.signal.aborted) return;
    this.#again = true;
    this.#running ??= this.#work();
  }

  /** As {@link poke}, when the kubelet's directory changed: a new kubelet need not wait for the back-off of the old. */
  nudge(): void {
    const kubelet = identityOf(this.#kubeletSocket);
    if (kubelet !== null && kubelet !== this.#tried) {
      this.#forgetTrouble();
    }
    this.poke();
  }

  /**
   * Registers again although nothing seems to be missing (SIGHUP), also after a registration that is under way, and
   * proves that our socket is answered.
   */
  reregister(): void {
    this.#round++;
    this.#knownTo = null;
    this.#stale = this.#unproven = true;
    this.#forgetTrouble();
    this.poke();
  }

  /** As {@link poke}, and dials our own socket first: something happened that a listener may not have lived through. */
  prove(): void {
    this.#unproven = true;
    this.poke();
  }

  /** Ends streams, finishes calls in flight, removes the socket. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#forgetFailures();
    clearTimeout(this.#look);
    clearTimeout(this.#proof);
    this.#drop();
    await this.#running;
    this.#drop();
    await Promise.all(this.#closing);
    this.#report("stopped", null);
  }

  get #kubeletSocket(): string {
    return join(this.#options.kubeletDir, KUBELET_SOCKET);
  }

  get #socket(): string {
    const dir = this.#via === "watcher" ? this.#options.registryDir : this.#options.kubeletDir;
    return join(dir, socketName(this.#source.resource));
  }

  #way(): "socket" | "watcher" {
    const { mode, registryDir } = this.#options;
    return mode === "auto" ? existsSync(registryDir) ? "watcher" : "socket" : mode;
  }

  async #work(): Promise<void> {
    while (this.#again && !this.#stop.signal.aborted) {
      this.#again = false;
      try {
        if (!await this.#serve()) continue;
        if (this.#via === "watcher") await this.#beFound();
        else this.#beKnown();
      } catch (error) {
        this.#failed("error", error instanceof Error ? error.message : String(error));
      }
    }
    this.#running = null;
  }

  /** Step one: our socket is in place and ours. False when nothing more can be done now. */
  async #serve(): Promise<boolean> {
    const there = identityOf(this.#socket);
    if (this.#server !== null && there === this.#server.identity) {
      if (!this.#unproven || await this.#answers()) return this.#server !== null;
      if (this.#stop.signal.aborted) return false;
      this.#note("warn", `${this.#socket} takes no connections any more; serving anew`);
      // Not ended at once: the kubelet's stream may be as good as ever.
      this.#drop(this.#timing.handOverMs);
    }
    if (this.#server !== null && there !== null) {
      // What is being told now would come true of whoever is at our path, and must not pass for ours later.
      this.#registering = null;
      if (await isAlive(this.#socket)) {
        this.#yieldedTo = there;
        this.#note("warn", `another process serves ${this.#socket} now and has the resource; this one stands by`);
      }
      // The kubelet ends our stream when it has taken the newer one's registration. Were it ended here, a pod that comes
      // in between would find a resource without devices.
      this.#drop(this.#timing.handOverMs);
    }
    // The newer process wins. It is asked whether it lives, not who it is: it may have made its socket anew.
    if (this.#yieldedTo !== null && there !== null && await isAlive(this.#socket)) {
      // A process that is killed leaves its file as it was: nothing tells of its end but dialling it.
      this.#lookIn(this.#timing.absentMs);
      this.#report("standby", `${this.#socket} is served by another process`);
      return false;
    }
    this.#yieldedTo = null;
    if (this.#retry !== undefined) return false;
    if (!existsSync(dirname(this.#socket))) {
      this.#drop();
      this.#wait(
        `${dirname(this.#socket)} does not exist; it is the kubelet's to make, or another directory than the kubelet's`,
      );
      return false;
    }
    if (this.#server !== null && this.#failures === 0) {
      this.#note("info", `${this.#socket} was removed, as a kubelet does when it starts; serving again`);
    }
    await this.#listen();
    return true;
  }

  async #listen(): Promise<void> {
    const watcher = this.#via === "watcher"
      ? watcherService(this.#source.resource, this.#socket, (refused) => this.#watcherSaid(refused))
      : null;
    let mine: PluginServer | null = null;
    const events: ServerEvents = {
      ...this.#options.events,
      // Streams of a server on its way out say nothing about the one that took its place.
      onStreams: (open) => {
        if (mine !== null && mine === this.#server) this.#streams(open);
      },
    };
    const server = await PluginServer.listen(this.#socket, this.#source, events, watcher);
    this.#drop();
    this.#server = mine = server;
    this.#shownAt = performance.now();
    this.#stale = this.#unproven = false;
    this.#proveLater();
    this.#note("debug", `serving on ${this.#socket}`);
    if (server.swept > 0) {
      this.#note("info", `removed ${server.swept} unfinished sockets that killed plugins left behind`);
    }
  }

  /** Twice, since a process that was stopped meanwhile finds its patience over when it goes on. */
  async #answers(): Promise<boolean> {
    const { answerMs } = this.#timing;
    this.#unproven = false;
    this.#proveLater();
    return await speaks(this.#socket, answerMs) !== false || await speaks(this.#socket, answerMs) !== false;
  }

  #proveLater(): void {
    clearTimeout(this.#proof);
    if (this.#stop.signal.aborted) return;
    this.#proof = setTimeout(() => this.prove(), this.#timing.proofMs);
  }

  /** A stream was opened or has ended. The kubelet never opens a second one by itself: without one it has to be told. */
  #streams(open: number): void {
    if (open === 0) {
      this.#knownTo = null;
      this.#stale = true;
      this.#brief = performance.now() - this.#registeredAt < this.#timing.streamMs ? this.#brief + 1 : 0;
    } else if (open > this.#status.streams) this.#stale = false;
    this.#report(this.#status.phase, this.#status.trouble);
    this.poke();
  }

  /** Step two, by Register: the kubelet that is there now knows us and follows the list. */
  #beKnown(): void {
    const kubelet = identityOf(this.#kubeletSocket);
    if (kubelet === null) {
      this.#knownTo = null;
      return this.#wait(`${this.#kubeletSocket} is not there; the kubelet is down, or uses another directory`);
    }
    if (this.#knownTo === kubelet) {
      if (this.#server!.streams > 0) return this.#report("registered", null);
      const due = this.#registeredAt + this.#timing.streamMs - performance.now();
      if (due > 0) return this.#lookIn(due);
      this.#note("warn", "the kubelet accepted the registration, but never asked for the list; registering again");
      this.#knownTo = null;
    }
    // What is being told to a kubelet that is no more may take until the deadline; the new one should not wait for it.
    if (this.#registering !== null && this.#tried !== kubelet) this.#registering = null;
    if (this.#retry !== undefined || this.#registering !== null) return;
    if (this.#tried === kubelet && this.#tooSoon(this.#registeredAt)) return;
    this.#tried = kubelet;
    if (this.#status.phase !== "waiting") {
      this.#report("registering", this.#status.trouble ?? "the kubelet is being told");
    }
    // Not awaited: the kubelet dials back inside the call, and when it has just wiped its directory the socket it
    // dials must be made anew meanwhile.
    const attempt = Symbol();
    this.#registering = attempt;
    const done = this.#register(kubelet, attempt).finally(() => {
      this.#closing.delete(done);
      if (this.#registering !== attempt) return;
      this.#registering = null;
      this.poke();
    });
    this.#closing.add(done);
  }

  async #register(kubelet: FileIdentity, attempt: symbol): Promise<void> {
    const { resource } = this.#source;
    const round = this.#round;
    try {
      await register(this.#kubeletSocket, resource, socketName(resource), this.#stop.signal);
      if (this.#registering !== attempt) return;
      if (round === this.#round) this.#knownTo = kubelet;
      this.#accepted();
    } catch (error) {
      if (this.#registering !== attempt) return;
      if (error instanceof RegistrationError && error.unreachable) {
        this.#failed("info", `nobody answers on ${this.#kubeletSocket}; waiting for the kubelet`);
      } else {
        this.#failed("warn", `the kubelet refused the registration: ${(error as Error).message}`);
      }
    }
  }

  /** Whether a kubelet that ends its streams as soon as they are there is to be left alone for a while longer. */
  #tooSoon(last: number): boolean {
    if (this.#brief === 0) return false;
    const due = last + this.#pause(this.#brief - 1) - performance.now();
    if (due <= 0) return false;
    const trouble = this.#brief < PATIENCE ? "the kubelet has ended its stream" : OFF_AND_ON;
    if (this.#brief === PATIENCE && this.#status.trouble !== trouble) this.#note("warn", trouble);
    this.#report("registering", trouble);
    this.#lookIn(due);
    return true;
  }

  /** Step two, by the plugin watcher: the kubelet finds the socket by itself, and comes. */
  async #beFound(): Promise<void> {
    if (this.#server!.streams > 0 && !this.#stale) return this.#report("registered", null);
    if (!await this.#kubeletIsUp()) {
      // A kubelet that starts looks at every socket that is there.
      this.#stale = false;
      this.#shownAt = performance.now();
      return this.#wait(`nobody answers on ${this.#kubeletSocket}; the kubelet is down`);
    }
    if (this.#stale) {
      if (this.#tooSoon(this.#shownAt)) return;
      this.#note("debug", "the plugin watcher is shown a new socket");
      this.#drop(this.#timing.handOverMs);
      return this.poke();
    }
    const due = this.#shownAt + this.#timing.streamMs - performance.now();
    if (due > 0) {
      if (this.#status.phase !== "waiting") this.#report("registering", "the plugin watcher has not come yet");
      return this.#lookIn(due);
    }
    if (this.#options.mode === "auto" && existsSync(this.#kubeletSocket)) {
      this.#note("warn", `no plugin watcher came to ${this.#socket}; registering on ${this.#kubeletSocket} instead`);
      this.#drop();
      this.#via = "socket";
      return this.poke();
    }
    if (this.#retry !== undefined) return;
    // The watcher comes for new files only, so it is shown one.
    this.#drop();
    this.#failed("info", `no plugin watcher came to ${this.#socket}; is the kubelet up?`);
  }

  /** Where its directory is not mounted, it is taken to be up. */
  async #kubeletIsUp(): Promise<boolean> {
    return !existsSync(this.#options.kubeletDir) || await isAlive(this.#kubeletSocket);
  }

  #watcherSaid(refused: string | null): void {
    if (refused === null) return this.#accepted();
    this.#drop();
    this.#failed("warn", `the kubelet's plugin watcher refused the registration: ${refused}`);
  }

  #accepted(): void {
    const tries = this.#failures === 0 ? "" : `, after ${this.#failures} failed tries`;
    this.#registrations++;
    this.#registeredAt = performance.now();
    this.#forgetFailures();
    this.#note("info", `registered with the kubelet${tries}`);
    this.#report(
      this.#server !== null && this.#server.streams > 0 ? "registered" : "registering",
      "the kubelet has not asked for the list yet",
    );
    this.poke();
  }

  #wait(trouble: string): void {
    if (this.#status.phase !== "waiting" || this.#status.trouble !== trouble) {
      this.#note("info", `waiting for the kubelet: ${trouble}`);
    }
    this.#lookIn(this.#timing.absentMs);
    this.#report("waiting", trouble);
  }

  /** Retries later: 0.2 s, 0.4 s, … capped. What fails in the same way again is not said again above debug. */
  #failed(level: "info" | "warn" | "error", trouble: string): void {
    if (this.#stop.signal.aborted) return;
    const delay = this.#pause(this.#failures);
    this.#failures++;
    const again = this.#status.trouble === trouble;
    this.#note(again ? "debug" : level, again ? `${trouble}; try ${this.#failures}` : `${trouble}; will be retried`);
    this.#report(level === "info" ? "waiting" : "registering", trouble);
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.poke();
    }, delay);
  }

  /** Milliseconds to wait after one more than so many failures. */
  #pause(before: number): number {
    return Math.min(this.#timing.firstRetryMs * 2 ** before, this.#timing.longestRetryMs);
  }

  /** Nothing that went wrong before holds the next try back. */
  #forgetTrouble(): void {
    this.#brief = 0;
    this.#forgetFailures();
  }

  #forgetFailures(): void {
    this.#failures = 0;
    clearTimeout(this.#retry);
    this.#retry = undefined;
  }

  #lookIn(ms: number): void {
    clearTimeout(this.#look);
    if (this.#stop.signal.aborted) return;
    this.#look = setTimeout(() => this.poke(), ms);
  }

  /** Lets the server go, after so many ms unless its streams are ended before; its socket is removed only if still ours. */
  #drop(lingerMs = 0): void {
    const server = this.#server;
    if (server === null) return;
    this.#server = null;
    this.#knownTo = null;
    const closing = this.#close(server, lingerMs).finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }

  async #close(server: PluginServer, lingerMs: number): Promise<void> {
    if (lingerMs > 0) await server.left(lingerMs, this.#stop.signal);
    try {
      await server.close(this.#timing.drainMs);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.#note("error", `Cannot close ${server.path} cleanly: ${why}`);
    }
  }

  #note(level: SessionNote["level"], message: string): void {
    this.#options.note({ level, message });
  }

  #report(phase: Phase, trouble: string | null): void {
    const next: SessionStatus = {
      resource: this.#source.resource,
      phase,
      via: this.#via,
      socket: this.#socket,
      streams: this.#server?.streams ?? 0,
      registrations: this.#registrations,
      trouble: phase === "registered" || phase === "stopped" ? null : trouble,
    };
    if (JSON.stringify(next) === JSON.stringify(this.#status)) return;
    this.#status = next;
    this.#options.onStatus(next);
  }
}

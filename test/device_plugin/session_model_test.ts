/**
 * The pure step of a session in a world made of values: whatever happens in whatever order, no pass goes round in
 * circles, and once the world is in order the resource is registered.
 */
import { equal, ok } from "@std/assert";
import fc from "fast-check";
import type { Facts, Mode, Plan } from "../../src/device_plugin/session_facts.ts";
import { TIMING } from "../../src/device_plugin/session_options.ts";
import { after, type Outcome } from "../../src/device_plugin/session_outcomes.ts";
import { type Action, initialState, type State } from "../../src/device_plugin/session_state.ts";
import { next } from "../../src/device_plugin/session_step.ts";

/** More actions than any pass needs: probe, release, probe, release, listen, register. */
const MAX_ACTIONS = 8;

interface Socket {
  readonly id: string;
  alive: boolean;
}

/** What can happen. */
const EVENTS = [
  "kubelet starts",
  "kubelet dies",
  "kubelet restarts and wipes",
  "kubelet restarts without an event",
  "stream is dropped",
  "call is answered",
  "call is refused",
  "call finds no one",
  "another plugin takes the path",
  "the other plugin is killed",
  "the other plugin leaves",
  "our server goes deaf",
  "directory goes",
  "directory comes",
  "a request",
  "a probe",
  "a while",
  "a long while",
] as const;
type Event = typeof EVENTS[number];

class World {
  now = 0;
  readonly plan: Plan;
  state: State;
  wakeAt = 0;
  #ids = 0;
  #kubelet: Socket | null = null;
  #dir = true;
  /** What is at our path, and our server, which may be at no path any more. */
  #at: Socket | null = null;
  #server: { readonly socket: Socket; streams: number; probedAt: number } | null = null;
  #call: { readonly call: number; readonly kubelet: Socket | null } | null = null;
  /** The socket that the plugin watcher has been to. */
  #seen: string | null = null;

  constructor(mode: Mode, fallback: boolean, private readonly watches: boolean) {
    this.plan = { resource: "example.com/rdma", kubeletDir: "/k", registryDir: "/r", fallback, timing: TIMING };
    this.state = initialState(mode);
  }

  get isFollowed(): boolean {
    return this.state.phase === "registered" && this.#server !== null && this.#server.streams > 0 &&
      this.#server.socket === this.#at && this.#server.socket.alive;
  }

  happen(event: Event): void {
    switch (event) {
      case "kubelet starts":
        this.#kubelet ??= this.#socket();
        return this.#dirChanged();
      case "kubelet dies":
        this.#kubelet = null;
        this.#streams(0);
        return this.#dirChanged();
      case "kubelet restarts and wipes":
        this.#at = null;
        this.#kubelet = this.#socket();
        this.#streams(0);
        return this.#dirChanged();
      case "kubelet restarts without an event":
        this.#kubelet = this.#socket();
        return;
      case "stream is dropped":
        return this.#streams(0);
      case "call is answered":
        return this.#answer("accepted");
      case "call is refused":
        return this.#answer("refused");
      case "call finds no one":
        return this.#answer("unreachable");
      case "another plugin takes the path":
        if (this.#dir) this.#at = this.#socket();
        return;
      case "the other plugin is killed":
        if (this.#at !== null && this.#at !== this.#server?.socket) this.#at.alive = false;
        return;
      case "the other plugin leaves":
        if (this.#at !== this.#server?.socket) this.#at = null;
        return;
      case "our server goes deaf":
        if (this.#server !== null) this.#server.socket.alive = false;
        return;
      case "directory goes":
        this.#dir = false;
        this.#at = this.#kubelet = null;
        return;
      case "directory comes":
        this.#dir = true;
        return;
      case "a request":
        return this.tell({ kind: "reregister" });
      case "a probe":
        if (this.#server !== null) this.#server.probedAt = -Infinity;
        return;
      case "a while":
        this.now += 300;
        return;
      case "a long while":
        this.now += 70_000;
    }
  }

  /** One pass, to its wait. */
  reconcile(): void {
    const served = new Map<string, boolean>();
    for (let actions = 0;; actions++) {
      ok(actions < MAX_ACTIONS, `${actions} actions in a pass: ${JSON.stringify(this.state)}`);
      const step = next(this.state, this.#facts(served), this.now, this.plan);
      this.state = step.state;
      if (step.action.do === "wait") {
        this.wakeAt = step.action.until;
        return;
      }
      this.#execute(step.action, served);
    }
  }

  tell(outcome: Outcome): void {
    this.state = after(this.state, outcome, this.now, this.plan).state;
  }

  /** The kubelet's plugin watcher comes to a socket that it does not know yet. */
  watcherComes(): void {
    if (!this.watches || this.state.mode !== "watcher" || this.#kubelet === null || this.#server === null) return;
    const { socket } = this.#server;
    if (this.#at !== socket || !socket.alive || this.#seen === this.#kubelet.id + socket.id) return;
    this.#seen = this.#kubelet.id + socket.id;
    this.#streams(1);
    this.tell({ kind: "watched", refusal: null });
  }

  #execute(action: Exclude<Action, { do: "wait" }>, served: Map<string, boolean>): void {
    switch (action.do) {
      case "probe":
        if (action.target === "server") this.#server!.probedAt = this.now;
        served.set(action.identity, action.target === "kubelet" ? this.#kubelet !== null : this.#at?.alive ?? false);
        return;
      case "listen":
        if (!this.#dir) return this.tell({ kind: "broken", reason: "no directory" });
        this.#at = this.#socket();
        this.#server = { socket: this.#at, streams: 0, probedAt: this.now };
        return this.tell({ kind: "listening" });
      case "release":
        this.#server = null;
        return;
      case "register":
        this.#call = { call: action.call, kubelet: this.#kubelet };
    }
  }

  /** The kubelet opens its stream inside the call when it finds our server at the path. */
  #answer(how: "accepted" | "refused" | "unreachable"): void {
    const call = this.#call;
    if (call === null) return;
    this.#call = null;
    const isThere = call.kubelet !== null && call.kubelet === this.#kubelet;
    if (how === "accepted" && isThere) {
      if (this.#server !== null && this.#at === this.#server.socket && this.#at.alive) this.#streams(1);
      return this.tell({ kind: "accepted", call: call.call });
    }
    this.tell({ kind: "refused", call: call.call, reason: "no", unreachable: how === "unreachable" || !isThere });
  }

  #streams(open: number): void {
    if (this.#server === null || this.#server.streams === open) return;
    const before = this.#server.streams;
    this.#server.streams = open;
    this.tell({ kind: "streams", open, before, oldestEnded: open < before });
  }

  #dirChanged(): void {
    this.tell({ kind: "kubeletDirChanged", kubelet: this.#kubelet?.id ?? null });
  }

  #facts(served: ReadonlyMap<string, boolean>): Facts {
    const server = this.#server;
    return {
      server: server && { identity: server.socket.id, streams: server.streams, probedAt: server.probedAt },
      socket: this.#at?.id ?? null,
      socketDir: this.#dir,
      kubelet: this.#kubelet?.id ?? null,
      kubeletDir: this.#dir,
      served,
    };
  }

  #socket(): Socket {
    return { id: `socket ${++this.#ids}`, alive: true };
  }
}

const WORLDS = [
  { mode: "socket", fallback: false, watches: false },
  { mode: "watcher", fallback: false, watches: true },
  { mode: "watcher", fallback: true, watches: true },
  { mode: "watcher", fallback: true, watches: false },
] as const;

for (const { mode, fallback, watches } of WORLDS) {
  const kind = `${mode}${fallback ? ", or kubelet.sock" : ""}, kubelet ${
    watches ? "with" : "without"
  } a plugin watcher`;
  Deno.test(`A session (${kind}) never goes round in circles, and is registered once all is well`, () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...EVENTS), { maxLength: 40 }), (events) => {
        const world = new World(mode, fallback, watches);
        world.reconcile();
        for (const event of events) {
          world.happen(event);
          world.reconcile();
        }
        for (const event of ["directory comes", "the other plugin is killed", "kubelet starts"] as const) {
          world.happen(event);
          world.reconcile();
        }
        // Nothing happens any more but what the session itself brings about, and time.
        const settledBy = world.now + 180_000;
        while (!world.isFollowed && world.now < settledBy) {
          world.happen("call is answered");
          world.watcherComes();
          world.reconcile();
          ok(world.wakeAt > world.now, "a wait is in the future");
          if (!world.isFollowed) world.now = Math.min(world.wakeAt, settledBy);
        }
        ok(world.isFollowed, JSON.stringify(world.state));
        equal(world.state.reason, null);
      }),
      { numRuns: 1_000 },
    );
  });
}

/**
 * Kubelets that share no code with this project, as processes: one on grpc-go with the kubelet's own generated API,
 * one on gRPC's C core in Python. Commands and answers are JSON lines.
 *
 * @module
 */
import { type ChildProcessWithoutNullStreams, execFile, spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Waits } from "../../sim/waits.ts";

/** What a container gets, as the foreign kubelet read it. */
export interface ForeignResponse {
  readonly envs: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly mounts: readonly { readonly containerPath: string; readonly hostPath: string; readonly readOnly: boolean }[];
  readonly devices: readonly {
    readonly containerPath: string;
    readonly hostPath: string;
    readonly permissions: string;
  }[];
  readonly cdiDevices: readonly string[];
}

export interface ForeignOptions {
  readonly preStartRequired: boolean;
  readonly preferredAvailable: boolean;
}

/** Latencies in microseconds. */
export interface BenchResult {
  readonly n: number;
  readonly clients: number;
  readonly p50us: number;
  readonly p99us: number;
  readonly maxus: number;
  readonly perSecond: number;
}

/** What happens at the foreign kubelet by itself. */
export type ForeignEvent =
  | { readonly event: "listening"; readonly path: string }
  | {
    readonly event: "registered";
    readonly resource: string;
    readonly endpoint: string;
    /** From GetDevicePluginOptions. */
    readonly options: ForeignOptions;
    /** From the Register request itself. */
    readonly requestOptions: ForeignOptions;
  }
  | { readonly event: "refused"; readonly resource: string; readonly endpoint: string; readonly reason: string }
  | {
    readonly event: "list";
    readonly resource: string;
    readonly devices: readonly { readonly id: string; readonly health: string; readonly numa: readonly number[] }[];
  }
  | { readonly event: "stream-ended"; readonly resource: string; readonly reason: string };

/** A gRPC error that the plugin answered with. */
export class ForeignError extends Error {
  override readonly name = "ForeignError";
  readonly code: number;

  constructor(command: string, code: number, message: string) {
    super(`${command}: code ${code}: ${message}`);
    this.code = code;
  }
}

type Answer = { readonly event: string; readonly seq: number } & Readonly<Record<string, unknown>>;

interface Pending {
  readonly command: string;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

const FOREIGN = fileURLToPath(new URL("../foreign", import.meta.url));
const PROTO = fileURLToPath(new URL("../../proto", import.meta.url));

/** Builds test/foreign/go; the path of the program. */
export function buildGoKubelet(): Promise<string> {
  return buildGo("go");
}

/** Builds a program of test/foreign, once for each process of the tests. */
export async function buildGo(directory: string): Promise<string> {
  const out = join(tmpdir(), `foreign-${process.getuid?.() ?? 0}`);
  mkdirSync(out, { recursive: true });
  // One name per process: test files that build at the same time do not write over a program that runs.
  const program = join(out, `${directory}-${process.pid}`);
  const env = { ...process.env, GOTOOLCHAIN: "local", CGO_ENABLED: "0" };
  await promisify(execFile)("go", ["build", "-buildvcs=false", "-o", program, "."], {
    cwd: join(FOREIGN, directory),
    env,
  });
  return program;
}

/** A foreign kubelet process on one device-plugins directory. */
export class ForeignKubelet {
  readonly events: ForeignEvent[] = [];
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #exited: Promise<void>;
  readonly #pending = new Map<number, Pending>();
  readonly #waits = new Waits();
  #seq = 0;
  #stderr = "";
  #gone: string | null = null;

  private constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child;
    child.stderr.on("data", (chunk: unknown) => this.#stderr += String(chunk));
    const lines = createInterface({ input: child.stdout });
    lines.on("line", (line) => this.#read(line));
    child.on("error", (error) => this.#end(error.message));
    this.#exited = new Promise((resolve) => {
      child.on("close", (code, signal) => {
        this.#end(`it ended (${signal ?? code})`);
        resolve();
      });
    });
  }

  /** Starts the Go kubelet (`program` from `buildGoKubelet`) and waits until it listens. */
  static go(program: string, dir: string): Promise<ForeignKubelet> {
    return ForeignKubelet.#start(program, [dir]);
  }

  /** Starts the Python kubelet with the system's Python, which is the one that has Debian's python3-grpcio. */
  static python(dir: string): Promise<ForeignKubelet> {
    return ForeignKubelet.#start("/usr/bin/python3", [join(FOREIGN, "kubelet.py"), dir, PROTO]);
  }

  static async #start(program: string, args: readonly string[]): Promise<ForeignKubelet> {
    const kubelet = new ForeignKubelet(spawn(program, [...args]));
    try {
      await kubelet.waitFor((event) => event.event === "listening", { what: "listening" });
    } catch (error) {
      await kubelet.close();
      throw error;
    }
    return kubelet;
  }

  /**
   * The first event from index `since` on that `matches`; already there or still to come.
   *
   * @throws Error with the events so far and the process' stderr after `timeoutMs` (60,000), or when it ends.
   */
  waitFor<E extends ForeignEvent>(
    matches: (event: ForeignEvent) => event is E,
    options?: { readonly what?: string; readonly timeoutMs?: number; readonly since?: number },
  ): Promise<E>;
  waitFor(
    matches: (event: ForeignEvent) => boolean,
    options?: { readonly what?: string; readonly timeoutMs?: number; readonly since?: number },
  ): Promise<ForeignEvent>;
  waitFor(
    matches: (event: ForeignEvent) => boolean,
    { what = "the event", timeoutMs = 60_000, since = 0 }: { what?: string; timeoutMs?: number; since?: number } = {},
  ): Promise<ForeignEvent> {
    const message = (reason: string) => {
      const seen = this.events.map((event) => JSON.stringify(event)).join("\n");
      return `Cannot see ${what} at the foreign kubelet: ${reason}\n${seen}\n${this.#stderr}`;
    };
    return this.#waits.until(() => this.events.slice(since).find(matches), message, timeoutMs);
  }

  /** Allocate with one container request per list of IDs. @throws ForeignError */
  async allocate(resource: string, containers: readonly (readonly string[])[]): Promise<readonly ForeignResponse[]> {
    const { responses } = await this.#ask("allocate", { resource, containers });
    return responses as readonly ForeignResponse[];
  }

  /** @throws ForeignError */
  async preferred(
    resource: string,
    question: { readonly available: readonly string[]; readonly mustInclude: readonly string[]; readonly size: number },
  ): Promise<readonly string[]> {
    const { ids } = await this.#ask("preferred", { resource, ...question });
    return ids as readonly string[];
  }

  /** @throws ForeignError */
  async options(resource: string): Promise<ForeignOptions> {
    const { preStartRequired, preferredAvailable } = await this.#ask("options", { resource });
    return { preStartRequired: preStartRequired === true, preferredAvailable: preferredAvailable === true };
  }

  /** Go only. @throws ForeignError */
  async preStart(resource: string, ids: readonly string[]): Promise<void> {
    await this.#ask("preStart", { resource, ids });
  }

  /** Dies as a server, empties the directory and listens again, in one process. */
  async restart(): Promise<void> {
    await this.#ask("restart", {});
  }

  /** Sequential Allocates of `ids`, `n` per client, each client on its own connection. Go only. */
  async bench(resource: string, ids: readonly string[], n: number, clients = 1): Promise<BenchResult> {
    return await this.#ask("bench", { resource, ids, n, clients }) as unknown as BenchResult;
  }

  /** Ends the process in an orderly way and waits for it. */
  async close(): Promise<void> {
    if (this.#gone === null) this.#child.stdin.end(JSON.stringify({ cmd: "quit" }) + "\n");
    await this.#exited;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #ask(cmd: string, fields: Readonly<Record<string, unknown>>): Promise<Answer> {
    const seq = ++this.#seq;
    return new Promise((resolve, reject) => {
      if (this.#gone !== null) return reject(new Error(`Cannot send ${cmd} to the foreign kubelet: ${this.#gone}`));
      this.#pending.set(seq, { command: cmd, resolve, reject });
      this.#child.stdin.write(JSON.stringify({ cmd, seq, ...fields }) + "\n");
    });
  }

  #read(line: string): void {
    // What comes is what the two programs in test/foreign write, nothing else.
    let message: ForeignEvent | Answer;
    try {
      message = JSON.parse(line) as ForeignEvent | Answer;
    } catch {
      // Killed in the middle of a line; whoever waits for what it would have been is shown this.
      this.#stderr += `unreadable: ${line.slice(0, 200)}\n`;
      return;
    }
    if (!("seq" in message)) {
      this.events.push(message);
      this.#waits.changed();
      return;
    }
    const pending = this.#pending.get(message.seq);
    this.#pending.delete(message.seq);
    if (message.event === "error") {
      pending?.reject(new ForeignError(pending.command, Number(message["code"]), String(message["message"])));
    } else pending?.resolve(message);
  }

  #end(why: string): void {
    if (this.#gone !== null) return;
    this.#gone = why;
    for (const { command, reject } of this.#pending.values()) {
      reject(new Error(`The foreign kubelet did not answer ${command}: ${why}\n${this.#stderr}`));
    }
    this.#pending.clear();
    this.#waits.end(why);
  }
}

/**
 * A network namespace of the test's own, so that links may come and go without the machine noticing.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { within } from "./temp.ts";
import { run } from "./run.ts";

/** A network namespace; disposing it deletes it and every link in it. */
export interface Netns extends Disposable {
  readonly name: string;
  /** `ip` inside the namespace, the arguments as one string. Throws when it fails. */
  ip(args: string): void;
  /** A shell command inside the namespace, with a /sys of its own. Throws when it fails. */
  sh(command: string): void;
}

/** Needs root and iproute2: `needs("root", "netns")`. */
export function netns(): Netns {
  const name = `rdma-test-${process.pid}-${crypto.randomUUID().slice(0, 8)}`;
  run("ip", ["netns", "add", name]);
  return {
    name,
    ip: (args) => void run("ip", ["-n", name, ...args.split(" ")]),
    sh: (command) => void run("ip", ["netns", "exec", name, "sh", "-c", command]),
    [Symbol.dispose]: () => void run("ip", ["netns", "del", name]),
  };
}

/** A script that runs inside a namespace, reads lines of commands and prints lines of JSON. */
export interface Inside<Line> extends AsyncDisposable {
  say(command: string): void;
  /** The next line, from the first that nobody has taken yet, that satisfies the predicate; those before it are dropped. */
  next(wanted: (line: Line) => boolean, what: string): Promise<Line>;
  /** Ends the script's stdin and waits until it has ended by itself. */
  exit(): Promise<number | null>;
}

/** How long a line may take on a machine that is busy with other tests. Milliseconds. */
const PATIENCE = 60_000;

/**
 * For {@link inside}: takes every capability away for good, which leaves the process what an unprivileged user has. It
 * stays root's by name, because no other user need be able to read where the runtime and this project are installed.
 */
export const POWERLESS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"];

/** Starts `deno run SCRIPT OPTIONS` inside the namespace, by way of `wrapper`; the options are passed as JSON. */
export function inside<Line>(
  space: Netns,
  script: string,
  options: object = {},
  wrapper: readonly string[] = [],
): Inside<Line> {
  const deno = [Deno.execPath(), "run", "-A", "--no-check", "--no-lock", script, JSON.stringify(options)];
  const child = spawn("ip", ["netns", "exec", space.name, ...wrapper, ...deno], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = once(child, "close").then(([code]) => code as number | null);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const dropped: string[] = [];
  const scan = async (wanted: (line: Line) => boolean, what: string) => {
    for (;;) {
      const { value, done } = await lines.next();
      if (done) throw new Error(`The script ended before ${what}`);
      const line = JSON.parse(value) as Line;
      if (wanted(line)) return line;
      dropped.push(value);
    }
  };
  return {
    say: (command) => void child.stdin.write(`${command}\n`),
    async next(wanted, what) {
      try {
        return await within(scan(wanted, what), what, PATIENCE);
      } catch (error) {
        throw new Error(`${(error as Error).message}; passed over so far: ${dropped.join(" ")}`, { cause: error });
      }
    },
    exit() {
      child.stdin.end();
      return within(ended, "the script ends by itself", PATIENCE);
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      child.stdin.destroy();
      await ended;
      await lines.return?.();
    },
  };
}

/**
 * The space that a node lives in: namespaces with a first process, in which everything else is started.
 *
 * When the first process ends, the kernel ends every other one in there and takes mounts, links and network namespaces
 * away with them. It ends when its standard input does: a test that is killed leaves no cluster running.
 *
 * @module
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { within } from "../temp.ts";
import { run } from "../run.ts";
import { SERVICES } from "./config_files.ts";

const INIT = fileURLToPath(new URL("node_init.sh", import.meta.url));
const NAMESPACES = ["--mount", "--net", "--pid", "--ipc", "--uts"];
/** Puts a program into the node's cgroup, which is the root of what it sees. */
const ENTER_CGROUP = `root=/sys/fs/cgroup
for tree in $root/*; do [ ! -e $tree/cgroup.procs ] || [ -e $root/cgroup.procs ] || echo 0 >$tree/cgroup.procs; done
[ ! -e $root/system ] || echo 0 >$root/system/cgroup.procs
exec "$@"`;

/** A program that runs in the space. */
export interface Daemon {
  /** As the machine numbers it. */
  readonly pid: number;
  readonly ended: Promise<void>;
  kill(signal: NodeJS.Signals): void;
}

/** Where a space is, so that another process may enter it. */
export interface SpacePlace {
  /** The first process, as the machine numbers it. */
  readonly pid: number;
  readonly address: string;
}

/** Namespaces with a first process. */
export class Space {
  private constructor(readonly dir: string, readonly place: SpacePlace, readonly outlives: boolean) {}

  /**
   * Makes the namespaces. `dir/host/sys` must exist; what programs print goes to `dir/logs`.
   *
   * @param cgroup the name of the cgroup that is the root of the node's containers
   * @param outlives whether the space stays when this process ends
   * @throws with what the first process complained of
   */
  static async create(dir: string, cgroup: string, outlives: boolean): Promise<Space> {
    const link = freeLink();
    const log = openSync(join(dir, "logs/init.log"), "a");
    // Its input lasts as long as this process, or for ever: the first process then holds the other end, too.
    const fifo = join(dir, "stdin");
    if (outlives) run("mkfifo", [fifo]);
    const input = outlives ? openSync(fifo, "r+") : "pipe";
    const keeper = spawn(
      "unshare",
      [
        ...NAMESPACES,
        "--fork",
        "--kill-child",
        "--mount-proc",
        "bash",
        INIT,
        dir,
        cgroup,
        link.inside,
        `${link.address}/30`,
        SERVICES.apiServer,
      ],
      { stdio: [input, "pipe", log], detached: outlives },
    );
    closeSync(log);
    if (typeof input === "number") closeSync(input);
    try {
      const pid = await child(keeper);
      run("ip", ["link", "add", link.outside, "type", "veth", "peer", "name", link.inside, "netns", String(pid)]);
      run("ip", ["address", "add", `${link.gateway}/30`, "dev", link.outside]);
      run("ip", ["link", "set", link.outside, "up"]);
      await within(once(keeper.stdout!, "data"), `the node's first process; it said: ${tail(dir, "init")}`);
      if (outlives) keeper.unref();
      return new Space(dir, { pid, address: link.address }, outlives);
    } catch (error) {
      keeper.kill("SIGKILL");
      throw error;
    }
  }

  /** Enters a space that another process made. */
  static enter(dir: string, place: SpacePlace): Space {
    return new Space(dir, place, true);
  }

  /** What a path of the node is called outside of it. */
  path(inside: string): string {
    return `/proc/${this.place.pid}/root${inside}`;
  }

  /** Starts a program that goes on; what it prints goes to `logs/NAME.log`. */
  async start(name: string, command: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Daemon> {
    const log = openSync(join(this.dir, `logs/${name}.log`), "a");
    const words = Object.entries(env).map(([key, value]) => `${key}=${value}`);
    const entered = spawn("nsenter", this.#entering(["env", ...words, "sh", "-c", ENTER_CGROUP, "sh", ...command]), {
      stdio: ["ignore", log, log],
      detached: this.outlives,
    });
    closeSync(log);
    const ended = new Promise<void>((done) => entered.once("close", () => done()));
    if (this.outlives) entered.unref();
    const pid = await child(entered);
    const kill = (signal: NodeJS.Signals) => {
      process.kill(pid, signal);
      // It stops itself beside its child, and would then never take note of that one's end.
      if (signal === "SIGCONT") entered.kill(signal);
    };
    return { pid, ended, kill };
  }

  /** Runs a command to its end; gives what it printed. @throws with its complaint, unless `tolerant` */
  run(command: readonly string[], { tolerant = false } = {}): string {
    const entered = this.#entering(command);
    if (!tolerant) return run("nsenter", entered);
    return spawnSync("nsenter", entered, { encoding: "utf8", maxBuffer: 1 << 26 }).stdout;
  }

  /** Ends the first process, and with it all that is in the space. */
  async end(): Promise<void> {
    try {
      process.kill(this.place.pid, "SIGKILL");
    } catch {
      // Has ended already.
    }
    for (let i = 0; isAlive(this.place.pid); i++) {
      if (i === 500) throw new Error(`The node's first process, ${this.place.pid}, does not end`);
      await delay(20);
    }
  }

  #entering(command: readonly string[]): string[] {
    return ["--target", String(this.place.pid), ...NAMESPACES, "--cgroup", "--", ...command];
  }
}

/** The end of a log, for messages. */
export function tail(dir: string, name: string, bytes = 1_500): string {
  try {
    return readFileSync(join(dir, `logs/${name}.log`), "utf8").slice(-bytes);
  } catch {
    return "(no log)";
  }
}

export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

/** The process that `unshare` or `nsenter` forked; those two only wait for it. */
async function child(parent: ChildProcess): Promise<number> {
  const { pid } = parent;
  if (pid === undefined) throw new Error(`Cannot start ${parent.spawnfile}: is util-linux installed?`);
  for (let i = 0; i < 1_000; i++) {
    let children = "";
    try {
      children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
    } catch {
      throw new Error(`${parent.spawnargs.join(" ")} ended at once`);
    }
    if (children !== "") return Number(children.split(" ")[0]);
    await delay(5);
  }
  throw new Error(`${parent.spawnargs.join(" ")} started nothing`);
}

interface Link {
  readonly outside: string;
  readonly inside: string;
  readonly gateway: string;
  readonly address: string;
}

/** A pair of links that nobody has yet; each node has its own four addresses. */
function freeLink(): Link {
  const taken = new Set(readdirSync("/sys/class/net"));
  for (let i = 0; i < 64; i++) {
    const number = (process.pid + i) % 64;
    if (taken.has(`rdmanode${number}`)) continue;
    const address = (last: number) => `10.213.77.${number * 4 + last}`;
    return {
      outside: `rdmanode${number}`,
      inside: "node0",
      gateway: address(1),
      address: address(2),
    };
  }
  throw new Error("64 nodes are running already");
}

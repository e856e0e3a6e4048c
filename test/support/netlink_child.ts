/**
 * Runs the netlink source in a process of its own, inside a network namespace, and prints what happens as JSON lines.
 * The first argument is the options as JSON. The first line on stdin starts the source; those that follow are
 * `COMMANDS`.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { createInterface } from "node:readline";
import { C, OFFSET, SIZE } from "../../src/hca/abi.ts";
import { openLibc } from "../../src/hca/libc.ts";
import { netlinkSource } from "../../src/hca/events/netlink.ts";
import type { Trigger } from "../../src/hca/events/trigger.ts";

/** What the script prints. */
export interface ChildLine {
  readonly trigger?: Trigger;
  readonly ready?: boolean;
  /** Open netlink sockets and eventfds of the process. */
  readonly fds?: number;
  /** Threads of the process that sleep in poll(). */
  readonly pollers?: number;
  /** Effective capabilities, in hex digits. */
  readonly capabilities?: string;
  /** Bytes that were sent as a message that only the kernel should send. */
  readonly spoofed?: number;
  /** Bytes of each of the files that were read. */
  readonly files?: readonly number[];
  /** Whether the source covers the port that was asked about. */
  readonly covers?: boolean;
  readonly ended?: string;
}

function print(line: ChildLine): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** Only what the source itself opens: the runtime makes pairs of unix sockets whenever it likes. */
function countFds(): number {
  const netlink = readFileSync("/proc/self/net/netlink", "utf8").split("\n").map((line) => line.trim().split(/\s+/)[9]);
  const ours = new Set(["anon_inode:[eventfd]", ...netlink.map((inode) => `socket:[${inode}]`)]);
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return ours.has(readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      return false; // the descriptor that this very listing used
    }
  }).length;
}

function countPollers(): number {
  const channels = readdirSync("/proc/self/task").map((id) => readFileSync(`/proc/self/task/${id}/wchan`, "utf8"));
  return channels.filter((channel) => channel.startsWith("poll_")).length;
}

function effectiveCapabilities(): string {
  return /^CapEff:\s*(\w+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "unknown";
}

/** Sends a uevent to the kernel's own group, as anybody with CAP_NET_ADMIN can; gives the number of bytes sent. */
function spoof(): number {
  const message = new TextEncoder().encode("remove@/devices/x/infiniband/mlx5_0\0SUBSYSTEM=infiniband\0");
  const group = new Uint8Array(SIZE.sockaddr_nl);
  new DataView(group.buffer).setUint16(OFFSET.sockaddr_nl.nl_family, C.AF_NETLINK, true);
  new DataView(group.buffer).setUint32(OFFSET.sockaddr_nl.nl_groups, 1, true);
  using libc = openLibc();
  const fd = libc.socket(C.AF_NETLINK, C.SOCK_RAW, C.NETLINK_KOBJECT_UEVENT);
  try {
    return libc.sendto(fd, message, 0, group);
  } finally {
    libc.close(fd);
  }
}

/** Ends the source. */
const abort = new AbortController();

const COMMANDS: Readonly<Record<string, (rest: string) => void | Promise<void>>> = {
  count: () => print({ fds: countFds(), pollers: countPollers(), capabilities: effectiveCapabilities() }),
  spoof: () => print({ spoofed: spoof() }),
  abort: () => abort.abort(),
  /** `covers NAME,INDEX,ADDRESS`: an Ethernet port with that link. */
  covers(link) {
    const [name = "", index, address = ""] = link.split(",");
    const port = { linkLayer: "Ethernet", links: [{ name, index: Number(index), address }] } as const;
    print({ covers: source.covers!([port]) });
  },
  async files() {
    const texts = await Promise.all(Array.from({ length: 200 }, () => readFile("/proc/self/status", "utf8")));
    print({ files: texts.map((text) => text.length) });
  },
  /** Keeps this thread busy, so that nothing is read, while the links change. */
  flood(link) {
    const input = Array.from({ length: 200 }, () => `link set ${link} down\nlink set ${link} up\n`).join("");
    spawnSync("ip", ["-batch", "-"], { input });
  },
};

const commands = createInterface({ input: process.stdin });
commands.on("line", async (line) => {
  const [command = "", rest = ""] = line.split(" ");
  await COMMANDS[command]?.(rest);
});
await once(commands, "line");
const before = countFds();
const source = netlinkSource(JSON.parse(process.argv[2] ?? "{}"));
const running = source.run((trigger) => print({ trigger }), abort.signal);
print({ ready: true, fds: before });
try {
  await running;
  print({ ended: "resolved", fds: countFds() });
} catch (error) {
  print({ ended: String(error), fds: countFds() });
}

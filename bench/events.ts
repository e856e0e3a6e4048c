/**
 * How long it takes from a link event of the kernel to the list at the kubelet:
 *
 *     deno task bench:events [--events 200] [--hcas 8] [--pause 70] [--json]
 *
 * A port of the fake host changes on disk without a word; then a real veth link is set down or up, and the kernel's own
 * netlink message is what makes the plugin scan. The clock starts just before the request goes to the kernel, and ends
 * when the list, decoded, is in the hands of the kubelet's gRPC client. The kernel's own share is shown beside it.
 *
 * Only the way down is measured: the way up waits for the settle time on purpose.
 *
 * @module
 */
import { parseArgs } from "node:util";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { C, OFFSET, SIZE } from "../src/hca/abi.ts";
import { type Bytes, type Libc, openLibc } from "../src/hca/libc.ts";
import { parseError, parseMessages } from "../src/hca/events/netlink_parse.ts";
import { offered } from "../test/support/kubelet.ts";
import { memoryOf } from "../test/support/process_figures.ts";
import { inOwnNetns, ip, type Rig, rig } from "./rig.ts";
import { median, quantile } from "../test/support/statistics.ts";

/** Milliseconds that issue and README promise. */
const TARGET = { median: 20, p99: 100 };
/** Index of the link that is set down and up; the kernel takes the one that is asked for. */
const LINK = 100;
/** <linux/netlink.h> */
const NLM_F_ACK = 4;
/** The pause between events is drawn anew each time, so that they keep step with no timer: part of the mean. */
const PAUSE = { least: 0.3, most: 1.7 };

/** What `--json` prints: milliseconds from the request to the kernel to the list, and MiB at the end. */
export interface EventFigures {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  readonly rss: number;
  readonly anonymous: number;
}

/** Sets the link down and up over one open socket, as `ip link set` does. */
class Link implements Disposable {
  readonly #libc: Libc;
  readonly #fd: number;
  #up = true;

  constructor() {
    this.#libc = openLibc();
    this.#fd = this.#libc.socket(C.AF_NETLINK, C.SOCK_RAW | C.SOCK_CLOEXEC, C.NETLINK_ROUTE);
  }

  /** Resolves the request in the kernel before it returns; the message to the listeners is sent within. */
  toggle(): "down" | "up" {
    this.#up = !this.#up;
    const length = SIZE.nlmsghdr + SIZE.ifinfomsg;
    const request: Bytes = new Uint8Array(length);
    const data = new DataView(request.buffer);
    data.setUint32(OFFSET.nlmsghdr.nlmsg_len, length, true);
    data.setUint16(OFFSET.nlmsghdr.nlmsg_type, C.RTM_NEWLINK, true);
    data.setUint16(OFFSET.nlmsghdr.nlmsg_flags, C.NLM_F_REQUEST | NLM_F_ACK, true);
    data.setInt32(SIZE.nlmsghdr + OFFSET.ifinfomsg.ifi_index, LINK, true);
    data.setUint32(SIZE.nlmsghdr + OFFSET.ifinfomsg.ifi_flags, this.#up ? C.IFF_UP : 0, true);
    data.setUint32(SIZE.nlmsghdr + OFFSET.ifinfomsg.ifi_change, C.IFF_UP, true);
    const kernel: Bytes = new Uint8Array(SIZE.sockaddr_nl);
    new DataView(kernel.buffer).setUint16(OFFSET.sockaddr_nl.nl_family, C.AF_NETLINK, true);
    this.#libc.sendto(this.#fd, request, 0, kernel);
    const answer: Bytes = new Uint8Array(4096);
    const size = this.#libc.recvfrom(this.#fd, answer, C.MSG_DONTWAIT, kernel);
    const [first] = parseMessages(answer.subarray(0, Math.max(0, size)));
    if (first === undefined || parseError(first) !== 0) {
      throw new Error(`the link was not set: ${JSON.stringify(first)}`);
    }
    return this.#up ? "up" : "down";
  }

  [Symbol.dispose](): void {
    this.#libc.close(this.#fd);
    this.#libc[Symbol.dispose]();
  }
}

/** One event; milliseconds. */
interface Sample {
  readonly link: "down" | "up";
  /** From just before the request to the kernel until the list was there. */
  readonly whole: number;
  /** How much of it the kernel had the request. */
  readonly kernel: number;
}

async function measure({ host, kubelet }: Rig, link: Link, hca: string): Promise<Sample> {
  const isDown = kubelet.waitFor(
    (_, history) => {
      const last = history.at(-1);
      if (last?.kind !== "list") return null;
      return last.devices.some((device) => device.id === hca && device.health !== "Healthy") ? last.at : null;
    },
    { what: `${hca} Unhealthy` },
  );
  await host.carrierLost(hca, 1, { quiet: true });
  const before = performance.now();
  const direction = link.toggle();
  const after = performance.now();
  return { link: direction, whole: await isDown - before, kernel: after - before };
}

async function recover({ host, kubelet }: Rig, link: Link): Promise<void> {
  const names = host.hcaNames();
  for (const name of names) await host.portUp(name, 1, { quiet: true });
  link.toggle();
  await offered(kubelet, names.length);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      events: { type: "string", default: "200" },
      hcas: { type: "string", default: "8" },
      pause: { type: "string", default: "70" },
      json: { type: "boolean", default: false },
    },
  });
  const hcas = Number(values.hcas);
  ip(`link add name v0 index ${LINK} type veth peer name v1`);
  ip("link set v1 up");
  ip("link set v0 up");
  await using plant = await rig(hcas);
  using link = new Link();
  const samples: Sample[] = [];
  // The first round only warms up.
  for (let round = 0; samples.length < Number(values.events); round++) {
    for (const name of plant.host.hcaNames()) {
      await delay(Number(values.pause) * (PAUSE.least + Math.random() * (PAUSE.most - PAUSE.least)));
      const sample = await measure(plant, link, name);
      if (round > 0 && samples.length < Number(values.events)) samples.push(sample);
    }
    await recover(plant, link);
  }
  if (values.json) process.stdout.write(`${JSON.stringify(figuresOf(samples, plant.pid))}\n`);
  else print(samples, hcas);
}

function figuresOf(samples: readonly Sample[], pid: number): EventFigures {
  const whole = samples.map((sample) => sample.whole);
  return { p50: median(whole), p99: quantile(whole, 0.99), max: Math.max(...whole), ...memoryOf(pid) };
}

function print(samples: readonly Sample[], hcas: number): void {
  const row = (what: string, values: readonly number[]) => {
    const columns = [median(values), quantile(values, 0.99), Math.max(...values)];
    return `${what.padEnd(52)}${columns.map((value) => value.toFixed(2).padStart(9)).join("")}\n`;
  };
  const of = (direction: Sample["link"]) => samples.filter((sample) => sample.link === direction);
  const whole = samples.map((sample) => sample.whole);
  const verdict = (value: number, target: number) =>
    `${value.toFixed(1)} ms ${value <= target ? "≤" : "MORE THAN"} ${target}`;
  process.stdout.write([
    `${samples.length} link events, ${hcas} HCAs; milliseconds\n`,
    `${"".padEnd(52)}${["median", "p99", "max"].map((word) => word.padStart(9)).join("")}\n`,
    row("request to the kernel → list at the kubelet", whole),
    row(`  link set down (${of("down").length})`, of("down").map((one) => one.whole)),
    row(`  link set up (${of("up").length})`, of("up").map((one) => one.whole)),
    row("of which the kernel, link set down", of("down").map((one) => one.kernel)),
    row("of which the kernel, link set up", of("up").map((one) => one.kernel)),
    row("kernel done → list at the kubelet", samples.map((one) => one.whole - one.kernel)),
    `targets: median ${verdict(median(whole), TARGET.median)}, `,
    `p99 ${verdict(quantile(whole, 0.99), TARGET.p99)}\n`,
  ].join(""));
}

if (import.meta.main) process.exit(await inOwnNetns(import.meta.url, main));

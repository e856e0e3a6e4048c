/**
 * Which net devices are ports of an embedded switch: `phys_port_name` and `phys_switch_id`.
 *
 * Reading these two takes the kernel's RTNL lock (net/core/net-sysfs.c). While an adapter is reset, or for as long as
 * its driver hangs, another thread can hold that lock, and readers wait or spin. There is one such lock, so asking for
 * several net devices at a time gains nothing: they are asked one after the other, and none while an answer is pending.
 *
 * @module
 */
import { startDeadline } from "./deadline.ts";
import { readSlow } from "./files.ts";
import { LateAnswers } from "./late_answers.ts";

/** Null where the net device is no port of a switch. */
export interface SwitchPort {
  readonly portName: string | null;
  readonly switchId: string | null;
}

/** More net devices than any machine has at a time: most are of functions that are gone, and all are read again. */
const MOST_KNOWN = 65_536;

/** The ports of embedded switches as read last, across scans. */
export class SwitchPorts {
  readonly #deadlineMs: number;
  readonly #late: LateAnswers;
  readonly #known = new Map<string, SwitchPort>();
  #last: Promise<unknown> = Promise.resolve();

  /**
   * @param deadlineMs how long one net device may take, in milliseconds
   * @param onLateAnswer called when one that took longer has answered
   */
  constructor(deadlineMs: number, onLateAnswer: (netdev: string) => void) {
    this.#deadlineMs = deadlineMs;
    this.#late = new LateAnswers(onLateAnswer);
  }

  /**
   * Asks the kernel about a net device. What was read last, when there is no answer in time; null when nothing is known.
   *
   * @param dir the net device's directory in sysfs
   * @throws {OutOfFiles}
   */
  read(dir: string, name: string): Promise<SwitchPort | null> {
    const answer = this.#last.then(() => this.#ask(dir, name));
    this.#last = answer.catch(() => {}); // the error is the caller's
    return answer;
  }

  async #ask(dir: string, name: string): Promise<SwitchPort | null> {
    if (!this.#late.isPending()) {
      using deadline = startDeadline(this.#deadlineMs);
      await this.#late.inTime(dir, name, this.#readBoth(dir), deadline.passed);
    }
    return this.#known.get(dir) ?? null;
  }

  async #readBoth(dir: string): Promise<SwitchPort> {
    const [portName, switchId] = await Promise.all([
      readSlow(`${dir}/phys_port_name`),
      readSlow(`${dir}/phys_switch_id`),
    ]);
    if (this.#known.size >= MOST_KNOWN) this.#known.clear();
    const port = { portName, switchId };
    this.#known.set(dir, port);
    return port;
  }
}

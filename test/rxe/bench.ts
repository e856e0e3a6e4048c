/**
 * What the checks share: the fake kubelet, the plugin, two Ethernet links to put soft-RoCE on, and the figures.
 *
 * @module
 */
import { deepEqual, ok } from "@std/assert";
import { type AdmittedPod, FakeKubelet, type ResourceState } from "../../sim/kubelet/kubelet.ts";
import { must } from "./commands.ts";
import { Plugin } from "./plugin.ts";

export const RESOURCE = "tencent.com/rdma";
export const KUBELET_DIR = "/var/lib/kubelet/device-plugins";

/** Event sources that stand for the kernel's own messages, and the ledger's clock that follows them up. */
const BY_ITSELF = /^(uevent|link|link again|deadline): /;

/** Thrown by a check that this kernel does not allow. */
export class Skip extends Error {
  override readonly name = "Skip";
}

export class Bench implements AsyncDisposable {
  readonly kubelet = new FakeKubelet({ dir: KUBELET_DIR });
  #plugin: Plugin | null = null;
  #notes: string[] = [];
  #pods = 0;

  /** The plugin that runs now. */
  get plugin(): Plugin {
    if (this.#plugin === null) throw new Error("The plugin does not run; an earlier check should have started it");
    return this.#plugin;
  }

  /** A figure or a fact for people, printed beside the check. */
  note(sentence: string): void {
    this.#notes.push(sentence);
  }

  /** Figures since the last call. */
  takeNotes(): readonly string[] {
    const notes = this.#notes;
    this.#notes = [];
    return notes;
  }

  /** Starts the plugin; resolves when the kubelet has its first list. */
  async startPlugin(flags: readonly string[] = []): Promise<ResourceState> {
    const begun = performance.now();
    this.#plugin = new Plugin(["--kubelet-dir", KUBELET_DIR, ...flags]);
    const before = this.kubelet.history.length;
    const resource = await this.kubelet.waitFor(
      (state, history) => history.slice(before).some((event) => event.kind === "list") && state.resources[RESOURCE],
      { what: "the plugin's first list", timeoutMs: 300_000 },
    );
    this.note(`from exec to the kubelet's first list: ${ms(performance.now() - begun)}`);
    return resource;
  }

  /** Ends the plugin with SIGTERM; gives its exit status. */
  async stopPlugin(): Promise<number | null> {
    const status = await this.plugin.stop();
    this.#plugin = null;
    return status;
  }

  /** Device IDs and health as the kubelet knows them: "rxe0 Healthy". */
  get devices(): readonly string[] {
    return (this.kubelet.state().resources[RESOURCE]?.devices ?? []).map(({ id, health }) => `${id} ${health}`);
  }

  /**
   * Does something to the machine and waits until the kubelet has heard of it: until its list says `expected` of the
   * devices that `expected` names. Notes how long that took, and makes sure that the kernel's own word was the cause.
   * @returns milliseconds from the beginning of the change to the kubelet's list
   */
  async reported(what: string, expected: readonly string[], change: () => Promise<unknown>): Promise<number> {
    const logged = this.plugin.log.length;
    const heard = this.kubelet.history.length;
    const begun = performance.now();
    const told = this.kubelet.waitFor(
      (_, history) =>
        history.slice(heard).find((event) =>
          event.kind === "list" &&
          expected.every((one) => event.devices.some(({ id, health }) => one === `${id} ${health}`))
        ),
      { what: `${expected.join(", ")} after ${what}` },
    );
    told.catch(() => undefined); // a change that failed is the news, not the list that never came because of it
    await change();
    const ended = performance.now();
    const { at } = await told;
    const { message } = await this.plugin.logged(
      `a scan that led to ${expected.join(", ")}`,
      ({ changes = 0 }) => changes > 0,
      logged,
    );
    const causes = this.plugin.causes(logged);
    deepEqual(causes.filter((cause) => !BY_ITSELF.test(cause)), [], "other causes than the kernel's messages");
    // The second scan after messages of a moment ago may be the one that sees it.
    ok(
      causes.some((cause) => /^(uevent|link)( again)?: /.test(cause)),
      `no message of the kernel among ${causes.join(", ")}`,
    );
    this.note(
      `${what}: kubelet told ${ms(at - begun)} after the command began, ${ms(at - ended)} after it ended; ` +
        message.replace(/^scanned \(\w+\) /, ""),
    );
    return at - begun;
  }

  /** A pod with one device of the resource for as long as `use` takes; a certain device when `id` is given. */
  async withPod<T>(id: string | null, use: (pod: AdmittedPod) => Promise<T>): Promise<T> {
    const name = `pod-${++this.#pods}`;
    const mustInclude = id === null ? [] : [id];
    const pod = await this.kubelet.admit({ name, resource: RESOURCE, count: 1, mustInclude });
    try {
      return await use(pod);
    } finally {
      this.kubelet.release(name);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#plugin !== null) await this.stopPlugin();
    await this.kubelet.close();
  }
}

/** An Ethernet link that is up, with an address, whose other end `PEER` has carrier as well. */
export async function makeLink(name: string, peer: string, address: string): Promise<void> {
  await must(`ip link add ${name} type veth peer name ${peer}`);
  await must(`ip address add ${address} dev ${name}`);
  await must(`ip link set ${peer} up`);
  await must(`ip link set ${name} up`);
}

export function ms(milliseconds: number): string {
  return `${Math.round(milliseconds * 10) / 10} ms`;
}

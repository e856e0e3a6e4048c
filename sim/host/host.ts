/**
 * A fake host: a sysfs and a /dev tree on disk with a real kernel's layout, which change while they are being read. The
 * plugin's discovery reads them unmodified (`--sysfs-root`, `--dev-root`), as does the real libibverbs (`SYSFS_PATH`,
 * with `devRoot/infiniband` at /dev/infiniband).
 *
 * @example
 * ```ts
 * using host = FakeHost.create(FakeHost.temporaryRoot(), PRESETS["connectx-roce-vfs"]);
 * await host.carrierLost("mlx5_0", 1);
 * await host.removeHca("mlx5_1");
 * host.describe(); // what a scan must find now
 * ```
 *
 * @module
 */
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TreeWriter } from "./disk.ts";
import { Machine } from "./machine.ts";
import { MiscDevices } from "./misc.ts";
import {
  comeBack,
  leave,
  netdevsLeave,
  netdevsReturn,
  rename,
  renumber,
  setGids,
  setPort,
  showNode,
} from "./changes.ts";
import { Kernel } from "./kernel.ts";
import { describeHca, type HcaObject, type Steps } from "./objects.ts";
import type { GidDescription, HcaNow, HostDescription, MutationOptions } from "./types.ts";

export { manyHcas, preset, type PresetName, PRESETS } from "./presets.ts";
export type * from "./types.ts";

/** Options of {@linkcode FakeHost.restoreHca}. */
export interface RestoreOptions extends MutationOptions {
  /** The uverbs number of the restored HCA; default: the lowest free one, as in the kernel. */
  readonly uverbs?: number;
}

/** A machine on disk. A change is on disk when its promise resolves; without `between`, when the call returns. */
export class FakeHost {
  readonly root: string;
  /** For `--sysfs-root` and SYSFS_PATH. */
  readonly sysfsRoot: string;
  /** For `--dev-root`. */
  readonly devRoot: string;
  /** One line for each completed change: a process that watches the file is notified as by netlink. */
  readonly eventsFile: string;
  readonly #kernel: Kernel;
  readonly #misc: MiscDevices;
  readonly #exclusive: boolean;
  /** Contents of removed files, by path. */
  readonly #originals = new Map<string, Uint8Array>();
  readonly #listeners = new Set<(lines: readonly string[]) => void>();
  /** Lines of the current batch, null outside of a batch. */
  #batch: string[] | null = null;

  private constructor(root: string, description: HostDescription) {
    this.root = root;
    this.sysfsRoot = join(root, "sys");
    this.devRoot = join(root, "dev");
    this.eventsFile = join(root, "uevents");
    this.#exclusive = description.netnsMode === "exclusive";
    const staging = join(root, ".staging");
    const machine = new Machine(new TreeWriter(this.sysfsRoot, staging), new TreeWriter(this.devRoot, staging));
    machine.boot(description);
    this.#kernel = new Kernel(machine);
    this.#misc = new MiscDevices(machine);
    for (const hca of description.hcas) finish(this.#kernel.probe(hca));
    for (const hca of description.hcas) if (hca.vfs) finish(this.#kernel.createVfs(this.#find(hca.name), hca.vfs));
    this.#misc.set("rdma_cm", description.rdmaCm !== false);
    this.#misc.set("knem", description.knem === true);
    writeFileSync(this.eventsFile, "");
  }

  /**
   * Builds the trees below `root`, which is created if necessary.
   *
   * @throws when there are trees below `root`, or when the description contradicts itself
   */
  static create(root: string, description: HostDescription): FakeHost {
    return new FakeHost(root, description);
  }

  /**
   * Creates an empty directory for a host: in memory if the machine has /dev/shm (a host of 1,024 HCAs has 80,000
   * files, which takes a minute on some disks), otherwise in the temporary directory.
   */
  static temporaryRoot(): string {
    try {
      return mkdtempSync("/dev/shm/rdma-host-");
    } catch {
      // /dev/shm does not exist or is not writable.
      return mkdtempSync(join(tmpdir(), "rdma-host-"));
    }
  }

  /** Names of the HCAs that are visible in the host's network namespace, in natural order. */
  hcaNames(): string[] {
    return this.describe().map((hca) => hca.name);
  }

  /** The expected result of a full scan, in natural order of the names. */
  describe(): HcaNow[] {
    return this.#kernel.hcas.filter((hca) => hca.where === "here").map((hca) => describeHca(hca))
      .sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  }

  /** HCAs without a driver, which `restoreHca` accepts. */
  removedHcas(): string[] {
    return this.#kernel.hcas.filter((hca) => hca.where === "gone").map((hca) => hca.name);
  }

  /** HCAs in pods' network namespaces, which `returnFromPod` accepts. */
  hcasInPods(): string[] {
    return this.#kernel.hcas.filter((hca) => hca.where === "pod").map((hca) => hca.name);
  }

  /** Whether the host has the rdma_cm and knem nodes. */
  extras(): { readonly rdmaCm: boolean; readonly knem: boolean } {
    return { rdmaCm: this.#misc.has("rdma_cm"), knem: this.#misc.has("knem") };
  }

  /** Path of the HCA's directory on this machine, with links resolved. */
  hcaPath(name: string): string {
    return this.#kernel.sys.at(this.#kernel.pathOf(this.#find(name)));
  }

  /** Calls `listener` with the lines of each event after they were written; returns the function that removes it. */
  onEvent(listener: (lines: readonly string[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Combines all changes made by `change` into one event; with `quiet`, into none. */
  async batch<T>(change: () => T | Promise<T>, options: { readonly quiet?: boolean } = {}): Promise<T> {
    if (this.#batch !== null) return await change();
    const lines: string[] = [];
    this.#batch = lines;
    try {
      return await change();
    } finally {
      this.#batch = null;
      if (options.quiet !== true) this.#emit(lines);
    }
  }

  /** Sets `state` ("4: ACTIVE") and `phys_state` ("5: LinkUp"); the port's net devices follow. */
  async setPort(hca: string, port: number, state: string, physState: string, options?: MutationOptions): Promise<void> {
    await this.#mutate(setPort(this.#kernel, this.#find(hca), port, state, physState), options);
  }

  /** The port is disabled: `ip link set … down`. */
  async portDown(hca: string, port: number, options?: MutationOptions): Promise<void> {
    await this.setPort(hca, port, "1: DOWN", "3: Disabled", options);
  }

  /** The cable or the remote port is removed. */
  async carrierLost(hca: string, port: number, options?: MutationOptions): Promise<void> {
    await this.setPort(hca, port, "1: DOWN", "2: Polling", options);
  }

  async portUp(hca: string, port: number, options?: MutationOptions): Promise<void> {
    await this.setPort(hca, port, "4: ACTIVE", "5: LinkUp", options);
  }

  /** The link is up and the subnet manager has not configured it. */
  async portInit(hca: string, port: number, options?: MutationOptions): Promise<void> {
    await this.setPort(hca, port, "2: INIT", "5: LinkUp", options);
  }

  /** Replaces the port's GID table, as an address change does. */
  async setGids(hca: string, port: number, gids: readonly GidDescription[], options?: MutationOptions): Promise<void> {
    await this.#mutate(setGids(this.#kernel, this.#find(hca), port, gids), options);
  }

  /**
   * Unbinds the driver (or `rdma link delete`): class entries, nodes and net devices disappear, and /dev/infiniband
   * with its last node. The PCI function stays without a driver; VFs and sub-functions of the HCA are removed first.
   */
  async removeHca(name: string, options?: MutationOptions): Promise<void> {
    await this.#mutate(this.#kernel.unbind(this.#present(name)), options);
  }

  /** Binds the driver again. A PF has no VFs then; if its name was taken meanwhile, it gets another one. */
  async restoreHca(name: string, options: RestoreOptions = {}): Promise<void> {
    const hca = this.#kernel.hcas.find((one) => one.name === name && one.where === "gone");
    if (hca === undefined) throw new Error(`Cannot restore ${name}: no removed HCA has that name`);
    if (options.uverbs !== undefined) this.#requireFree(name, options.uverbs);
    await this.#mutate(this.#kernel.bind(hca, options.uverbs ?? null), options);
  }

  /** Writes `n` to the PF's `sriov_numvfs`; the VFs get the next free names and numbers. */
  async addVfs(pf: string, n: number, options?: MutationOptions): Promise<void> {
    await this.#mutate(this.#kernel.createVfs(this.#find(pf), n), options);
  }

  /** Writes 0 to the PF's `sriov_numvfs`. */
  async removeVfs(pf: string, options?: MutationOptions): Promise<void> {
    await this.#mutate(this.#kernel.destroyVfs(this.#find(pf)), options);
  }

  /** Removes the HCA's uverbs entry and node and adds them as `uverbs<number>`. */
  async renumberUverbs(name: string, number: number, options?: MutationOptions): Promise<void> {
    const hca = this.#present(name);
    if (hca.uverbs !== number) this.#requireFree(name, number);
    await this.#mutate(renumber(this.#kernel, [[hca, number]]), options);
  }

  /** Swaps the uverbs numbers of two HCAs: removes both, then adds both. */
  async swapUverbs(a: string, b: string, options?: MutationOptions): Promise<void> {
    const [first, second] = [this.#present(a), this.#present(b)];
    await this.#mutate(renumber(this.#kernel, [[first, second.uverbs], [second, first.uverbs]]), options);
  }

  /** `rdma dev set OLD name NEW`: uverbs, umad and issm keep their numbers. */
  async renameHca(old: string, name: string, options?: MutationOptions): Promise<void> {
    const hca = this.#present(old);
    const taken = this.#kernel.hcas.find((other) => other.name === name && other.where !== "gone");
    if (taken !== undefined) throw new Error(`Cannot rename ${old} to ${name}: the name is taken (EEXIST)`);
    await this.#mutate(rename(this.#kernel, hca, name), options);
  }

  /** Removes the node from /dev but not from sysfs, as in a container without the mount. */
  async hideUverbsNode(name: string, options?: MutationOptions): Promise<void> {
    await this.#mutate(showNode(this.#kernel, this.#present(name), false), options);
  }

  async showUverbsNode(name: string, options?: MutationOptions): Promise<void> {
    await this.#mutate(showNode(this.#kernel, this.#present(name), true), options);
  }

  /**
   * `rdma dev set NAME netns POD`: the RDMA entries and net devices leave the host's namespace; the PCI function keeps
   * its driver, and the nodes stay in /dev, which has no network namespaces.
   */
  async moveToPod(name: string, options?: MutationOptions): Promise<void> {
    if (!this.#exclusive) {
      throw new Error(
        `Cannot move ${name} to a pod: the host is in shared mode, describe it with netnsMode "exclusive"`,
      );
    }
    await this.#mutate(leave(this.#kernel, this.#present(name)), options);
  }

  async returnFromPod(name: string, options?: MutationOptions): Promise<void> {
    const hca = this.#find(name);
    if (hca.where !== "pod") throw new Error(`Cannot return ${name} from a pod: it is not in a pod`);
    await this.#mutate(comeBack(this.#kernel, hca), options);
  }

  /**
   * A CNI plugin (host-device, SR-IOV) moves the HCA's net devices into a pod; the HCA itself stays, in shared mode.
   */
  async moveNetdevsToPod(name: string, options?: MutationOptions): Promise<void> {
    const hca = this.#present(name);
    if (hca.netdevsInPod) throw new Error(`Cannot move net devices of ${name}: they are already in a pod`);
    await this.#mutate(netdevsLeave(this.#kernel, hca), options);
  }

  async returnNetdevs(name: string, options?: MutationOptions): Promise<void> {
    const hca = this.#present(name);
    if (!hca.netdevsInPod) throw new Error(`Cannot return net devices of ${name}: they are not in a pod`);
    await this.#mutate(netdevsReturn(this.#kernel, hca), options);
  }

  /** Writes one attribute of the HCA ("ports/1/rate"), atomically and with a final newline. */
  async setAttribute(name: string, path: string, content: string, options?: MutationOptions): Promise<void> {
    const file = `${this.#kernel.pathOf(this.#present(name))}/${path}`;
    await this.#once(() => this.#kernel.sys.file(file, content), `change ${name} ${path}`, options);
  }

  /** Removes one file of sysfs ("class/infiniband/mlx5_0/node_guid"); `fix` restores it. */
  async removeFile(path: string, options?: MutationOptions): Promise<void> {
    const file = join(this.sysfsRoot, path);
    this.#originals.set(path, readFileSync(file));
    await this.#once(() => rmSync(file), `change ${path}`, options);
  }

  /** Undoes `removeFile`. */
  async fix(path: string, options?: MutationOptions): Promise<void> {
    const original = this.#originals.get(path);
    if (original === undefined) throw new Error(`Cannot fix ${path}: it was not removed`);
    this.#originals.delete(path);
    await this.#once(() => writeFileSync(join(this.sysfsRoot, path), original), `change ${path}`, options);
  }

  /** Loads or unloads rdma_ucm. */
  async setRdmaCm(present: boolean, options?: MutationOptions): Promise<void> {
    await this.#once(() => this.#misc.set("rdma_cm", present), `${present ? "add" : "remove"} rdma_cm`, options);
  }

  /** Removes `root` and everything in it. */
  close(): void {
    this.#listeners.clear();
    rmSync(this.root, { recursive: true, force: true });
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #mutate(steps: Steps, options: MutationOptions = {}): Promise<void> {
    for (let step = steps.next();; step = steps.next()) {
      if (step.done === true) {
        if (options.quiet !== true) this.#emit(step.value);
        return;
      }
      if (options.between !== undefined) await options.between();
    }
  }

  #once(change: () => void, line: string, options?: MutationOptions): Promise<void> {
    // deno-lint-ignore require-yield
    const steps = function* (): Steps {
      change();
      return [line];
    };
    return this.#mutate(steps(), options);
  }

  #emit(lines: readonly string[]): void {
    if (lines.length === 0) return;
    if (this.#batch !== null) {
      this.#batch.push(...lines);
      return;
    }
    appendFileSync(this.eventsFile, lines.map((line) => `${line}\n`).join(""));
    for (const listener of this.#listeners) listener(lines);
  }

  #find(name: string): HcaObject {
    const hca = this.#kernel.find(name);
    if (hca !== undefined) return hca;
    const names = this.#kernel.hcas.map((other) => other.name).join(", ") || "none";
    throw new Error(`Cannot find ${name} on the fake host: its HCAs are ${names}`);
  }

  #present(name: string): HcaObject {
    const hca = this.#find(name);
    if (hca.where === "gone") throw new Error(`Cannot change ${name}: its driver is not bound, restore it first`);
    return hca;
  }

  #requireFree(name: string, uverbs: number): void {
    const owner = this.#kernel.hcas.find((other) => other.uverbs === uverbs);
    if (owner !== undefined) throw new Error(`Cannot give uverbs${uverbs} to ${name}: ${owner.name} has it`);
  }
}

/** Runs all steps at once. */
function finish(steps: Steps): void {
  while (steps.next().done !== true);
}

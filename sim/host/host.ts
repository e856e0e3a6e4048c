/**
 * A fake host: a sysfs and a /dev tree on disk, laid out as a real kernel lays them out, which change while somebody
 * looks. The plugin's discovery runs over them unmodified (`--sysfs-root`, `--dev-root`), and so does the real
 * libibverbs (`SYSFS_PATH`, with `devRoot/infiniband` at /dev/infiniband).
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
  /** The uverbs number it comes back with; default: the lowest free one, as the kernel does. */
  readonly uverbs?: number;
}

/** A machine on disk. Every change is on disk when its promise resolves, and without `between` when the call returns. */
export class FakeHost {
  readonly root: string;
  /** For `--sysfs-root` and SYSFS_PATH. */
  readonly sysfsRoot: string;
  /** For `--dev-root`. */
  readonly devRoot: string;
  /** One line for each change, after it was done: a process that watches it is told as netlink would tell it. */
  readonly eventsFile: string;
  readonly #kernel: Kernel;
  readonly #misc: MiscDevices;
  readonly #exclusive: boolean;
  /** What torn and removed files said, by path. */
  readonly #originals = new Map<string, Uint8Array>();
  readonly #listeners = new Set<(lines: readonly string[]) => void>();
  /** Lines of the batch that is running, null outside. */
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
   * Builds the trees below `root`, which is made when it is missing.
   *
   * @throws when there are trees below `root` already, or when the description contradicts itself
   */
  static create(root: string, description: HostDescription): FakeHost {
    return new FakeHost(root, description);
  }

  /**
   * A new empty directory to build a host in: in memory where the machine has /dev/shm (a host of 1,024 HCAs is 80,000
   * files, which take some disks a minute), in the temporary directory elsewhere.
   */
  static temporaryRoot(): string {
    try {
      return mkdtempSync("/dev/shm/rdma-host-");
    } catch {
      // No /dev/shm, or not ours to write in.
      return mkdtempSync(join(tmpdir(), "rdma-host-"));
    }
  }

  /** Names of the HCAs that the host's network namespace sees, in natural order. */
  hcaNames(): string[] {
    return this.describe().map((hca) => hca.name);
  }

  /** What a full scan must find now, in natural order of the names: the answer key for tests. */
  describe(): HcaNow[] {
    return this.#kernel.hcas.filter((hca) => hca.where === "here").map((hca) => describeHca(hca))
      .sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  }

  /** HCAs without a driver, those that `restoreHca` accepts. */
  removedHcas(): string[] {
    return this.#kernel.hcas.filter((hca) => hca.where === "gone").map((hca) => hca.name);
  }

  /** HCAs in pods' network namespaces, those that `returnFromPod` accepts. */
  hcasInPods(): string[] {
    return this.#kernel.hcas.filter((hca) => hca.where === "pod").map((hca) => hca.name);
  }

  /** Whether the host has the rdma_cm and knem nodes. */
  extras(): { readonly rdmaCm: boolean; readonly knem: boolean } {
    return { rdmaCm: this.#misc.has("rdma_cm"), knem: this.#misc.has("knem") };
  }

  /** Where the HCA's directory is on this machine, links resolved. */
  hcaPath(name: string): string {
    return this.#kernel.sys.at(this.#kernel.pathOf(this.#find(name)));
  }

  /** Calls `listener` with the lines of each event, after they were written; returns how to stop that. */
  onEvent(listener: (lines: readonly string[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Makes one event of all changes that `change` makes; with `quiet`, none. */
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

  /** Sets what `state` ("4: ACTIVE") and `phys_state` ("5: LinkUp") say; the port's net devices follow. */
  async setPort(hca: string, port: number, state: string, physState: string, options?: MutationOptions): Promise<void> {
    await this.#mutate(setPort(this.#kernel, this.#find(hca), port, state, physState), options);
  }

  /** The port is disabled: `ip link set … down`. */
  async portDown(hca: string, port: number, options?: MutationOptions): Promise<void> {
    await this.setPort(hca, port, "1: DOWN", "3: Disabled", options);
  }

  /** The cable is gone, or the other end. */
  async carrierLost(hca: string, port: number, options?: MutationOptions): Promise<void> {
    await this.setPort(hca, port, "1: DOWN", "2: Polling", options);
  }

  async portUp(hca: string, port: number, options?: MutationOptions): Promise<void> {
    await this.setPort(hca, port, "4: ACTIVE", "5: LinkUp", options);
  }

  /** The link is up and no subnet manager has configured it yet. */
  async portInit(hca: string, port: number, options?: MutationOptions): Promise<void> {
    await this.setPort(hca, port, "2: INIT", "5: LinkUp", options);
  }

  /** Replaces the port's GID table, as an address change does. */
  async setGids(hca: string, port: number, gids: readonly GidDescription[], options?: MutationOptions): Promise<void> {
    await this.#mutate(setGids(this.#kernel, this.#find(hca), port, gids), options);
  }

  /**
   * The driver leaves the HCA (or `rdma link delete`): class entries, nodes and net devices vanish, /dev/infiniband too
   * with its last node. The PCI function stays without a driver; VFs and sub-functions below the HCA go first.
   */
  async removeHca(name: string, options?: MutationOptions): Promise<void> {
    await this.#mutate(this.#kernel.unbind(this.#present(name)), options);
  }

  /** The driver is bound again. A PF comes back without VFs; a name that was given away meanwhile is replaced. */
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

  /** The HCA's uverbs entry and node go and come back as `uverbs<number>`. */
  async renumberUverbs(name: string, number: number, options?: MutationOptions): Promise<void> {
    const hca = this.#present(name);
    if (hca.uverbs !== number) this.#requireFree(name, number);
    await this.#mutate(renumber(this.#kernel, [[hca, number]]), options);
  }

  /** Two HCAs change their uverbs numbers: both go, then both come. */
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

  /** Takes the node out of /dev though sysfs has the entry, as a container sees it that lacks the mount. */
  async hideUverbsNode(name: string, options?: MutationOptions): Promise<void> {
    await this.#mutate(showNode(this.#kernel, this.#present(name), false), options);
  }

  async showUverbsNode(name: string, options?: MutationOptions): Promise<void> {
    await this.#mutate(showNode(this.#kernel, this.#present(name), true), options);
  }

  /**
   * `rdma dev set NAME netns POD`: the RDMA entries and net devices leave the host's view; the PCI function keeps its
   * driver and the nodes stay in /dev, which knows no network namespaces.
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
    if (hca.where !== "pod") throw new Error(`Cannot return ${name} from a pod: it is in none`);
    await this.#mutate(comeBack(this.#kernel, hca), options);
  }

  /** A CNI plugin (host-device, SR-IOV) moves the HCA's net devices into a pod; the HCA itself stays, in shared mode. */
  async moveNetdevsToPod(name: string, options?: MutationOptions): Promise<void> {
    const hca = this.#present(name);
    if (hca.netdevsInPod) throw new Error(`Cannot move net devices of ${name}: they are in a pod already`);
    await this.#mutate(netdevsLeave(this.#kernel, hca), options);
  }

  async returnNetdevs(name: string, options?: MutationOptions): Promise<void> {
    const hca = this.#present(name);
    if (!hca.netdevsInPod) throw new Error(`Cannot return net devices of ${name}: they are in no pod`);
    await this.#mutate(netdevsReturn(this.#kernel, hca), options);
  }

  /** Writes one attribute below the HCA's directory ("ports/1/rate"), whole and with a final newline. */
  async setAttribute(name: string, path: string, content: string, options?: MutationOptions): Promise<void> {
    const file = `${this.#kernel.pathOf(this.#present(name))}/${path}`;
    await this.#once(() => this.#kernel.sys.file(file, content), `change ${name} ${path}`, options);
  }

  /**
   * Spoils a file of sysfs in place ("class/infiniband/mlx5_0/node_guid"): keeps its first `bytes` bytes when that is a
   * number, and writes those bytes when it is text or bytes. `fix` undoes it.
   */
  async tear(path: string, bytes: number | string | Uint8Array, options?: MutationOptions): Promise<void> {
    await this.#once(
      () => {
        const original = this.#remember(path);
        writeFileSync(join(this.sysfsRoot, path), typeof bytes === "number" ? original.subarray(0, bytes) : bytes);
      },
      `change ${path}`,
      options,
    );
  }

  /** Removes one file of sysfs; `fix` brings it back. */
  async removeFile(path: string, options?: MutationOptions): Promise<void> {
    await this.#once(
      () => {
        this.#remember(path);
        rmSync(join(this.sysfsRoot, path));
      },
      `change ${path}`,
      options,
    );
  }

  /** Undoes `tear` and `removeFile`. */
  async fix(path: string, options?: MutationOptions): Promise<void> {
    const original = this.#originals.get(path);
    if (original === undefined) throw new Error(`Cannot fix ${path}: it was neither torn nor removed`);
    this.#originals.delete(path);
    await this.#once(() => writeFileSync(join(this.sysfsRoot, path), original), `change ${path}`, options);
  }

  async loadKnem(options?: MutationOptions): Promise<void> {
    await this.#once(() => this.#misc.set("knem", true), "add knem", options);
  }

  async unloadKnem(options?: MutationOptions): Promise<void> {
    await this.#once(() => this.#misc.set("knem", false), "remove knem", options);
  }

  /** Loads or unloads rdma_ucm. */
  async setRdmaCm(present: boolean, options?: MutationOptions): Promise<void> {
    await this.#once(() => this.#misc.set("rdma_cm", present), `${present ? "add" : "remove"} rdma_cm`, options);
  }

  /** Appends a line to the events file though nothing changed: a trigger for nothing, or a late one. */
  poke(line = "change nothing"): void {
    this.#emit([line]);
  }

  /** Removes everything below `root`, and `root`. */
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

  #remember(path: string): Uint8Array {
    const original = this.#originals.get(path) ?? readFileSync(join(this.sysfsRoot, path));
    this.#originals.set(path, original);
    return original;
  }
}

/** Runs all steps at once. */
function finish(steps: Steps): void {
  while (steps.next().done !== true);
}

/**
 * Device nodes that belong to no HCA: rdma_cm and knem.
 *
 * @module
 */
import type { Machine } from "./machine.ts";

const MISC = {
  rdma_cm: { module: "rdma_ucm", minor: 123, node: "infiniband/rdma_cm" },
  knem: { module: "knem", minor: 122, node: "knem" },
} as const;

/** Which of them the machine has. */
export class MiscDevices {
  readonly #machine: Machine;
  readonly #there = new Set<keyof typeof MISC>();

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  has(name: keyof typeof MISC): boolean {
    return this.#there.has(name);
  }

  /** Loads or unloads the module of that device. */
  set(name: keyof typeof MISC, present: boolean): void {
    if (present === this.has(name)) return;
    const { module, minor, node } = MISC[name];
    if (present) {
      this.#there.add(name);
      this.#machine.plugMisc(name, module, minor, node);
    } else {
      this.#there.delete(name);
      this.#machine.unplugMisc(name, module, node);
    }
  }
}

/**
 * Notes for the operator when resources do not fit the machine's RDMA network namespace mode. Pure.
 *
 * @module
 */
import type { NetnsMode } from "../hca/types.ts";
import type { ResourceSpec } from "./spec.ts";

/** A note about the mode and a resource that does not fit it. */
export interface NetnsNote {
  /** `broken` when pods will not work, `doubtful` when they work under a condition, `hint` when they work. */
  readonly verdict: "broken" | "doubtful" | "hint";
  readonly what: string;
  readonly reason: string;
  readonly fix: string;
}

/** Notes about the mode and these resources; empty when they fit. */
export function netnsNotes(specs: readonly ResourceSpec[], mode: NetnsMode): readonly NetnsNote[] {
  // With DRA, an HCA is not shared in exclusive mode, and is always identified by its PCI function.
  const plugin = specs.filter((spec) => spec.api === "device-plugin");
  const shared = plugin.filter((spec) => spec.mode.kind === "shared").map((spec) => spec.name);
  const forPods = plugin.filter((spec) => spec.mode.kind === "exclusive" && spec.ids === "pci").map((spec) =>
    spec.name
  );
  if (mode === "exclusive" && shared.length > 0) {
    return [{
      verdict: "broken",
      what: `the node's RDMA net namespace mode is exclusive, and ${shared.join(", ")} shares HCAs`,
      reason: "in exclusive mode an HCA can be used in one network namespace only: pods get nodes that have no device",
      fix: "rdma system set netns shared (before any pod runs; permanently: options ib_core netns_mode=1 in " +
        "/etc/modprobe.d), or offer the HCAs with mode: exclusive",
    }];
  }
  if (mode === "exclusive") {
    return [{
      verdict: "doubtful",
      what: "the node's RDMA net namespace mode is exclusive",
      reason: "an HCA works in a pod only when it is moved into the pod's network namespace",
      fix: "use a CNI that does so (rdma-cni with Multus), or rdma system set netns shared",
    }];
  }
  if (mode === "shared" && forPods.length > 0) {
    return [{
      verdict: "hint",
      what: `the node's RDMA net namespace mode is shared, and ${forPods.join(", ")} gives functions to single pods`,
      reason: "a pod sees the other HCAs in sysfs; only the device nodes that it was given keep them apart",
      fix: "to isolate pods by namespaces: rdma system set netns exclusive, and rdma-cni with Multus",
    }];
  }
  return [];
}

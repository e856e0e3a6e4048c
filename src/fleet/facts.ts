/**
 * What is kept of a cluster's objects: a few fields, so that a fleet fits into memory. Texts come from the cluster as they
 * are; whoever prints them makes them printable.
 *
 * @module
 */

/** A device-plugin resource of a node, in devices. */
export interface NodeResource {
  readonly name: string;
  readonly capacity: number;
  /** Those of them that are healthy. */
  readonly allocatable: number;
}

/** The Node condition RDMAReady, which the plugin writes with --kubernetes-events. */
export interface RdmaCondition {
  readonly ready: boolean;
  readonly message: string;
  /** When it became so; ISO 8601. */
  readonly since: string | null;
}

export interface NodeFacts {
  readonly name: string;
  /** Null while the node is Ready. */
  readonly notReady: { readonly reason: string; readonly since: string | null } | null;
  readonly condition: RdmaCondition | null;
  readonly resources: readonly NodeResource[];
  /** The plugin's labels, without their domain. */
  readonly labels: Readonly<Record<string, string>>;
}

/** One device that a container of a pod has, as the kubelet reports it. */
export interface HeldDevice {
  readonly resource: string;
  /** The device plugin's ID. */
  readonly id: string;
  readonly healthy: boolean;
}

/** A pod of the plugin. */
export interface PluginFacts {
  readonly version: string;
  readonly ready: boolean;
}

export interface PodFacts {
  /** "namespace/name" */
  readonly pod: string;
  readonly node: string;
  /** Devices by resource. */
  readonly requests: Readonly<Record<string, number>>;
  readonly devices: readonly HeldDevice[];
  readonly plugin: PluginFacts | null;
}

/** A device of a ResourceSlice. */
export interface DeviceFacts {
  readonly name: string;
  readonly resource: string;
  readonly hca: string;
  readonly ports: number | null;
  readonly rateGbps: number | null;
  readonly firmware: string | null;
  /** How many claims may have it; 1 for a device that is not shared. */
  readonly shares: number;
  /** Why it should not be had now; the taint's key without its domain. */
  readonly taint: { readonly key: string; readonly blocks: boolean; readonly since: string | null } | null;
}

export interface SliceFacts {
  readonly node: string;
  readonly pool: string;
  readonly generation: number;
  readonly devices: readonly DeviceFacts[];
}

/** What a claim has of a device. */
export interface ClaimedDevice {
  readonly pool: string;
  readonly device: string;
  readonly shares: number;
}

export interface ClaimFacts {
  readonly devices: readonly ClaimedDevice[];
  /** "namespace/name" of those that use it. */
  readonly pods: readonly string[];
}

/** An event of the plugin about a device of a node. */
export interface EventFacts {
  readonly node: string;
  readonly hca: string;
  readonly resource: string;
  readonly healthy: boolean;
  readonly reason: string;
  /** When it was last so; ISO 8601. */
  readonly time: string;
  /** How often. */
  readonly count: number;
}

/** Everything that is known of a cluster. */
export interface FleetFacts {
  readonly nodes: Iterable<NodeFacts>;
  readonly pods: Iterable<PodFacts>;
  readonly slices: Iterable<SliceFacts>;
  readonly claims: Iterable<ClaimFacts>;
  readonly events: Iterable<EventFacts>;
  /** Whether pods and claims could be read: what is missing of them then is no finding. */
  readonly known: { readonly pods: boolean; readonly claims: boolean };
}

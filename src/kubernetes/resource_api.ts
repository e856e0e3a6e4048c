/**
 * The objects of `resource.k8s.io/v1`, with the fields that are used here.
 *
 * @module
 */

export const RESOURCE_API = "resource.k8s.io/v1";
/** What 404 on one of its collections means. */
export const NO_RESOURCE_API = `the API server has no ${RESOURCE_API}; it came with Kubernetes 1.34`;
export const SLICES_PATH = "/apis/resource.k8s.io/v1/resourceslices";
export const CLASSES_PATH = "/apis/resource.k8s.io/v1/deviceclasses";

export interface ObjectMeta {
  readonly name?: string;
  readonly generateName?: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly ownerReferences?: readonly OwnerReference[];
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
}

/** Exactly one of the fields. */
export interface AttributeValue {
  readonly int?: number;
  readonly bool?: boolean;
  readonly string?: string;
  readonly version?: string;
}

/** How requests may consume part of a capacity of a shared device. */
export interface RequestPolicy {
  readonly default?: string;
  readonly validRange?: { readonly min?: string; readonly max?: string; readonly step?: string };
}

export interface Capacity {
  readonly value: string;
  readonly requestPolicy?: RequestPolicy;
}

export type TaintEffect = "None" | "NoSchedule" | "NoExecute";

export interface DeviceTaint {
  readonly key: string;
  readonly value?: string;
  readonly effect: TaintEffect;
  readonly timeAdded?: string;
}

export interface Counter {
  readonly value: string;
}

export interface CounterSet {
  readonly name: string;
  readonly counters: Readonly<Record<string, Counter>>;
}

export interface CounterConsumption {
  readonly counterSet: string;
  readonly counters: Readonly<Record<string, Counter>>;
}

export interface SliceDevice {
  readonly name: string;
  readonly attributes?: Readonly<Record<string, AttributeValue>>;
  readonly capacity?: Readonly<Record<string, Capacity>>;
  readonly allowMultipleAllocations?: boolean;
  readonly taints?: readonly DeviceTaint[];
  readonly consumesCounters?: readonly CounterConsumption[];
}

export interface SliceSpec {
  readonly driver: string;
  readonly nodeName?: string;
  readonly pool: { readonly name: string; readonly generation: number; readonly resourceSliceCount: number };
  readonly devices?: readonly SliceDevice[];
  readonly sharedCounters?: readonly CounterSet[];
}

export interface ResourceSlice {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
  readonly spec: SliceSpec;
}

/** The device that the scheduler allocated to one request of a claim. */
export interface AllocationResult {
  readonly request: string;
  readonly driver: string;
  readonly pool: string;
  readonly device: string;
  readonly shareID?: string;
  readonly adminAccess?: boolean;
  readonly consumedCapacity?: Readonly<Record<string, string>>;
}

/** Parameters for a driver, from the class or from the claim. */
export interface AllocationConfig {
  readonly source: "FromClass" | "FromClaim";
  readonly requests?: readonly string[];
  readonly opaque?: { readonly driver: string; readonly parameters: unknown };
}

export interface ResourceClaim {
  readonly metadata: ObjectMeta;
  readonly status?: {
    readonly allocation?: {
      readonly devices?: {
        readonly results?: readonly AllocationResult[];
        readonly config?: readonly AllocationConfig[];
      };
    };
    /** Who uses it: pods, as a rule. */
    readonly reservedFor?: readonly { readonly resource: string; readonly name: string; readonly uid: string }[];
  };
}

export interface DeviceClass {
  readonly metadata: ObjectMeta;
  readonly spec: { readonly extendedResourceName?: string };
}

export interface KubernetesNode {
  readonly metadata: ObjectMeta;
  readonly status?: { readonly allocatable?: Readonly<Record<string, string>> };
}

/** A list of any kind. */
export interface ObjectList<T> {
  readonly metadata: { readonly resourceVersion?: string };
  readonly items: readonly T[];
}

export function claimPath(namespace: string, name: string): string {
  return `/apis/resource.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/resourceclaims/${
    encodeURIComponent(name)
  }`;
}

export function nodePath(name: string): string {
  return `/api/v1/nodes/${encodeURIComponent(name)}`;
}

/**
 * The fields of the API's objects that the fleet is made of.
 *
 * @module
 */
import type { ObjectMeta, ResourceClaim, ResourceSlice, SliceDevice } from "../kubernetes/resource_api.ts";

export type Conditions = readonly {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
  readonly lastTransitionTime?: string;
}[];

interface Labelled extends ObjectMeta {
  readonly labels?: Readonly<Record<string, string>>;
}

export interface ApiNode {
  readonly metadata: Labelled;
  readonly status?: {
    readonly capacity?: Readonly<Record<string, string>>;
    readonly allocatable?: Readonly<Record<string, string>>;
    readonly conditions?: Conditions;
  };
}

export interface ApiContainer {
  readonly image?: string;
  /** "Always" makes an init container run beside the others. */
  readonly restartPolicy?: string;
  readonly resources?: {
    readonly requests?: Readonly<Record<string, string>>;
    readonly limits?: Readonly<Record<string, string>>;
  };
}

export interface ApiContainerStatus {
  readonly allocatedResourcesStatus?: readonly {
    readonly name: string;
    readonly resources?: readonly { readonly resourceID: string; readonly health?: string }[];
  }[];
}

export interface ApiPodSpec {
  readonly nodeName?: string;
  readonly containers?: readonly ApiContainer[];
  readonly initContainers?: readonly ApiContainer[];
}

export interface ApiPodStatus {
  readonly phase?: string;
  readonly conditions?: Conditions;
  readonly containerStatuses?: readonly ApiContainerStatus[];
  readonly initContainerStatuses?: readonly ApiContainerStatus[];
}

export interface ApiPod {
  readonly metadata: Labelled;
  readonly spec?: ApiPodSpec;
  readonly status?: ApiPodStatus;
}

export type ApiSlice = ResourceSlice;
export type ApiDevice = SliceDevice;

export interface ApiClaim extends ResourceClaim {
  readonly status?: ResourceClaim["status"] & {
    readonly reservedFor?: readonly { readonly resource: string; readonly name: string; readonly uid: string }[];
  };
}

export interface ApiEvent {
  readonly metadata: ObjectMeta;
  readonly regarding?: { readonly kind?: string; readonly name?: string };
  readonly note?: string;
  readonly eventTime?: string | null;
  readonly series?: { readonly count: number; readonly lastObservedTime: string };
}

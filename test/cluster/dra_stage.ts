/**
 * What the situations of the DRA driver need besides the stage: deployments with access to the API server, claims, and
 * pods that have them.
 *
 * @module
 */
import { eventually } from "../support/eventually.ts";
import type { KubeObject, PodObject } from "../support/cluster/objects.ts";
import type { DeviceTaint, SliceDevice } from "../../src/kubernetes/resource_api.ts";
import type { Deployment } from "./deployment.ts";
import { RESOURCE } from "./host.ts";
import { allRun, podObject, type Stage } from "./stage.ts";

export const SLICES = "/apis/resource.k8s.io/v1/resourceslices";
export const CLASSES = "/apis/resource.k8s.io/v1/deviceclasses";
const CLAIMS = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims";
const TEMPLATES = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaimtemplates";
const PODS = "/api/v1/namespaces/default/pods";

interface SliceObject extends KubeObject {
  readonly spec: { readonly driver: string; readonly devices?: readonly SliceDevice[] };
}

/** Ways to deploy the driver. */
export type Kind = "exclusive" | "shared" | "plugin" | "evicting";

const configured = (more: object): Deployment => (
  { components: ["dra"], config: { resources: [{ name: RESOURCE, api: "dra", ...more }] } }
);

const DEPLOYMENTS: Readonly<Record<Kind, Deployment>> = {
  exclusive: { components: ["dra"], args: ["--api=dra"] },
  plugin: { components: ["dra"], args: ["--api=device-plugin"] },
  shared: configured({ mode: "shared", share: "one", shares: 2, dra: { bandwidth: true } }),
  evicting: configured({ dra: { taint: "NoExecute" } }),
};

/**
 * The component `dra` on this stage's cluster.
 *
 * `plugin` offers the same resource through the device plugin API, with everything that DRA needs in place: what a node
 * is before it is switched.
 */
export async function useDra(stage: Stage, kind: Kind = "exclusive"): Promise<void> {
  await stage.use(DEPLOYMENTS[kind]);
  if (kind !== "plugin") await devices(stage, (all) => all.length === 4, "four devices in ResourceSlices");
}

/** Waits until the driver's devices are as wanted. */
export async function devices(
  stage: Stage,
  wanted: (all: readonly SliceDevice[]) => boolean,
  what: string,
): Promise<readonly SliceDevice[]> {
  let all: readonly SliceDevice[] = [];
  return await eventually(
    async () => wanted(all = await publishedDevices(stage)) && all,
    () => `${what}; there are ${JSON.stringify(all)}`,
    { timeoutMs: 45_000 },
  );
}

async function publishedDevices(stage: Stage): Promise<readonly SliceDevice[]> {
  return (await slices(stage)).flatMap((one) => one.spec.devices ?? []);
}

export async function slices(stage: Stage): Promise<readonly SliceObject[]> {
  return (await stage.cluster.api.list<SliceObject>(SLICES)).items.filter((one) =>
    one.spec.driver === "rdma.tencent.com"
  );
}

export function taintsOf(all: readonly SliceDevice[], hca: string): readonly DeviceTaint[] {
  return all.find((one) => one.attributes?.rdmaDevice?.string === hca)?.taints ?? [];
}

/** A request for one device. */
export interface Request {
  readonly name?: string;
  /** CEL; a short form for the driver's attributes is `rdma.NAME`. */
  readonly cel?: string;
  readonly capacity?: Readonly<Record<string, string>>;
}

let number = 0;

/** A claim's spec, for a claim or a template. */
export function claimSpec(requests: readonly Request[], matchAttribute?: string): object {
  return {
    devices: {
      requests: requests.map(({ name = "nic", cel, capacity }) => ({
        name,
        exactly: {
          deviceClassName: "rdma.tencent.com",
          ...cel === undefined ? {} : {
            selectors: [{ cel: { expression: cel.replaceAll("rdma.", `device.attributes["rdma.tencent.com"].`) } }],
          },
          ...capacity === undefined ? {} : { capacity: { requests: capacity } },
        },
      })),
      ...matchAttribute === undefined
        ? {}
        : { constraints: [{ requests: requests.map(({ name = "nic" }) => name), matchAttribute }] },
    },
  };
}

/** A template, which pods make claims of their own from; gives its name. */
export async function template(stage: Stage, spec: object): Promise<string> {
  const name = `template-${++number}`;
  await stage.cluster.api.create(TEMPLATES, { metadata: { name }, spec: { spec } });
  return name;
}

/** A pod with a claim of a template; gives its name. It may stay pending. */
export async function createPod(stage: Stage, templateName: string): Promise<string> {
  const name = `claimant-${++number}`;
  const resourceClaims = [{ name: "rdma", resourceClaimTemplateName: templateName }];
  const pod = podObject(name, [{ claims: [{ name: "rdma" }] }], { resourceClaims });
  await stage.cluster.api.create(PODS, pod);
  return name;
}

/**
 * How long a pod may take: the kubelet may ask for a claim before the API server's node authorizer has heard of it, and
 * then, or when a prepare was refused, tries again at its next resync, a minute or more later.
 */
const POD_MS = 120_000;

export async function running(stage: Stage, pod: string): Promise<void> {
  await stage.cluster.api.until<PodObject, boolean>(
    `${PODS}/${pod}`,
    (now) => now?.status.phase === "Running" && allRun(now),
    `${pod} to run`,
    POD_MS,
  );
}

/** A pod with one claim of these requests, running. */
export async function runClaim(stage: Stage, ...requests: Request[]): Promise<string> {
  const pod = await createPod(stage, await template(stage, claimSpec(requests.length === 0 ? [{}] : requests)));
  await running(stage, pod);
  return pod;
}

/** Whether the scheduler has said that the pod must wait. */
export async function unschedulable(stage: Stage, pod: string): Promise<void> {
  await stage.untilPod(
    pod,
    (now) => now?.status.conditions?.some((one) => one.type === "PodScheduled" && one.reason === "Unschedulable"),
    "an unschedulable pod",
  );
}

/** The event that says why a pod does not start. */
export async function failure(stage: Stage, pod: string, pattern: RegExp): Promise<string> {
  const path = `/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3D${pod}`;
  let said: readonly string[] = [];
  return await eventually(
    async () => {
      const { items } = await stage.cluster.api.list<KubeObject & { readonly message: string }>(path);
      said = items.map((one) => one.message);
      return said.find((one) => pattern.test(one));
    },
    () => `an event of ${pod} that matches ${pattern}: ${said.join("; ")}`,
    { timeoutMs: POD_MS, everyMs: 100 },
  );
}

/** What the pod's status says of its claim's devices. */
export function claimHealth(pod: PodObject): readonly { health: string; message?: string; resourceID: string }[] {
  return (pod.status.containerStatuses ?? []).flatMap((one) => one.allocatedResourcesStatus ?? [])
    .filter(({ name }) => name.startsWith("claim:")).flatMap((one) => one.resources);
}

export async function deleteClass(stage: Stage, name: string): Promise<void> {
  await stage.cluster.api.delete(`${CLASSES}/${name}`);
}

/** Removes claims and templates that situations left. */
export async function tidyClaims(stage: Stage): Promise<void> {
  for (const path of [TEMPLATES, CLAIMS]) {
    for (const { metadata } of (await stage.cluster.api.list<KubeObject>(path)).items) {
      await stage.cluster.api.delete(`${path}/${metadata.name}`);
    }
  }
}

/** Files of prepared claims on the node. */
export function claimFiles(stage: Stage): readonly string[] {
  return stage.cluster.space.run(["find", "/run/cdi", "-name", "rdma.tencent.com-claim_*"], { tolerant: true })
    .split("\n").filter((path) => path !== "");
}

/**
 * Waits until no claim is prepared, or `but` so many: a pod that is deleted without grace is gone for the API server before the kubelet has
 * unprepared its claims, which it may do at its next reconciliation, a minute later.
 */
export async function nothingLeft(stage: Stage, but = 0): Promise<void> {
  await eventually(
    () => claimFiles(stage).length === but,
    () => `${but} prepared claims; there are ${claimFiles(stage).join()}`,
    { timeoutMs: 100_000, everyMs: 200 },
  );
}

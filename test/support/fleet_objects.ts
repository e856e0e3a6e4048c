/**
 * Objects of a small cluster, as its API server has them: what the tests of `fleet` are about.
 *
 * @module
 */
type Parts = Readonly<Record<string, unknown>>;

/** When things happened, in the tests' clusters. */
export const NOON = "2026-11-30T12:00:00Z";
/** When the tests ask, in milliseconds. */
export const ASKED = Date.parse("2026-11-30T12:30:00Z");
export const DRIVER = "rdma.tencent.com";

/** A node with resources as "allocatable of capacity". */
export function node(name: string, resources: Readonly<Record<string, readonly [number, number]>> = {}, over: {
  readonly labels?: Parts;
  readonly conditions?: readonly Parts[];
} = {}) {
  const { labels = {}, conditions = [] } = over;
  const amounts = (index: 0 | 1) => ({
    cpu: "96",
    ...Object.fromEntries(Object.entries(resources).map(([key, value]) => [key, String(value[index])])),
  });
  return {
    metadata: { name, labels: { "kubernetes.io/hostname": name, ...labels } },
    status: {
      allocatable: amounts(0),
      capacity: amounts(1),
      conditions: conditions.some((one) => one.type === "Ready")
        ? conditions
        : [{ type: "Ready", status: "True", lastTransitionTime: NOON }, ...conditions],
    },
  };
}

/** The plugin's labels of a node. */
export function labels(values: Readonly<Record<string, string | number>>): Parts {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [`${DRIVER}/${key}`, String(value)]));
}

export function condition(message: string): Parts {
  return { type: "RDMAReady", status: "False", reason: "DevicesUnhealthy", message, lastTransitionTime: NOON };
}

/** A running pod that asks for devices; `held` are the devices that its status reports, with their health. */
export function pod(
  name: string,
  nodeName: string,
  requests: Readonly<Record<string, number>>,
  held: readonly (readonly [resource: string, id: string, health: string])[] = [],
) {
  const resources = { limits: Object.fromEntries(Object.entries(requests).map(([key, n]) => [key, String(n)])) };
  return {
    metadata: { name, namespace: "ml" },
    spec: { nodeName, containers: [{ name: "main", image: "example.com/mpi:1", resources }] },
    status: {
      phase: "Running",
      containerStatuses: [{
        name: "main",
        allocatedResourcesStatus: held.map(([resource, resourceID, health]) => (
          { name: resource, resources: [{ resourceID, health }] }
        )),
      }],
    },
  };
}

export function pluginPod(nodeName: string, version = "0.1.0", ready = true) {
  return {
    metadata: {
      name: `rdma-device-plugin-${nodeName}`,
      namespace: "kube-system",
      labels: { "app.kubernetes.io/name": "rdma-device-plugin" },
    },
    spec: { nodeName, containers: [{ name: "plugin", image: `registry.example:5000/rdma-device-plugin:${version}` }] },
    status: { phase: "Running", conditions: [{ type: "Ready", status: ready ? "True" : "False" }] },
  };
}

interface Device {
  readonly hca: string;
  readonly firmware?: string;
  readonly rate?: number;
  readonly taint?: string;
  readonly shares?: number;
}

export function slice(nodeName: string, devices: readonly Device[], generation = 1) {
  return {
    apiVersion: "resource.k8s.io/v1",
    kind: "ResourceSlice",
    metadata: { name: `${nodeName}-${generation}` },
    spec: {
      driver: DRIVER,
      nodeName,
      pool: { name: nodeName, generation, resourceSliceCount: 1 },
      devices: devices.map(({ hca, firmware = "28.39.1002", rate = 400, taint, shares }) => ({
        name: `pci-${hca.replace("_", "-")}`,
        attributes: {
          resource: { string: "rdma/rail" },
          rdmaDevice: { string: hca },
          ports: { int: 1 },
          rateGbps: { int: rate },
          firmware: { string: firmware },
        },
        ...shares === undefined ? {} : {
          allowMultipleAllocations: true,
          capacity: { shares: { value: String(shares) } },
        },
        ...taint === undefined
          ? {}
          : { taints: [{ key: `${DRIVER}/${taint}`, effect: "NoSchedule", timeAdded: NOON }] },
      })),
    },
  };
}

/** A claim of a pod with its devices. */
export function claim(podName: string, nodeName: string, hcas: readonly string[], shares?: number) {
  return {
    metadata: { name: `${podName}-nic`, namespace: "ml" },
    status: {
      allocation: {
        devices: {
          results: hcas.map((hca) => ({
            request: "nic",
            driver: DRIVER,
            pool: nodeName,
            device: `pci-${hca.replace("_", "-")}`,
            ...shares === undefined ? {} : { consumedCapacity: { shares: String(shares) } },
          })),
        },
      },
      reservedFor: [{ resource: "pods", name: podName, uid: `uid-${podName}` }],
    },
  };
}

/** An event as the plugin writes it; a series when it happened more than once. */
export function event(nodeName: string, note: string, time = NOON, count = 1) {
  return {
    metadata: { name: `${nodeName}.${Math.random().toString(16).slice(2)}`, namespace: "default" },
    regarding: { kind: "Node", name: nodeName },
    reportingController: `${DRIVER}/device-plugin`,
    reason: "RDMADeviceUnhealthy",
    note,
    eventTime: count > 1 ? NOON : time,
    ...count > 1 ? { series: { count, lastObservedTime: time } } : {},
  };
}

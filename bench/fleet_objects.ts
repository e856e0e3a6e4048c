/**
 * A fleet as an API server has it, as large as real objects are: nodes with labels, images and conditions, pods with
 * volumes and statuses, slices with all attributes of the plugin.
 *
 * @module
 */
import type { ResourceSlice } from "../src/kubernetes/resource_api.ts";

export const DRIVER = "rdma.tencent.com";
export const SHARED = "rdma/shared";
const RAIL = "rdma/rail";
const NOW = new Date().toISOString().replace(/\.\d+Z$/, "Z");
/** One node in a hundred has a port that is down. */
const DOWN_EVERY = 100;

export const nameOf = (i: number) => `gpu-${String(i).padStart(5, "0")}`;
export const isDown = (i: number) => i % DOWN_EVERY === 7;
/** Of two nodes one has a pod with a claim for all HCAs, the other one with devices of the device plugin. */
export const isClaimed = (i: number) => i % 2 === 0;

export function node(i: number, hcas: number): object {
  const name = nameOf(i);
  const amounts = {
    cpu: "192",
    memory: "2113461128Ki",
    "ephemeral-storage": "7500000000Ki",
    "hugepages-1Gi": "0",
    "hugepages-2Mi": "0",
    "nvidia.com/gpu": "8",
    pods: "110",
    [SHARED]: "16",
  };
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: {
      name,
      labels: {
        ...Object.fromEntries(FEATURES.map((one) => [`feature.node.kubernetes.io/${one}`, "true"])),
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "node.kubernetes.io/instance-type": "gpu.8xlarge",
        "topology.kubernetes.io/zone": `zone-${i % 3}`,
        [`${DRIVER}/hcas`]: String(hcas),
        [`${DRIVER}/ports-active`]: String(isDown(i) ? hcas - 1 : hcas),
        [`${DRIVER}/rate-gbps`]: "400",
        [`${DRIVER}/firmware`]: "28.39",
        [`${DRIVER}/link-layer.ethernet`]: "true",
        [`${DRIVER}/vendor.0x15b3`]: "true",
      },
      annotations: { "volumes.kubernetes.io/controller-managed-attach-detach": "true" },
    },
    spec: { podCIDR: `10.${i >> 8}.${i & 255}.0/24`, providerID: `example:///zone-${i % 3}/${name}` },
    status: {
      capacity: amounts,
      allocatable: { ...amounts, [SHARED]: isDown(i) ? "8" : "16" },
      addresses: [{ type: "InternalIP", address: "10.0.0.1" }, { type: "Hostname", address: name }],
      conditions: [
        ...["MemoryPressure", "DiskPressure", "PIDPressure"].map((type) => condition(type, "False", `no ${type}`)),
        condition("Ready", "True", "kubelet is posting ready status"),
        isDown(i)
          ? condition("RDMAReady", "False", `1 of ${hcas + 16} devices not healthy: mlx5_3: port 1 is DOWN (Polling)`)
          : condition("RDMAReady", "True", `${hcas + 16} devices are healthy`),
      ],
      // The kubelet reports the fifty largest.
      images: Array.from({ length: 50 }, (_, n) => ({
        names: [
          `registry.example.com/team-${n % 7}/image-${n}@sha256:${String(n).padStart(64, "0")}`,
          `registry.example.com/team-${n % 7}/image-${n}:v1.${n}`,
        ],
        sizeBytes: 1_000_000_000 - n,
      })),
      nodeInfo: {
        architecture: "amd64",
        bootID: "00000000-0000-0000-0000-000000000000",
        containerRuntimeVersion: "containerd://2.2.9",
        kernelVersion: "6.12.0",
        kubeProxyVersion: "",
        kubeletVersion: "v1.36.3",
        machineID: "0".repeat(32),
        operatingSystem: "linux",
        osImage: "Debian GNU/Linux 13 (trixie)",
        systemUUID: "00000000-0000-0000-0000-000000000000",
      },
    },
  };
}

const FEATURES = [
  "cpu-cpuid.AVX512F",
  "cpu-cpuid.AMXINT8",
  "cpu-hardware_multithreading",
  "kernel-config.NO_HZ",
  "pci-15b3.present",
];

function condition(type: string, status: string, message: string): object {
  return { type, status, reason: `Kubelet${type}`, message, lastTransitionTime: NOW, lastHeartbeatTime: NOW };
}

export function slice(i: number, hcas: number): ResourceSlice {
  return {
    apiVersion: "resource.k8s.io/v1",
    kind: "ResourceSlice",
    metadata: { name: `${nameOf(i)}-${DRIVER}-0` },
    spec: {
      driver: DRIVER,
      nodeName: nameOf(i),
      pool: { name: nameOf(i), generation: 1, resourceSliceCount: 1 },
      devices: Array.from({ length: hcas }, (_, n) => ({
        name: deviceName(n),
        attributes: {
          resource: { string: RAIL },
          rdmaDevice: { string: `mlx5_${n}` },
          kind: { string: "pf" },
          transport: { string: "RoCE" },
          linkLayer: { string: "Ethernet" },
          rateGbps: { int: 400 },
          ports: { int: 1 },
          numaNode: { int: n < hcas / 2 ? 0 : 1 },
          netdev: { string: `ens${n + 1}f0np0` },
          driver: { string: "mlx5_core" },
          vendor: { string: "15b3" },
          device: { string: "1021" },
          firmware: { string: i % 50 === 3 ? "28.36.1010" : "28.39.1002" },
          firmwareVersion: { version: i % 50 === 3 ? "28.36.1010" : "28.39.1002" },
          nodeGuid: { string: `0c42:a103:${hex(i)}:0${n}00` },
          netnsMode: { string: "shared" },
          "resource.kubernetes.io/pciBusID": { string: `0000:${n + 3}b:00.0` },
          "resource.kubernetes.io/pcieRoot": { string: `pci0000:${n + 3}a` },
          "dra.net/rdma": { bool: true },
          "dra.net/rdmaDevice": { string: `mlx5_${n}` },
          "dra.net/numaNode": { int: n < hcas / 2 ? 0 : 1 },
        },
        ...isDown(i) && n === 3
          ? { taints: [{ key: `${DRIVER}/link-down`, effect: "NoSchedule", timeAdded: NOW }] }
          : {},
      })),
    },
  };
}

function deviceName(n: number): string {
  return `pci-0000-${n + 3}b-00-0`;
}

function hex(i: number): string {
  return i.toString(16).padStart(4, "0");
}

export function claim(i: number, hcas: number): object {
  return {
    apiVersion: "resource.k8s.io/v1",
    kind: "ResourceClaim",
    metadata: { name: `train-${i}-rails`, namespace: "default" },
    spec: {
      devices: {
        requests: [{ name: "rails", exactly: { deviceClassName: DRIVER, allocationMode: "ExactCount", count: hcas } }],
      },
    },
  };
}

export function claimStatus(i: number, hcas: number): object {
  const results = Array.from({ length: hcas }, (_, n) => (
    { request: "rails", driver: DRIVER, pool: nameOf(i), device: deviceName(n) }
  ));
  return {
    allocation: { devices: { results } },
    reservedFor: [{
      resource: "pods",
      name: `train-${i}`,
      uid: `00000000-0000-0000-0000-${String(i).padStart(12, "0")}`,
    }],
  };
}

/** What runs on a node: the plugin, a pod that trains, and `others` that have nothing to do with RDMA. */
export function pods(i: number, others: number): readonly object[] {
  const training = isClaimed(i) ? {} : { [SHARED]: "4" };
  return [
    pod(`rdma-device-plugin-${i}`, i, "rdma-device-plugin", "registry.example.com/rdma-device-plugin:0.1.0", {}),
    pod(`train-${i}`, i, "train", "registry.example.com/train:1", training),
    ...Array.from({ length: others }, (_, n) => pod(`other-${i}-${n}`, i, "other", "registry.example.com/other:1", {})),
  ];
}

function pod(name: string, i: number, app: string, image: string, devices: Readonly<Record<string, string>>): object {
  const amounts = { cpu: "1", memory: "1Gi", ...devices };
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name,
      namespace: "default",
      labels: {
        "app.kubernetes.io/name": app,
        "app.kubernetes.io/instance": `${app}-${i % 10}`,
        "pod-template-generation": "3",
      },
      annotations: { "example.com/config-hash": "0".repeat(64) },
    },
    spec: {
      nodeName: nameOf(i),
      automountServiceAccountToken: false,
      containers: [{
        name: app,
        image,
        args: ["--log-level", "info", "--http", ":9178"],
        env: Array.from({ length: 12 }, (_, n) => ({ name: `SETTING_${n}`, value: `value-${n}` })),
        resources: { limits: amounts, requests: amounts },
        volumeMounts: ["sys", "dev", "config"].map((one) => ({ name: one, mountPath: `/host/${one}`, readOnly: true })),
        livenessProbe: { httpGet: { path: "/livez", port: 9178 }, periodSeconds: 10 },
      }],
      tolerations: [{ operator: "Exists" }],
      volumes: ["sys", "dev", "config"].map((one) => ({ name: one, hostPath: { path: `/${one}` } })),
    },
  };
}

/** The status that a kubelet would write. */
export function podStatus(i: number, name: string, image: string): object {
  const unhealthy = isDown(i) && name.startsWith("train-") && !isClaimed(i);
  return {
    phase: "Running",
    hostIP: "10.0.0.1",
    podIP: "10.1.0.1",
    startTime: NOW,
    conditions: ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"].map((type) => (
      { type, status: "True", lastTransitionTime: NOW }
    )),
    containerStatuses: [{
      name: name.startsWith("train-") ? "train" : name.startsWith("other-") ? "other" : "rdma-device-plugin",
      ready: true,
      restartCount: 0,
      started: true,
      image,
      imageID: `registry.example.com/image@sha256:${"0".repeat(64)}`,
      containerID: `containerd://${"0".repeat(64)}`,
      state: { running: { startedAt: NOW } },
      ...name.startsWith("train-") && !isClaimed(i)
        ? {
          allocatedResourcesStatus: [{
            name: SHARED,
            resources: [0, 1, 2, 3].map((n) => ({
              resourceID: `mlx5_${n}::0`,
              health: unhealthy && n === 3 ? "Unhealthy" : "Healthy",
            })),
          }],
        }
        : {},
    }],
  };
}

export function event(i: number): object {
  return {
    apiVersion: "events.k8s.io/v1",
    kind: "Event",
    metadata: { name: `${nameOf(i)}.0123456789abcdef`, namespace: "default" },
    eventTime: NOW.replace("Z", ".000000Z"),
    reportingController: `${DRIVER}/device-plugin`,
    reportingInstance: `rdma-device-plugin-${i}`,
    action: "HealthCheck",
    reason: "RDMADeviceUnhealthy",
    regarding: { apiVersion: "v1", kind: "Node", name: nameOf(i), uid: nameOf(i) },
    note: `mlx5_3 of ${RAIL} is Unhealthy: port 1 is DOWN (Polling)`,
    type: "Warning",
  };
}

/**
 * The files that a cluster's programs are configured by.
 *
 * @module
 */
import { generateKeyPairSync } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";

export const NODE_NAME = "rdma-node";
/** Known to whoever can read this line: the server listens on a link of this machine only. */
export const TOKENS = { admin: "cluster-admin", node: "cluster-node" } as const;
export const SANDBOX_IMAGE = "localhost/busybox:cluster";
const POD_NETWORK = "10.214.0.0/24";
/** Nothing answers on a service's address, for there is no kube-proxy; but the API server does on its own. */
export const SERVICES = { network: "10.215.0.0/24", apiServer: "10.215.0.1" } as const;

/** What can be set of a kubelet, over what it needs here. */
export type KubeletSettings = Readonly<Record<string, unknown>>;

/** Where the files are that {@linkcode writeConfigFiles} writes. */
export function configPaths(dir: string) {
  const at = (name: string) => join(dir, name);
  return {
    tokens: at("pki/tokens.csv"),
    serviceAccountKey: at("pki/service-accounts.pem"),
    pki: at("pki"),
    ca: at("pki/apiserver.crt"),
    adminKubeconfig: at("kubeconfig"),
    nodeKubeconfig: at("node.kubeconfig"),
    containerd: at("containerd.toml"),
    cni: at("cni"),
    kubelet: at("kubelet.yaml"),
  };
}

/** Writes all of them but the kubelet's own. The directories exist. */
export function writeConfigFiles(dir: string, url: string): void {
  const paths = configPaths(dir);
  const { admin, node } = TOKENS;
  writeFileSync(
    paths.tokens,
    `${admin},admin,admin,"system:masters"\n${node},system:node:${NODE_NAME},node,"system:nodes"\n`,
  );
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  writeFileSync(paths.serviceAccountKey, privateKey.export({ type: "pkcs1", format: "pem" }));
  writeFileSync(paths.adminKubeconfig, kubeconfig(url, paths.ca, admin));
  writeFileSync(paths.nodeKubeconfig, kubeconfig(url, paths.ca, node));
  writeFileSync(paths.containerd, containerdToml(paths.cni));
  writeFileSync(join(paths.cni, "10-cluster.conflist"), JSON.stringify(cniConfiguration(), null, 2));
}

/** Writes the kubelet's configuration file; settings go over what a kubelet without privileges of systemd needs. */
export function writeKubeletConfig(
  dir: string,
  settings: KubeletSettings,
  featureGates: Readonly<Record<string, boolean>>,
): void {
  const configuration = {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    // The node's network is reached from this machine only, and `kubectl exec` is to work without certificates.
    authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
    authorization: { mode: "AlwaysAllow" },
    // A build machine may have cgroup v1, and no systemd.
    cgroupDriver: "cgroupfs",
    cgroupsPerQOS: false,
    enforceNodeAllocatable: [],
    failCgroupV1: false,
    failSwapOn: false,
    containerRuntimeEndpoint: "unix:///run/containerd/containerd.sock",
    resolvConf: "",
    makeIPTablesUtilChains: false,
    volumePluginDir: "/var/lib/kubelet/volume-plugins",
    // Nothing is to be evicted or collected because somebody's disk is full.
    evictionHard: { "memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%" },
    imageGCHighThresholdPercent: 100,
    // The API server learns of changes when the kubelet next reports; ten seconds is its default.
    nodeStatusUpdateFrequency: "1s",
    // A pod whose claim could not be prepared is tried again at the next sync, a minute by default: so it is when the API
    // server's node authorizer hears of the pod later than the kubelet, which happens on a busy machine.
    syncFrequency: "5s",
    // What has ended twice is started again in ten seconds by default, the third time in twenty.
    crashLoopBackOff: { maxContainerRestartPeriod: "1s" },
    // For the line above; on by default since 1.35.
    featureGates: { KubeletCrashLoopBackOffMax: true, ...featureGates },
    ...settings,
  };
  writeFileSync(configPaths(dir).kubelet, stringify(configuration));
}

function kubeconfig(server: string, ca: string, token: string): string {
  return stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "rdma", cluster: { server, "certificate-authority": ca } }],
    users: [{ name: "rdma", user: { token } }],
    contexts: [{ name: "rdma", context: { cluster: "rdma", user: "rdma" } }],
    "current-context": "rdma",
  });
}

function containerdToml(cni: string): string {
  return `version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri"]

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins.'io.containerd.cri.v1.images']
  snapshotter = "${snapshotter()}"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "${SANDBOX_IMAGE}"

[plugins.'io.containerd.cri.v1.runtime']
  # Without CAP_SYS_RESOURCE, runc may not lower a score.
  restrict_oom_score_adj = true
  cdi_spec_dirs = ["/var/run/cdi"]
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["/usr/lib/cni", "/opt/cni/bin"]
    conf_dir = "${cni}"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
`;
}

/** How containerd keeps images; copies of all files where the kernel has no overlay file system. */
export function snapshotter(): string {
  return readFileSync("/proc/filesystems", "utf8").includes("\toverlay\n") ? "overlayfs" : "native";
}

/** A pair of links for each pod: no bridge and no packet filter is needed for that. */
function cniConfiguration() {
  const ipam = { type: "host-local", ranges: [[{ subnet: POD_NETWORK }]], routes: [{ dst: "0.0.0.0/0" }] };
  return { cniVersion: "1.0.0", name: "cluster", plugins: [{ type: "ptp", ipMasq: false, ipam }] };
}

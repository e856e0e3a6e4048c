/**
 * The table: machines and configuration files as people have them, and what is right on each. A row is played through
 * `list --json`, through a kubelet, and once more after the plugin was started again.
 *
 * @module
 */
import type { BuiltHost, HostPlan } from "./build.ts";
import type { Counts } from "./node.ts";

/** What a container gets for these device IDs. */
export interface Given {
  readonly resource: string;
  readonly ids: readonly string[];
  /** Device nodes below /dev, in order: "infiniband/uverbs0". */
  readonly nodes?: readonly string[];
  /** Variables and their values; null: it must not be set. */
  readonly env?: Readonly<Record<string, string | null>>;
}

export interface Row {
  /** What is special, as the name of the test. */
  readonly what: string;
  readonly host: string | HostPlan;
  readonly config?: string;
  readonly flags?: readonly string[];
  /** Changes the tree before the plugin sees it. */
  readonly prepare?: (host: BuiltHost) => void;
  /** Devices and healthy ones by resource: "4/4". */
  readonly devices: Counts;
  /** Names of HCAs that are in each resource, comma-separated; resources that are left out are not compared. */
  readonly members?: Readonly<Record<string, string>>;
  readonly given?: readonly Given[];
  /** By HCA, what a reason of Unhealthy or of being left out says. */
  readonly reasons?: Readonly<Record<string, RegExp>>;
}

export const ROWS: readonly Row[] = [
  {
    what: "1: an SMI sub-device is no device of its own, with PCI addresses as IDs",
    host: "1/host.json",
    config: "1/sriov.json",
    devices: { "rdma/ib": "1/1" },
    members: { "rdma/ib": "mlx5_0" },
    given: [{ resource: "rdma/ib", ids: ["0000:0b:00.0"], nodes: ["uverbs0", "umad0", "rdma_cm"].map(ib) }],
    reasons: { smi1: /SMI sub-device/ },
  },
  {
    what: "1: nor without a configuration",
    host: "1/host.json",
    devices: { "tencent.com/rdma": "1/1" },
    members: { "tencent.com/rdma": "mlx5_0" },
  },
  { what: "1: nor in a shared pool", host: "1/host.json", config: "1/one.yaml", devices: { "rdma/s": "4/4" } },
  {
    what: "1: nor for the shared plugin's file",
    host: "1/host.json",
    config: "1/shared.json",
    devices: { "rdma/shared_ib": "63/63" },
  },
  {
    what: "3: the two ports of one adapter, selected by their net devices",
    host: "3/host.json",
    config: "3/ifnames.json",
    devices: { "rdma/hca_eth": "4/4", "rdma/hca_ib": "4/4" },
    members: { "rdma/hca_eth": "mlx4_0", "rdma/hca_ib": "mlx4_0" },
  },
  {
    what: "3: transport is the port's, and so is what NCCL is told",
    host: "3/host.json",
    config: "3/own.yaml",
    devices: { "rdma/roce": "1/1" },
    given: [{ resource: "rdma/roce", ids: ["mlx4_0"], env: { NCCL_IB_HCA: "=mlx4_0:2" } }],
  },
  {
    what: "3: link layer is the port's, and so is what NCCL is told",
    host: "3/host.json",
    config: "3/own2.yaml",
    devices: { "rdma/roce": "1/1" },
    given: [{ resource: "rdma/roce", ids: ["mlx4_0"], env: { NCCL_IB_HCA: "=mlx4_0:2" } }],
  },
  {
    what: "4: a RoCE LAG selected by its slave",
    host: "4/host.json",
    config: "4/shared.json",
    devices: { "rdma/roce_lag": "100/100" },
    given: [{ resource: "rdma/roce_lag", ids: ["7"], env: { RDMA_NETDEVS: "bond0,ens1f0np0" } }],
  },
  {
    what: "4: a RoCE LAG selected by its bond",
    host: "4/host.json",
    config: "4/shared2.json",
    devices: { "rdma/roce_lag": "100/100" },
  },
  {
    what: "4: a RoCE LAG by pfNames",
    host: "4/host.json",
    config: "4/sriov.json",
    devices: { "nvidia.com/hostdev_rail_0": "1/1" },
  },
  {
    what: "8: VFs that are down, as all are until a CNI plugin raises them",
    host: "8/host.json",
    config: "8/sriov.json",
    devices: { "mellanox.com/mlx5_vf": "4/4" },
    given: [{ resource: "mellanox.com/mlx5_vf", ids: ["0000:3b:00.3"], env: { RDMA_NETDEVS: "ens1f0v1" } }],
  },
  {
    what: "8: the same by --master",
    host: "8/host.json",
    flags: ["--master=ens1f0"],
    devices: { "tencent.com/rdma": "4/4" },
  },
  {
    what: "8: the same by our own file",
    host: "8/host.json",
    config: "8/doc-example.yaml",
    devices: { "rdma/vf": "4/4" },
  },
  {
    what: "8: the same with policy present",
    host: "8/host.json",
    config: "8/present.yaml",
    devices: { "rdma/vf": "4/4" },
  },
  {
    what: "10: software devices that hang on a NIC are no functions, by vendor",
    host: "10/host.json",
    config: "10/sriov.json",
    devices: { "nvidia.com/hostdev": "1/1" },
    members: { "nvidia.com/hostdev": "mlx5_0" },
    given: [{ resource: "nvidia.com/hostdev", ids: ["0000:3b:00.0"], nodes: ["uverbs0", "umad0", "rdma_cm"].map(ib) }],
  },
  {
    what: "10: software devices that hang on a NIC are virtual",
    host: "10/host.json",
    config: "10/own.yaml",
    devices: { "rdma/hca": "1/1" },
    members: { "rdma/hca": "mlx5_0" },
  },
  {
    what: "21: switchdev: representors' ports and net devices are not the PF's",
    host: "21/host.json",
    config: "21/own.yaml",
    devices: { "rdma/pf": "1/1" },
    given: [{
      resource: "rdma/pf",
      ids: ["mlx5_0"],
      env: { NCCL_IB_HCA: "=mlx5_0:1", UCX_NET_DEVICES: "mlx5_0:1", RDMA_NETDEVS: "ens8f1" },
    }],
  },
  {
    what: "21: switchdev: a PF without any GID table cannot be used",
    host: "21/host-upstream.json",
    config: "21/own.yaml",
    devices: { "rdma/pf": "1/0" },
    reasons: { mlx5_0: /no GID table: RoCE is off \(switchdev uplink\)/ },
  },
  {
    what: "21: VFs of a switchdev PF",
    host: "21/host.json",
    config: "21/sriov.json",
    devices: { "openshift.io/switchdev": "2/2" },
  },
  {
    what: "21: VFs of a PF without RoCE",
    host: "21/host-upstream.json",
    config: "21/sriov.json",
    devices: { "openshift.io/switchdev": "2/2" },
  },
  {
    what: "25: an OpenShift cluster's VFs",
    host: "25/host.json",
    config: "25/sriov.json",
    devices: { "openshift.io/mlxnics": "2/2" },
  },
  {
    what: "26: names of pods' net devices in the GID table are no net devices of an HCA",
    host: "26/host.json",
    config: "26/shared.json",
    devices: { "rdma/rail_a": "10/10", "rdma/rail_b": "10/10" },
    members: { "rdma/rail_a": "mlx5_0", "rdma/rail_b": "mlx5_1" },
    given: [
      {
        resource: "rdma/rail_a",
        ids: ["3"],
        nodes: ["uverbs0", "umad0", "rdma_cm"].map(ib),
        env: { RDMA_NETDEVS: "eth2", RDMA_HCAS: "mlx5_0" },
      },
      { resource: "rdma/rail_b", ids: ["3"], env: { RDMA_NETDEVS: "eth3", RDMA_HCAS: "mlx5_1" } },
    ],
  },
  {
    what: "30: four PFs by name",
    host: "30/host.json",
    config: "30/sriov.json",
    devices: { "nvidia.com/hostdev": "4/4" },
  },
];

function ib(name: string): string {
  return `infiniband/${name}`;
}

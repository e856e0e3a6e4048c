/**
 * Rows for what has no PCI function of its own (sub-functions, software on an adapter), and for nodes in /dev that are
 * not what sysfs says.
 *
 * @module
 */
import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import type { BuiltHost, FunctionPlan, HcaPlan, HostPlan } from "./build.ts";
import { byNetdev, host, mlx5, roce, SWITCH } from "./neighbours.ts";
import type { Row } from "./rows.ts";

/** A sub-function of PF 3b:00.0 whose link is down, as all are until a CNI plugin raises it. */
function sf(n: number, number: number, over: Partial<HcaPlan> = {}): HcaPlan {
  const netdevs = [{ name: `enp59s0f0s${number}`, operstate: "down" }];
  return mlx5(n, "3b", netdevs, [{ state: "DOWN" }], { aux: `mlx5_core.sf.${n}`, sfnum: number, ...over });
}

function rxe(parent: string, over: Partial<HcaPlan> = {}): HcaPlan {
  return { name: "rxe0", virtual: true, parent, ports: [roce(parent)], ...over };
}

function sriov(selectors: Readonly<Record<string, unknown>>, over: Readonly<Record<string, unknown>> = {}): string {
  return JSON.stringify({ resourceList: [{ resourceName: "x", selectors: { isRdma: true, ...selectors }, ...over }] });
}

const UPLINK = mlx5(0, "3b", [{ name: "p0", ...SWITCH, phys_port_name: "p0" }], [roce("p0")]);
const ETH2 = mlx5(0, "3b", [{ name: "eth2" }], [roce("eth2")]);
const SFS = host([UPLINK, sf(2, 88), sf(3, 89)]);
const SECOND_PF: FunctionPlan = {
  pci: "0000:06:00.0",
  path: ["pci0000:06"],
  driver: "mlx5_core",
  device: "101d",
  netdevs: [{ name: "enp6s0", master: "bond0" }],
};

/** Another file of /dev in the place of a node: a symbolic link to /dev/null is another character device. */
function replaced(name: string, by: "null" | "directory"): (host: BuiltHost) => void {
  return ({ dev }) => {
    const path = join(dev, "infiniband", name);
    rmSync(path);
    if (by === "null") symlinkSync("/dev/null", path);
    else mkdirSync(path);
  };
}

/** VMware's paravirtual RDMA is function 1 of the adapter whose function 0 is the net device. */
function pvrdma(over: Partial<HcaPlan> = {}, netdevs: FunctionPlan["netdevs"] = [{ name: "ens192" }]): HostPlan {
  const path = ["pci0000:00", "0000:00:15.0"];
  const vmware = { path, vendor: "15ad", numa: -1 };
  const nics = [{ ...vmware, pci: "0000:03:00.0", device: "07b0", driver: "vmxnet3", netdevs }];
  const hca = { name: "vmw_pvrdma0", pci: "0000:03:00.1", device: "0820", driver: "vmw_pvrdma", class: "0x028000" };
  return { nics, hcas: [{ ...vmware, ...hca, ports: [roce("ens192")], ...over }] };
}

/** Alibaba's eRDMA: a function of its own, and the net device with the same hardware address is virtio's. */
function erdma(over: Partial<HcaPlan> = {}): HostPlan {
  const mac = "00:16:3e:0a:0b:0c";
  const path = ["pci0000:00"];
  const eth = (n: number, address: string): FunctionPlan => ({
    pci: `0000:00:0${5 + n}.0`,
    path,
    vendor: "1af4",
    device: "1000",
    driver: "virtio-pci",
    under: `virtio${n}`,
    netdevs: [{ name: `eth${n}`, address }],
  });
  const hca: HcaPlan = {
    name: "erdma_0",
    pci: "0000:00:07.0",
    path,
    vendor: "1ded",
    device: "107f",
    class: "0x00ff00",
    driver: "erdma",
    node_type: "4: RNIC",
    node_guid: "0216:3eff:fe0a:0b0c",
    ports: [{ slots: 1, gids: [{ gid: "0016:3e0a:0b0c:0000:0000:0000:0000:0000" }], umad: false }],
  };
  return {
    nics: [eth(0, "00:16:3e:01:02:03"), eth(1, mac)],
    virtual_netdevs: [{ name: "vlan7", address: mac, lower: ["eth1"] }],
    hcas: [{ ...hca, ...over }],
  };
}

const DOWN = { state: "DOWN" } as const;
const ONE_DOWN = { "tencent.com/rdma": "1/0" };

export const RELATIVES: readonly Row[] = [
  {
    what: "VMware's pvrdma has the net device of function 0 of its slot",
    host: pvrdma(),
    config: byNetdev("ens192"),
    devices: { "rdma/ens192": "2/2" },
    given: [{ resource: "rdma/ens192", ids: ["0"], env: { RDMA_NETDEVS: "ens192" } }],
  },
  {
    what: "pvrdma whose link is down is Unhealthy: its net device is no pod's",
    host: pvrdma({ ports: [{ ...roce("ens192"), ...DOWN }] }),
    devices: ONE_DOWN,
    reasons: { vmw_pvrdma0: "port-down" },
  },
  {
    what: "eRDMA has the net device with its hardware address, and not what stands on that",
    host: erdma(),
    config: byNetdev("eth1"),
    devices: { "rdma/eth1": "2/2" },
    given: [{ resource: "rdma/eth1", ids: ["0"], env: { RDMA_NETDEVS: "eth1" } }],
  },
  {
    what: "eRDMA whose link is down is Unhealthy: its net device is no pod's",
    host: erdma({ ports: [{ ...DOWN, slots: 1 }] }),
    devices: ONE_DOWN,
    reasons: { erdma_0: "port-down" },
  },
  {
    what: "sub-functions that are down, as VFs are",
    host: SFS,
    config: "resources: [{name: rdma/sf, select: {kinds: [sf]}}]",
    devices: { "rdma/sf": "2/2" },
    given: [{ resource: "rdma/sf", ids: ["mlx5_3"], env: { RDMA_NETDEVS: "enp59s0f0s89" } }],
  },
  {
    what: "a sub-function whose port the operator asks for",
    host: SFS,
    config: "resources: [{name: rdma/sf, select: {kinds: [sf]}, health: {policy: port-active}}]",
    devices: { "rdma/sf": "2/0" },
  },
  {
    what: "a sub-function is none of the SR-IOV plugin's netDevices",
    host: SFS,
    config: sriov({ vendors: ["15b3"] }),
    devices: { "intel.com/x": "1/1" },
    members: { "intel.com/x": "mlx5_0" },
  },
  {
    what: "the SR-IOV plugin's auxNetDevices, by PF and number, under the names of their devices",
    host: SFS,
    config: sriov({ auxTypes: ["sf"], pfNames: ["p0#80-88"], drivers: ["mlx5_core"] }, { deviceType: "auxNetDevice" }),
    devices: { "intel.com/x": "1/1" },
    members: { "intel.com/x": "mlx5_2" },
    given: [{
      resource: "intel.com/x",
      ids: ["mlx5_core.sf.2"],
      nodes: ["infiniband/uverbs1", "infiniband/umad1", "infiniband/rdma_cm"],
      env: { PCIDEVICE_INTEL_COM_X: "mlx5_core.sf.2", RDMA_HCAS: "mlx5_2" },
    }],
  },
  {
    what: "auxNetDevices by the PCI address of their PF",
    host: SFS,
    config: sriov({ rootDevices: ["0000:3b:00.0"] }, { deviceType: "auxNetDevice" }),
    devices: { "intel.com/x": "2/2" },
  },
  {
    what: "soft-RoCE on an adapter's net device is no second adapter, by name",
    host: host([ETH2, rxe("eth2")]),
    config: byNetdev("eth2"),
    devices: { "rdma/eth2": "2/2" },
    members: { "rdma/eth2": "mlx5_0" },
    reasons: { rxe0: "software" },
  },
  {
    what: "nor without a configuration; on another NIC it is what the machine has",
    host: host([ETH2, rxe("eth2"), rxe("eno1", { name: "rxe1" })], {
      nics: [{ pci: "0000:02:00.0", driver: "igb", vendor: "8086", netdevs: [{ name: "eno1" }] }],
    }),
    devices: { "tencent.com/rdma": "2/2" },
    members: { "tencent.com/rdma": "mlx5_0,rxe1" },
  },
  {
    what: "soft-RoCE on the bond of an adapter, when its kind is asked for",
    host: host([mlx5(0, "3b", [{ name: "ens1f0", master: "bond0" }], [roce("bond0")]), rxe("bond0")], {
      virtual_netdevs: [{ name: "bond0", bond: true }],
    }),
    config: "resources: [{name: rdma/soft, select: {kinds: [virtual]}}, {name: rdma/hca}]",
    devices: { "rdma/soft": "1/1", "rdma/hca": "1/1" },
    members: { "rdma/soft": "rxe0", "rdma/hca": "mlx5_0" },
  },
  {
    what: "soft-RoCE under a name of the operator's, by its driver",
    host: host([rxe("dummy0", { name: "lab" })], { virtual_netdevs: [{ name: "dummy0" }] }),
    config: "resources: [{name: rdma/soft, select: {drivers: [rdma_rxe]}}, {name: rdma/siw, select: {drivers: [siw]}}]",
    devices: { "rdma/soft": "1/1", "rdma/siw": "0/0" },
  },
  {
    what: "soft-iWARP of an old kernel on a NIC that is not known here, described by rdma-ndd",
    host: host([
      mlx5(0, "02", [{ name: "eno1" }], [{ umad: false, slots: 1 }], {
        name: "siw0",
        driver: "igb",
        vendor: "8086",
        node_type: "4: RNIC",
        node_desc: "node7 siw0",
      }),
    ]),
    config: "resources: [{name: rdma/hard, exclude: {kinds: [virtual]}}]",
    devices: { "rdma/hard": "0/0" },
  },
  {
    what: "a RoCE LAG of two functions on buses of their own, as in a virtual machine",
    host: host([mlx5(0, "05", [{ name: "enp5s0", master: "bond0" }], [roce("bond0")])], {
      nics: [SECOND_PF],
      virtual_netdevs: [{ name: "bond0", bond: true }],
    }),
    config: byNetdev("enp5s0", "enp6s0", "bond0"),
    devices: { "rdma/enp5s0": "2/2", "rdma/enp6s0": "2/2", "rdma/bond0": "2/2" },
  },
  {
    what: "a VF of a PF that does not say how many it can have",
    host: host([
      mlx5(1, "3b", [{ name: "v0" }], [{ state: "DOWN" }], { pci: "0000:3b:00.2", physfn: "0000:3b:00.0", vf: 0 }),
    ], {
      nics: [{ pci: "0000:3b:00.0", path: ["pci0000:3b"], driver: "mlx5_core", netdevs: [{ name: "ens1f0" }] }],
    }),
    config: sriov({ pfNames: ["ens1f0#0"] }),
    devices: { "intel.com/x": "1/1" },
  },
  {
    what: "a node with the numbers of another device reaches no container",
    host: host([ETH2, mlx5(1, "5e", [{ name: "eth3" }], [roce("eth3")])]),
    prepare: replaced("uverbs0", "null"),
    devices: { "tencent.com/rdma": "2/1" },
    reasons: { mlx5_0: "uverbs-node-stale" },
  },
  {
    what: "nor does a directory that a container runtime made in its place",
    host: host([ETH2]),
    prepare: replaced("uverbs0", "directory"),
    devices: { "tencent.com/rdma": "1/0" },
    reasons: { mlx5_0: "uverbs-node-stale" },
  },
  {
    what: "a umad node with the numbers of another device is left out",
    host: host([ETH2]),
    prepare: replaced("umad0", "null"),
    devices: { "tencent.com/rdma": "1/1" },
    given: [{
      resource: "tencent.com/rdma",
      ids: ["mlx5_0"],
      nodes: ["infiniband/uverbs0", "infiniband/rdma_cm"],
    }],
  },
];

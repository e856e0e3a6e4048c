/**
 * Rows for machines beside those of the table: the same kinds of facts in other combinations.
 *
 * @module
 */
import type { HcaPlan, HostPlan, NetdevPlan, PortPlan } from "./build.ts";
import type { Row } from "./rows.ts";

const gid = (n: number) => `fe80:0000:0000:0000:0e42:a1ff:fe00:${n.toString(16).padStart(4, "0")}`;

/** A RoCE port whose GID table names these net devices. */
export function roce(...names: readonly string[]): PortPlan {
  return { gids: names.map((ndev, i) => ({ gid: gid(i + 1), type: "RoCE v2", ndev })) };
}

export function mlx5(
  n: number,
  bus: string,
  netdevs: readonly NetdevPlan[],
  ports: readonly PortPlan[],
  over: Partial<HcaPlan> = {},
): HcaPlan {
  return {
    name: `mlx5_${n}`,
    pci: `0000:${bus}:00.0`,
    path: [`pci0000:${bus}`],
    device: "101d",
    driver: "mlx5_core",
    numa: 0,
    netdevs,
    ports,
    ...over,
  };
}

export function host(hcas: readonly HcaPlan[], over: Partial<HostPlan> = {}): HostPlan {
  return { hcas, ...over };
}

/** A file of the shared plugin with one resource per net device. */
export function byNetdev(...names: readonly string[]): string {
  return JSON.stringify({
    configList: names.map((name) => ({
      resourceName: name.replaceAll(/\W/g, "_"),
      rdmaHcaMax: 2,
      selectors: { ifNames: [name] },
    })),
  });
}

export const SWITCH = { phys_switch_id: "e8ebd3" };

export const NEIGHBOURS: readonly Row[] = [
  {
    what: "a VLAN on a bond, each by its name, and a slave without an HCA of its own",
    host: host([mlx5(0, "3b", [{ name: "ens1f0", master: "bond0" }], [roce("bond0", "bond0.100")])], {
      nics: [{
        pci: "0000:3b:00.1",
        path: ["pci0000:3b"],
        driver: "mlx5_core",
        netdevs: [{ name: "ens1f1", master: "bond0" }],
      }],
      virtual_netdevs: [{ name: "bond0", bond: true }, { name: "bond0.100", lower: ["bond0"] }],
    }),
    config: byNetdev("ens1f0", "ens1f1", "bond0", "bond0.100", "br0"),
    devices: {
      "rdma/ens1f0": "2/2",
      "rdma/ens1f1": "2/2",
      "rdma/bond0": "2/2",
      "rdma/bond0_100": "2/2",
      "rdma/br0": "0/0",
    },
    given: [{ resource: "rdma/ens1f0", ids: ["0"], env: { RDMA_NETDEVS: "bond0,bond0.100,ens1f0" } }],
  },
  {
    what:
      "a bond whose GIDs are not there yet is still the bond of its slaves; a NIC in it that is another adapter is not the HCA",
    host: host([mlx5(0, "3b", [{ name: "ens1f0", master: "bond0" }], [{}])], {
      nics: [{
        pci: "0000:5e:00.0",
        path: ["pci0000:5e"],
        driver: "igb",
        netdevs: [{ name: "eno1", master: "bond0" }],
      }],
      virtual_netdevs: [{ name: "bond0", bond: true }],
    }),
    config: byNetdev("bond0", "eno1"),
    devices: { "rdma/bond0": "2/2", "rdma/eno1": "0/0" },
  },
  {
    what: "two HCAs in one bond without LAG: each by its slave, both by the bond",
    host: host([
      mlx5(0, "3b", [{ name: "ens1f0", master: "bond0" }], [roce("bond0")]),
      mlx5(1, "3c", [{ name: "ens1f1", master: "bond0" }], [roce("bond0")]),
    ], { virtual_netdevs: [{ name: "bond0", bond: true }] }),
    config: byNetdev("ens1f0", "ens1f1", "bond0"),
    devices: { "rdma/ens1f0": "2/2", "rdma/ens1f1": "2/2", "rdma/bond0": "2/2" },
    members: { "rdma/ens1f0": "mlx5_0", "rdma/ens1f1": "mlx5_1", "rdma/bond0": "mlx5_0,mlx5_1" },
  },
  {
    what: "a bridge and a VLAN above the port count by their lower_ links alone; a macvlan of a pod does not",
    host: host([
      mlx5(0, "3b", [{ name: "eth2" }], [roce("eth2", "br0", "eth2.7", "eth3")]),
      mlx5(1, "5e", [{ name: "eth3" }], [roce("eth3", "eth2")]),
    ], {
      virtual_netdevs: [{ name: "br0", lower: ["eth2"] }, { name: "eth2.7", lower: ["eth2"] }],
    }),
    config: byNetdev("br0", "eth2.7", "eth2", "eth3"),
    devices: { "rdma/br0": "2/2", "rdma/eth2_7": "2/2", "rdma/eth2": "2/2", "rdma/eth3": "2/2" },
    members: { "rdma/br0": "mlx5_0", "rdma/eth2_7": "mlx5_0", "rdma/eth2": "mlx5_0", "rdma/eth3": "mlx5_1" },
    given: [{ resource: "rdma/eth2", ids: ["0"], env: { RDMA_NETDEVS: "br0,eth2,eth2.7" } }],
  },
  {
    what: "a port whose GID table has only zeros is no port without a table",
    host: host([mlx5(0, "3b", [{ name: "eth2" }], [{}])]),
    devices: { "tencent.com/rdma": "1/1" },
    given: [{ resource: "tencent.com/rdma", ids: ["mlx5_0"], env: { RDMA_NETDEVS: "eth2" } }],
  },
  {
    what: "a switchdev uplink that is down, while the ports of its representors are up",
    host: host([
      mlx5(0, "3b", [{ name: "eth0", ...SWITCH, phys_port_name: "pf0vf0" }, {
        name: "p0",
        ...SWITCH,
        phys_port_name: "p0",
      }], [{ ...roce("p0"), state: "DOWN" }, { n: 2, slots: 0, umad: false }, { n: 3, slots: 0, umad: false }]),
    ]),
    config: "resources: [{name: rdma/pf, env: {nccl: true}, health: {ports: all}}]",
    devices: { "rdma/pf": "1/0" },
    reasons: { mlx5_0: "port-down" },
  },
  {
    what: "an old kernel's RDMA devices of representors are no adapters",
    host: host([
      mlx5(0, "3b", [{ name: "p0", ...SWITCH, phys_port_name: "p0" }], [roce("p0")]),
      mlx5(1, "3b", [{ name: "eth0", ...SWITCH, phys_port_name: "0" }], [{ slots: 0, umad: false }]),
    ]),
    config: JSON.stringify({ resourceList: [{ resourceName: "pf", selectors: { vendors: ["15b3"], isRdma: true } }] }),
    devices: { "intel.com/pf": "1/1" },
    members: { "intel.com/pf": "mlx5_0" },
    reasons: { mlx5_1: "representor" },
  },
  {
    what: "RoCE switched off on a PF that is no switchdev uplink",
    host: host([mlx5(0, "3b", [{ name: "eth2" }], [{ slots: 0 }]), mlx5(1, "5e", [{ name: "eth3" }], [roce("eth3")])]),
    config: JSON.stringify({
      configList: [{ resourceName: "all", rdmaHcaMax: 3, selectors: { linkTypes: ["ether"] } }],
    }),
    devices: { "rdma/all": "3/3" },
    reasons: { mlx5_0: "no-gid-table" },
  },
  {
    what: "a sub-function has its own net device and none of the PF's",
    host: host([
      mlx5(0, "3b", [{ name: "p0", ...SWITCH, phys_port_name: "p0" }, {
        name: "en3f0pf0sf88",
        ...SWITCH,
        phys_port_name: "pf0sf88",
      }], [
        roce("p0"),
        { n: 2, slots: 0, umad: false },
      ]),
      mlx5(1, "3b", [{ name: "enp59s0f0s88" }], [roce("enp59s0f0s88")], { aux: "mlx5_core.sf.4", sfnum: 88 }),
    ]),
    config: byNetdev("p0", "enp59s0f0s88", "en3f0pf0sf88"),
    devices: { "rdma/p0": "2/2", "rdma/enp59s0f0s88": "2/2", "rdma/en3f0pf0sf88": "0/0" },
    members: { "rdma/p0": "mlx5_0", "rdma/enp59s0f0s88": "mlx5_1" },
  },
  {
    what: "VFs of an uplink whose representors have names of the PF's kind",
    host: host([
      mlx5(
        0,
        "3b",
        [{ name: "eth0", ...SWITCH, phys_port_name: "pf0vf0" }, { name: "ens1f0np0", ...SWITCH, phys_port_name: "p0" }],
        [{ slots: 0 }],
        {
          sriov_totalvfs: 8,
          sriov_numvfs: 1,
        },
      ),
      mlx5(1, "3b", [{ name: "ens1f0v0", operstate: "down" }], [{ state: "DOWN" }], {
        pci: "0000:3b:00.2",
        device: "101e",
        physfn: "0000:3b:00.0",
        vf: 0,
      }),
    ]),
    config: JSON.stringify({
      resourceList: [
        { resourceName: "by_uplink", selectors: { pfNames: ["ens1f0np0#0-3"], isRdma: true } },
        { resourceName: "by_representor", selectors: { pfNames: ["eth0"], isRdma: true } },
      ],
    }),
    devices: { "intel.com/by_uplink": "1/1", "intel.com/by_representor": "0/0" },
  },
  {
    what: "the uplink of an old kernel, whose representors are called by number",
    host: host([
      mlx5(0, "3b", [{ name: "eth4", ...SWITCH, phys_port_name: "0" }, {
        name: "ens1f0",
        ...SWITCH,
        phys_port_name: "p0",
      }], [roce("ens1f0")]),
    ]),
    config: byNetdev("ens1f0", "eth4"),
    devices: { "rdma/ens1f0": "2/2", "rdma/eth4": "0/0" },
  },
  {
    what: "mlx4 with two Ethernet ports by dev_id alone, the first one down",
    host: host([
      mlx5(0, "82", [{ name: "eth4", dev_id: "0x0" }, { name: "eth5", dev_id: "0x1" }], [
        { ...roce("eth4"), state: "DOWN" },
        roce("eth5"),
      ], { name: "mlx4_0", device: "1003", driver: "mlx4_core", abi: 4 }),
    ]),
    config: byNetdev("eth4", "eth5"),
    devices: { "rdma/eth4": "2/0", "rdma/eth5": "2/2" },
    given: [{ resource: "rdma/eth5", ids: ["0"], env: { RDMA_NETDEVS: "eth5" } }],
    reasons: { mlx4_0: "port-down" },
  },
  {
    what: "an InfiniBand adapter with a second port that is down, and one with a child interface",
    host: host([
      mlx5(0, "3b", [{ name: "ib0", type: "ipoib" }, { name: "ib1", type: "ipoib", dev_port: 1 }], [
        { layer: "InfiniBand", gids: [{ gid: gid(1) }] },
        { layer: "InfiniBand", state: "DOWN", phys: "2: Polling", rate: "10 Gb/sec (4X SDR)", gids: [{ gid: gid(2) }] },
      ]),
      mlx5(1, "5e", [{ name: "ib2", type: "ipoib" }, { name: "ib2.8001", type: "ipoib" }], [
        { layer: "InfiniBand", gids: [{ gid: gid(3) }], pkeys: ["0xffff", "0x8001"] },
      ]),
    ]),
    config: byNetdev("ib0", "ib1", "ib2.8001"),
    devices: { "rdma/ib0": "2/2", "rdma/ib1": "2/0", "rdma/ib2_8001": "2/2" },
  },
  {
    what: "iWARP with four ports on one function",
    host: host([
      mlx5(
        0,
        "5e",
        [0, 1, 2, 3].map((n) => ({ name: `enp94s0f4d${n}`, dev_port: n })),
        [0, 1, 2, 3].map((n) => ({
          ...(n === 2 ? { state: "DOWN" as const } : {}),
          umad: false,
          gids: [{ gid: gid(n) }],
          slots: 1,
        })),
        { name: "cxgb4_0", vendor: "1425", device: "6001", driver: "cxgb4", node_type: "4: RNIC" },
      ),
    ]),
    config: byNetdev("enp94s0f4d1", "enp94s0f4d2"),
    devices: { "rdma/enp94s0f4d1": "2/2", "rdma/enp94s0f4d2": "2/0" },
    members: { "rdma/enp94s0f4d1": "cxgb4_0" },
  },
  {
    what: "EFA: no link layer that is known, no net device, no reason to be Unhealthy",
    host: host([
      mlx5(0, "10", [], [{ layer: "Unknown", umad: false, slots: 1, gids: [{ gid: gid(1) }] }], {
        name: "rdmap16s27",
        vendor: "1d0f",
        device: "efa1",
        driver: "efa",
        node_type: "7: unspecified",
      }),
    ]),
    config: JSON.stringify({ resourceList: [{ resourceName: "efa", selectors: { drivers: ["efa"], isRdma: true } }] }),
    devices: { "intel.com/efa": "1/1" },
  },
  {
    what: "an RNIC of a driver that is not known here is hardware",
    host: host([
      mlx5(0, "10", [{ name: "eth9" }], [{ umad: false, slots: 1, gids: [{ gid: gid(1) }] }], {
        name: "erdma_0",
        vendor: "1ded",
        device: "107f",
        driver: "erdma",
        node_type: "4: RNIC",
      }),
    ]),
    config: JSON.stringify({
      configList: [{ resourceName: "erdma", rdmaHcaMax: 2, selectors: { vendors: ["1ded"], ifNames: ["eth9"] } }],
    }),
    devices: { "rdma/erdma": "2/2" },
  },
  {
    what: "soft-iWARP on an adapter's function is no second adapter",
    host: host([
      mlx5(0, "3b", [{ name: "eth2" }], [roce("eth2")]),
      mlx5(1, "3b", [], [{ umad: false, gids: [{ gid: "0242:ac11:0002:0000:0000:0000:0000:0000" }] }], {
        name: "iwp59s0",
        node_type: "4: RNIC",
        node_desc: "Software iWARP stack",
      }),
    ]),
    config: JSON.stringify({ resourceList: [{ resourceName: "x", selectors: { vendors: ["15b3"], isRdma: true } }] }),
    devices: { "intel.com/x": "1/1" },
    members: { "intel.com/x": "mlx5_0" },
    given: [{ resource: "intel.com/x", ids: ["0000:3b:00.0"], env: { RDMA_HCAS: "mlx5_0" } }],
  },
  {
    what: "an adapter without uverbs alone on its function is an adapter, and Unhealthy",
    host: host([
      mlx5(0, "3b", [{ name: "eth2" }], [roce("eth2")], { uverbs: null }),
      mlx5(1, "5e", [{ name: "eth3" }], [roce("eth3")]),
    ]),
    devices: { "tencent.com/rdma": "2/1" },
    reasons: { mlx5_0: "no-uverbs" },
  },
  {
    what: "VFs that are down stay Unhealthy when the operator asks for their ports",
    host: "8/host.json",
    config: "resources: [{name: rdma/vf, select: {kinds: [vf]}, health: {policy: port-active}}]",
    devices: { "rdma/vf": "4/0" },
    reasons: { mlx5_1: "port-down" },
  },
  {
    what: "a PF that is down stays Unhealthy without a policy",
    host: host([
      mlx5(0, "3b", [{ name: "eth2", operstate: "down" }], [{ ...roce("eth2"), state: "DOWN", phys: "3: Disabled" }]),
    ]),
    devices: { "tencent.com/rdma": "1/0" },
  },
  {
    what: "a VPI adapter without its Ethernet port, and what is excluded by port",
    host: "3/host.json",
    config:
      "resources: [{name: rdma/ib, exclude: {linkLayers: [Ethernet]}, env: {nccl: true}}, {name: rdma/none, select: {linkLayers: [Ethernet], minRate: 40}}]",
    devices: { "rdma/ib": "1/1", "rdma/none": "0/0" },
    given: [{ resource: "rdma/ib", ids: ["mlx4_0"], env: { NCCL_IB_HCA: "=mlx4_0:1", RDMA_NETDEVS: "ib0" } }],
  },
];

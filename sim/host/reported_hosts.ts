/**
 * Machines from public reports, each with a peculiarity that a plain description of an adapter does not cover. The
 * trees are compared with those of an independent builder (test/hosts).
 *
 * @module
 */
import type { GidDescription, HcaDescription, HostDescription, NetdevDescription, PortDescription } from "./types.ts";

/** A ConnectX function; by default with one RoCE port on NUMA node 0. */
function connectx(
  number: number,
  pci: string,
  bridges: readonly string[],
  over: Partial<HcaDescription>,
): HcaDescription {
  return {
    name: `mlx5_${number}`,
    vendor: "15b3",
    device: "101d",
    subsystemDevice: "0007",
    pciClass: "020000",
    driver: "mlx5_core",
    nodeGuid: `0c42:a103:0000:${(number + 1).toString(16).padStart(4, "0")}`,
    pci,
    bridges,
    numaNode: 0,
    ports: [{ linkLayer: "Ethernet" }],
    ...over,
  };
}

function gid(
  index: number,
  address: string,
  netdev: string | null,
  type: GidDescription["type"] = "RoCE v2",
): GidDescription {
  return { index, gid: address, type, netdev };
}

const LINK_LOCAL = "fe80:0000:0000:0000:0e42:a1ff:fe00:";

/** A RoCE port with a link-local GID, for RoCE v2 only or for both versions. */
function roce(end: string, netdev: string, versions: 1 | 2 = 1, over: Partial<PortDescription> = {}): PortDescription {
  const address = LINK_LOCAL + end;
  const gids = versions === 1
    ? [gid(0, address, netdev)]
    : [gid(0, address, netdev, "IB/RoCE v1"), gid(1, address, netdev)];
  return { linkLayer: "Ethernet", gids, ...over };
}

/** An InfiniBand port configured by its subnet manager. */
function ib(lid: number, address: string, over: Partial<PortDescription> = {}): PortDescription {
  return {
    linkLayer: "InfiniBand",
    lid,
    gids: [gid(0, `fe80:0000:0000:0000:${address}`, null, "IB/RoCE v1")],
    ...over,
  };
}

/** A port of a VF that no one has set up yet. */
const DOWN: PortDescription = { linkLayer: "Ethernet", state: "DOWN", physState: "3: Disabled" };

/** A port of a switchdev function without a GID table. */
function noTable(state: "ACTIVE" | "DOWN" = "ACTIVE"): PortDescription {
  const physState = state === "DOWN" ? "3: Disabled" : "5: LinkUp";
  return { linkLayer: "Ethernet", state, physState, gidSlots: 0, umad: false };
}

function switchPort(name: string, physPortName: string): NetdevDescription {
  return { name, physPortName, physSwitchId: "e8ebd3" };
}

function switchdev(uplink: PortDescription): HostDescription {
  return {
    hcas: [connectx(0, "0000:d8:00.1", ["pci0000:d7"], {
      device: "1017",
      numaNode: 1,
      totalVfs: 8,
      vfs: 2,
      vf: { device: "1018", offset: 9, ports: [{ linkLayer: "Ethernet" }] },
      netdevs: [switchPort("ens8f1", "p1"), switchPort("58609951635cbfa", "pf1vf0"), switchPort("ens8f1_1", "pf1vf1")],
      ports: [uplink, noTable(), noTable(), noTable("DOWN"), noTable("DOWN")],
    })],
  };
}

function rail(number: number): HcaDescription {
  const bus = (0x1a + number).toString(16), above = (0x19 + number).toString(16);
  const netdev = `enp${0x1a + number}s0np0`;
  return connectx(number, `0000:${bus}:00.0`, [`pci0000:${above}`], {
    device: "1021",
    numaNode: number < 2 ? 0 : 1,
    netdevs: [netdev],
    ports: [roce(`001${number}`, netdev, 2, { rate: "400 Gb/sec (4X NDR)" })],
  });
}

function omniPath(number: number, bus: string, above: string): HcaDescription {
  return {
    name: `hfi1_${number}`,
    vendor: "434e",
    device: "0001",
    subsystemDevice: "0007",
    pciClass: "020800",
    driver: "hfi1",
    nodeGuid: `0011:7501:0109:6c9${number === 0 ? "a" : "b"}`,
    pci: `0000:${bus}:00.0`,
    bridges: [`pci0000:${above}`, `0000:${above}:00.0`],
    numaNode: number,
    netdevs: [{ name: `ib${number}`, type: "ipoib" }],
    ports: [ib(3 + number, `0011:7501:0109:6c9${number === 0 ? "a" : "b"}`)],
  };
}

const XDR = connectx(0, "0000:0b:00.0", ["pci0000:00", "0000:00:16.0"], {
  device: "1023",
  pciClass: "020700",
  nodeGuid: "5c25:7303:0044:00a0",
  netdevs: [{ name: "ibs192", type: "ipoib" }],
  ports: [ib(0x21, "5c25:7303:0044:00a0", { rate: "800 Gb/sec (4X XDR)", issm: false })],
});
const SMI_PORT: PortDescription = {
  linkLayer: "InfiniBand",
  rate: "200 Gb/sec (1X XDR)",
  lid: 0,
  smLid: 0,
  gids: [],
};
const BOND_BRIDGES = ["pci0000:3a", "0000:3a:00.0"];

const hosts = {
  /** ConnectX-8 XDR: besides mlx5_0, the same function has an SMI sub-device without uverbs node. */
  "smi-subdevice": {
    hcas: [XDR, {
      ...XDR,
      name: "smi1",
      uverbs: false,
      netdevs: [],
      ports: [SMI_PORT, SMI_PORT, SMI_PORT, SMI_PORT],
    }],
  },
  /** ConnectX-3 VPI: one InfiniBand and one Ethernet port. */
  "vpi": {
    hcas: [connectx(0, "0000:82:00.0", ["pci0000:00"], {
      name: "mlx4_0",
      device: "1003",
      driver: "mlx4_core",
      numaNode: 1,
      nodeGuid: "0002:c903:0001:0090",
      netdevs: [{ name: "ib0", type: "ipoib", port: 1 }, { name: "enp130s0d1", port: 2 }],
      ports: [
        ib(5, "0002:c903:0001:0091", { rate: "40 Gb/sec (4X QDR)" }),
        {
          linkLayer: "Ethernet",
          rate: "10 Gb/sec (1X QDR)",
          gids: ["IB/RoCE v1", "RoCE v2"].map((type, i) =>
            gid(i, "fe80:0000:0000:0000:0202:c9ff:fe01:0091", "enp130s0d1", type)
          ),
        },
      ],
    })],
  },
  /** A RoCE LAG: one HCA for the ports of both functions, with the GIDs of the bond. */
  "roce-lag": {
    hcas: [connectx(0, "0000:3b:00.0", BOND_BRIDGES, {
      name: "mlx5_bond_0",
      netdevs: [{ name: "bond0", bond: ["ens1f0np0", "ens1f1np1"] }, "ens1f0np0"],
      ports: [{
        linkLayer: "Ethernet",
        rate: "200 Gb/sec (4X HDR)",
        gids: [`${LINK_LOCAL}0010`, "0000:0000:0000:0000:0000:ffff:0a08:0001"].flatMap((address, i) => [
          gid(2 * i, address, "bond0", "IB/RoCE v1"),
          gid(2 * i + 1, address, "bond0"),
        ]),
      }],
    })],
    plainNics: [{
      name: "ens1f1np1",
      pci: "0000:3b:00.1",
      bridges: BOND_BRIDGES,
      vendor: "15b3",
      device: "101d",
      subsystemDevice: "0007",
      driver: "mlx5_core",
      numaNode: 0,
      master: "bond0",
    }],
  },
  /** Four VFs that are down, as VFs are until a CNI plugin sets them up inside pods. */
  "vfs-down": {
    hcas: [connectx(0, "0000:3b:00.0", BOND_BRIDGES, {
      netdevs: ["ens1f0"],
      totalVfs: 8,
      vfs: 4,
      vf: { device: "101e", ports: [DOWN] },
      ports: [roce("0001", "ens1f0")],
    })],
  },
  /** The same with a PF whose net device is named after its port. */
  "vfs-down-np": {
    hcas: [connectx(0, "0000:3b:00.0", ["pci0000:3a"], {
      netdevs: ["ens1f0np0"],
      totalVfs: 8,
      vfs: 2,
      vf: { device: "101e", ports: [DOWN] },
      ports: [roce("0001", "ens1f0np0", 2)],
    })],
  },
  /** Two Omni-Path adapters. */
  "omni-path": { hcas: [omniPath(0, "3d", "3a"), omniPath(1, "af", "ae")] },
  /**
   * Soft-RoCE and soft-iWARP before kernel 5.11: their device links lead to NICs, one of them the function of an
   * adapter.
   */
  "soft-old-kernel": {
    hcas: [
      connectx(0, "0000:3b:00.0", BOND_BRIDGES, {
        device: "101b",
        netdevs: ["ens1f0np0"],
        ports: [roce("0001", "ens1f0np0")],
      }),
      connectx(1, "0000:02:00.0", ["pci0000:00", "0000:00:1c.0"], {
        name: "rxe0",
        vendor: "8086",
        device: "1521",
        driver: "igb",
        software: { kind: "rxe", parent: "eno1" },
        netdevs: ["eno1"],
        ports: [roce("0002", "eno1", 1, { rate: "2.5 Gb/sec (1X SDR)" })],
      }),
      connectx(2, "0000:00:03.0", ["pci0000:00"], {
        name: "siw0",
        vendor: "1af4",
        device: "1000",
        driver: "virtio-pci",
        numaNode: -1,
        nodeType: "4: RNIC",
        software: { kind: "siw", under: "virtio0" },
        netdevs: ["eth0"],
        ports: [{
          linkLayer: "Ethernet",
          umad: false,
          gids: [gid(0, "5254:0012:3456:0000:0000:0000:0000:0000", null, null)],
        }],
      }),
      connectx(3, "0000:3b:00.0", BOND_BRIDGES, {
        name: "rxe1",
        device: "101b",
        software: { kind: "rxe", parent: "ens1f0np0" },
        ports: [roce("0001", "ens1f0np0", 1, { rate: "2.5 Gb/sec (1X SDR)" })],
      }),
    ],
  },
  /** Intel E810 with VFs whose PCI driver differs from that of the PF. */
  "intel-vfs": {
    hcas: [connectx(0, "0000:5e:00.0", ["pci0000:5d", "0000:5d:00.0"], {
      name: "rocep94s0f0",
      vendor: "8086",
      device: "1592",
      driver: "ice",
      netdevs: ["ens785f0"],
      totalVfs: 128,
      vfs: 2,
      vf: { device: "1889", driver: "iavf", names: "rocep94s1f%d", offset: 8, ports: [{ linkLayer: "Ethernet" }] },
      ports: [{ linkLayer: "Ethernet", gids: [gid(0, "fe80:0000:0000:0000:b696:91ff:feaa:0001", "ens785f0")] }],
    })],
  },
  /** A switchdev PF that has kept its uplink's GID table; its representors are also ports of the HCA. */
  "switchdev": switchdev(roce("0001", "ens8f1", 2)),
  /** A switchdev PF with an upstream kernel: RoCE is off. */
  "switchdev-no-roce": switchdev({ ...noTable(), rate: "100 Gb/sec (4X EDR)" }),
  /** Pods' macvlans in the GID tables, one of them with the name of another HCA's net device. */
  "macvlan-names": {
    hcas: [
      connectx(0, "0000:3b:00.0", ["pci0000:00"], {
        netdevs: ["eth2"],
        ports: [{
          linkLayer: "Ethernet",
          gids: [
            gid(0, `${LINK_LOCAL}0001`, "eth2"),
            gid(1, "0000:0000:0000:0000:0000:ffff:0a00:0001", "eth2"),
            gid(2, "0000:0000:0000:0000:0000:ffff:0a38:d9ab", "net1"),
          ],
        }],
      }),
      connectx(1, "0000:5e:00.0", ["pci0000:00"], {
        netdevs: ["eth3"],
        ports: [{
          linkLayer: "Ethernet",
          gids: [
            gid(0, `${LINK_LOCAL}0002`, "eth3"),
            gid(1, "0000:0000:0000:0000:0000:ffff:0a39:d9ac", "net2"),
            gid(2, "0000:0000:0000:0000:0000:ffff:0a39:d9ad", "eth2"),
          ],
        }],
      }),
    ],
  },
  /** Four rails with net devices that a CNI plugin moves into pods while the RDMA devices stay shared. */
  "rails-in-pods": { hcas: [0, 1, 2, 3].map(rail) },
} satisfies Record<string, HostDescription>;

/** Names of these machines. */
export type ReportedHost = keyof typeof hosts;

/** Descriptions by name. */
export const REPORTED_HOSTS: Readonly<Record<ReportedHost, HostDescription>> = hosts;

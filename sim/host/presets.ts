/**
 * Descriptions of real machines: one per adapter family, and some with one peculiarity.
 *
 * @module
 */
import { REPORTED_HOSTS } from "./reported_hosts.ts";
import type { HcaDescription, HostDescription, PortDescription } from "./types.ts";

const IB: PortDescription = { linkLayer: "InfiniBand" };
const ROCE: PortDescription = { linkLayer: "Ethernet" };

/** A GUID in sysfs form with the vendor's prefix, unique per number on a host. */
function guid(number: number): string {
  return `0c42:a103:${(number >> 8 & 0xffff).toString(16).padStart(4, "0")}:${
    ((number & 0xff) << 8).toString(16).padStart(4, "0")
  }`;
}

/** A ConnectX function; by default a ConnectX-6 with one RoCE port. */
function connectx(number: number, over: Partial<HcaDescription>): HcaDescription {
  return {
    name: `mlx5_${number}`,
    vendor: "15b3",
    device: "101b",
    subsystemVendor: "15b3",
    subsystemDevice: "0008",
    driver: "mlx5_core",
    nodeGuid: guid(number + 1),
    firmware: "20.35.4030",
    boardId: "MT_0000000224",
    hcaType: "MT4123",
    pci: "0000:3b:00.0",
    numaNode: 0,
    ports: [ROCE],
    ...over,
  };
}

/** A ConnectX PF with RoCE and four VFs from the start. */
function roceWithVfs(number: number, pci: string, numaNode: number, netdev: string): HcaDescription {
  return connectx(number, {
    pci,
    numaNode,
    netdevs: [{ name: netdev, ipv4: `192.168.${number}.1` }],
    totalVfs: 8,
    vfs: 4,
    vf: { device: "101c" },
  });
}

const SOFT_ROCE: HcaDescription = {
  name: "rxe0",
  vendor: "",
  device: "",
  driver: "rdma_rxe",
  nodeGuid: "5054:00ff:fe12:3456",
  pci: null,
  netdevs: [{ name: "eth0", ipv4: "10.0.2.15", virtual: true }],
  // Kernel 6.1 creates an issm node for rxe as well (measured).
  ports: [{ linkLayer: "Ethernet", rate: "2.5 Gb/sec (1X SDR)", counters: false, issm: true }],
};

const EFA: HcaDescription = {
  name: "rdmap16s27",
  vendor: "1d0f",
  device: "efa1",
  subsystemVendor: "1d0f",
  subsystemDevice: "efa1",
  driver: "efa",
  nodeType: "7: unspecified",
  nodeGuid: "0000:0000:0000:0000",
  pci: "0000:10:1b.0",
  bridges: ["pci0000:10"],
  numaNode: 0,
  ports: [{ linkLayer: "Unknown", rate: "100 Gb/sec (4X EDR)", counters: false }],
};

function irdma(number: number, over: Partial<HcaDescription>): HcaDescription {
  return {
    name: `rocep24s0f${number}`,
    vendor: "8086",
    device: "1592",
    subsystemVendor: "8086",
    subsystemDevice: "0002",
    driver: "ice",
    nodeGuid: `b696:91ff:feaa:${(0x1000 + number * 0x100).toString(16)}`,
    firmware: "1.71",
    pci: `0000:18:00.${number}`,
    numaNode: 0,
    netdevs: [{ name: `ens785f${number}`, ipv4: `172.16.${number}.1` }],
    ports: [{ linkLayer: "Ethernet", rate: "100 Gb/sec (4X EDR)", counters: false }],
    totalVfs: 8,
    vf: { device: "1889", driver: "iavf", names: "irdma%d", offset: 8 },
    ...over,
  };
}

function bnxt(number: number, pci: string): HcaDescription {
  return {
    name: `bnxt_re${number}`,
    vendor: "14e4",
    device: "1750",
    subsystemVendor: "14e4",
    subsystemDevice: "2100",
    driver: "bnxt_en",
    nodeGuid: `be97:e1ff:fe4b:${(0x2000 + number * 0x100).toString(16)}`,
    firmware: "226.0.145.0",
    hcaType: "BCM57508",
    pci,
    numaNode: 1,
    netdevs: [{ name: `enp101s0f${number}np${number}`, ipv4: `172.17.${number}.1` }],
    ports: [{ linkLayer: "Ethernet", rate: "200 Gb/sec (4X HDR)" }],
    totalVfs: 4,
    vf: { device: "1806", names: "bnxt_re%d", offset: 4 },
  };
}

/** One rail of a GPU server: a ConnectX-7 with one NDR port and its own root complex. */
function rail(number: number): HcaDescription {
  const bus = [0x0c, 0x2a, 0x41, 0x58, 0x86, 0xa5, 0xbd, 0xd5][number] ?? 0;
  const hex = (value: number) => value.toString(16).padStart(2, "0");
  return connectx(number, {
    device: "1021",
    hcaType: "MT4129",
    boardId: "MT_0000000838",
    firmware: "28.39.1002",
    pci: `0000:${hex(bus + 2)}:00.0`,
    bridges: [`pci0000:${hex(bus)}`, `0000:${hex(bus)}:01.0`, `0000:${hex(bus + 1)}:00.0`],
    numaNode: number < 4 ? 0 : 1,
    netdevs: [{ name: `ibp${bus + 2}s0`, type: "ipoib" }],
    ports: [{ ...IB, lid: 0x10 + number }],
  });
}

const SUB_FUNCTION_PF = connectx(0, { netdevs: [{ name: "ens1f0np0", ipv4: "192.168.0.1" }], totalVfs: 8 });

const presets = {
  /** One ConnectX with two InfiniBand ports, the second without a cable. */
  "connectx-ib-dual": {
    hcas: [connectx(0, {
      device: "1017",
      hcaType: "MT4119",
      netdevs: [{ name: "ib0", type: "ipoib", port: 1 }, { name: "ib1", type: "ipoib", port: 2 }],
      ports: [
        { ...IB, rate: "100 Gb/sec (4X EDR)", lid: 0x13, pkeys: ["0xffff", "0x8001"] },
        { ...IB, rate: "10 Gb/sec (4X SDR)", lid: 0xffff, smLid: 0, state: "DOWN" },
      ],
    })],
  },
  /** Two PFs on two NUMA nodes with four VFs each. */
  "connectx-roce-vfs": {
    hcas: [roceWithVfs(0, "0000:3b:00.0", 0, "ens1f0np0"), roceWithVfs(1, "0000:af:00.0", 1, "ens2f0np0")],
    knem: true,
  },
  /** Two functions of an Intel E810: one with RoCE, one with iWARP. */
  "intel-irdma": {
    hcas: [
      irdma(0, {}),
      irdma(1, {
        name: "iwp24s0f1",
        nodeType: "4: RNIC",
        ports: [{ linkLayer: "Ethernet", rate: "100 Gb/sec (4X EDR)", counters: false, umad: false }],
      }),
    ],
  },
  "broadcom-bnxt": { hcas: [bnxt(0, "0000:65:00.0"), bnxt(1, "0000:65:00.1")] },
  /** One EFA of a cloud instance: no net device, no umad, and a separate card for IP. */
  "aws-efa": {
    hcas: [EFA],
    rdmaCm: false,
    plainNics: [{
      name: "ens5",
      pci: "0000:00:05.0",
      bridges: ["pci0000:00"],
      vendor: "1d0f",
      device: "ec20",
      driver: "ena",
      numaNode: -1,
    }],
  },
  "soft-roce": { hcas: [SOFT_ROCE] },
  /** Eight ConnectX-7 rails on two NUMA nodes, and a RoCE adapter for storage. */
  "gpu-rails": {
    hcas: [
      ...Array.from({ length: 8 }, (_, number) => rail(number)),
      connectx(8, { pci: "0000:e1:00.0", numaNode: 1, netdevs: [{ name: "ens9f0np0", ipv4: "10.9.0.1" }] }),
    ],
    knem: true,
  },
  /** Two ports of one card in a bond: one HCA on the first function, with the GIDs of the bond. */
  "bond": {
    hcas: [connectx(0, {
      name: "mlx5_bond_0",
      netdevs: [{ name: "bond0", ipv4: "10.8.0.1", bond: ["ens1f0np0", "ens1f1np1"] }, "ens1f0np0"],
    })],
    plainNics: [{
      name: "ens1f1np1",
      pci: "0000:3b:00.1",
      vendor: "15b3",
      device: "101b",
      driver: "mlx5_core",
      numaNode: 0,
      master: "bond0",
    }],
  },
  /** A PF with two sub-functions. */
  "sub-functions": {
    hcas: [
      SUB_FUNCTION_PF,
      ...[1, 2].map((number) =>
        connectx(number, {
          netdevs: [{ name: `enp59s0f0s${87 + number}`, ipv4: `192.168.1.${number}` }],
          sf: { number: 87 + number, index: number + 1 },
        })
      ),
    ],
  },
  /** The RDMA modules are loaded, but there is no adapter. */
  "empty": { hcas: [], rdmaCm: false },
  /** No RDMA module is loaded. */
  "no-modules": { hcas: [], rdmaCm: false, modules: false },
  /** One of each kind on one machine. */
  "mixed": {
    hcas: [
      connectx(0, { pci: "0000:5e:00.0", netdevs: [{ name: "ib0", type: "ipoib" }], ports: [IB] }),
      { ...roceWithVfs(1, "0000:3b:00.0", 0, "ens1f0np0"), vfs: 2 },
      connectx(2, {
        netdevs: [{ name: "enp59s0f0s88", ipv4: "192.168.3.1" }],
        sf: { number: 88, index: 2 },
      }),
      irdma(0, {}),
      bnxt(0, "0000:b1:00.0"),
      EFA,
      SOFT_ROCE,
    ],
    knem: true,
    plainNics: [{
      name: "eno1",
      pci: "0000:02:00.0",
      vendor: "8086",
      device: "1521",
      driver: "igb",
      numaNode: 0,
    }],
  },
} satisfies Record<string, HostDescription>;

/** Names of the presets. */
export type PresetName = keyof typeof presets;

export const PRESETS: Readonly<Record<PresetName, HostDescription>> = presets;

/**
 * Returns the preset of that name.
 *
 * @throws {RangeError} when there is none; the message lists the presets
 */
export function preset(name: string): HostDescription {
  const all: Readonly<Record<string, HostDescription>> = { ...PRESETS, ...REPORTED_HOSTS };
  const found = Object.hasOwn(all, name) ? all[name] : undefined;
  if (found !== undefined) return found;
  throw new RangeError(`Cannot use "${name}" as a host: the presets are ${Object.keys(all).join(", ")}`);
}

/**
 * A machine with `n` RoCE HCAs of one port each on four NUMA nodes; for benchmarks. At most 8,192 HCAs.
 *
 * @throws {RangeError} when `n` is not a whole number from 0 to 8192
 */
export function manyHcas(n: number): HostDescription {
  if (!Number.isInteger(n) || n < 0 || n > 8192) {
    throw new RangeError(`Cannot describe a host with ${n} HCAs: it must be a whole number from 0 to 8192`);
  }
  const hex = (value: number, width: number) => value.toString(16).padStart(width, "0");
  const hcas = Array.from({ length: n }, (_, number) => {
    // A domain per 256 HCAs and a bus per eight of them make every address unique.
    const domain = hex(number >> 8, 4);
    const bus = hex(16 + (number >> 3 & 31), 2);
    return connectx(number, {
      pci: `${domain}:${bus}:00.${number & 7}`,
      bridges: [`pci${domain}:00`, `${domain}:00:${hex(number >> 3 & 31, 2)}.0`],
      numaNode: (number >> 3) % 4,
      // Building a big host is dominated by inodes: a short GID table, and no IB counters.
      ports: [{ ...ROCE, gidSlots: 8, counters: false }],
      netdevs: [{ name: `eth${number}`, ipv4: `10.${number >> 16 & 255}.${number >> 8 & 255}.${number & 255}` }],
    });
  });
  return { hcas };
}

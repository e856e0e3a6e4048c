/**
 * Remedies for ports that keep a device Unhealthy, one for each cause. Pure.
 *
 * Port states and physical states: kernel `enum ib_port_state` and `enum ib_port_phys_state` (ib_verbs.h). On Ethernet,
 * drivers derive them from the net device: mlx5 reports "Disabled" whenever it does not run, whether it is set down or
 * has no carrier; rxe and others report "Polling" for the latter.
 *
 * @module
 */
import type { Hca, Port } from "../hca/types.ts";
import { carriesRdma } from "../pool/match.ts";
import { isRaisedInPod } from "../pool/health.ts";
import { selectedPorts } from "../pool/ports.ts";
import type { ResourceSpec } from "../pool/spec.ts";
import type { Link } from "./links.ts";

/** The remedies for the HCA's ports, one per cause. Devices recover by themselves afterwards. */
export function remedyFor(spec: ResourceSpec, hca: Hca, links: ReadonlyMap<string, Link>): string {
  const { policy, ports: wanted } = spec.health;
  const absent = wanted?.find((number) => !hca.ports.some((port) => port.number === number));
  if (absent !== undefined) return `remove port ${absent} from health.ports of ${spec.name}`;
  const ports = wanted === null ? selectedPorts(spec, hca) : hca.ports.filter((port) => wanted.includes(port.number));
  const bad = ports.filter((port) =>
    !carriesRdma(port) || (policy === "link-up" ? port.physState !== "LinkUp" : port.state !== "ACTIVE")
  );
  const remedies = [...new Set(bad.map((port) => remedy(hca, port, links)))];
  return remedies.length === 0 ? "see dmesg for its driver" : remedies.join("; ");
}

function remedy(hca: Hca, port: Port, links: ReadonlyMap<string, Link>): string {
  const names = port.netdevs.length > 0 ? port.netdevs : hca.netdevs;
  if (!carriesRdma(port)) return noGidTable(hca);
  if (port.state === "unknown") {
    return `see dmesg: the driver or firmware of ${hca.name} does not answer; a reset of the adapter or of the node helps`;
  }
  if (port.linkLayer === "InfiniBand" && hca.nodeGuid === null) return withoutGuid(hca);
  if (port.state === "INIT" || port.state === "ARMED") return notConfigured(hca, port);
  switch (port.physState) {
    case "Disabled":
      return disabled(hca, port, names, links);
    case "Polling":
    case "Sleep":
      return `nothing answers at the other end of ${hca.name} port ${port.number}: check the cable, its transceivers and ` +
        `the switch port${hca.kind === "vf" ? " of its PF" : ""}`;
    case "Training":
    case "PortConfigurationTraining":
    case "LinkErrorRecovery":
      return `${hca.name} port ${port.number} cannot agree with the other end: check speed, FEC and the quality of the ` +
        "cable (mlxlink, ethtool, ibdiagnet)";
    default:
      return isRaisedInPod(hca) ? linkIsDown(names) : ethernetDown(names, links);
  }
}

/** A VF of an InfiniBand adapter has no GUID until the host of its PF sets one. */
function withoutGuid(hca: Hca): string {
  const vf = hca.pci?.vfIndex ?? "N", pf = hca.pci?.pfNetdevs[0] ?? "PF";
  return `${hca.name} has no GUID, so no subnet manager configures its port: set both on the host that has its PF ` +
    `(ip link set ${pf} vf ${vf} node_guid GUID, the same with port_guid), then bind its driver again`;
}

function notConfigured(hca: Hca, port: Port): string {
  if (port.linkLayer !== "InfiniBand") return `set ${hca.name}'s net device down and up again, and see dmesg`;
  const who = `the subnet manager (opensm, UFM, or the switch's)`;
  return port.state === "INIT"
    ? `cable and switch are fine: no subnet manager has configured the port. Start ${who}; sminfo asks for it`
    : `${who} has started to configure the port and has not finished: see its log`;
}

/** The administrator disabled the port, or the driver reports this for a net device that does not run. */
function disabled(hca: Hca, port: Port, names: readonly string[], links: ReadonlyMap<string, Link>): string {
  if (isRaisedInPod(hca)) return linkIsDown(names);
  if (port.linkLayer === "Ethernet") return ethernetDown(names, links);
  return `${hca.name} port ${port.number} is switched off, here or at the switch: enable it (ibportstate, or mlxlink -d ` +
    `${hca.name} --port_state UP); a cable would say Polling`;
}

function linkIsDown(names: readonly string[]): string {
  return `this is normal: the CNI plugin sets up the link of a VF or sub-function inside the pod. Remove health.policy ` +
    `or set policy: present${names.length === 0 ? "" : `; to set it up by hand: ip link set ${names[0]} up`}`;
}

function ethernetDown(names: readonly string[], links: ReadonlyMap<string, Link>): string {
  const name = names.find((one) => links.get(one)?.up === false) ?? names[0];
  if (name === undefined) {
    return "its net device is not in this network namespace; find out which one has it (ip netns, pods)";
  }
  if (links.get(name)?.up === true) {
    return `${name} is set up and has no carrier: check the cable, its transceivers and the switch port (ethtool ${name})`;
  }
  return `${name} is set down: ip link set ${name} up, and find out what set it down (NetworkManager, netplan, a script)`;
}

function noGidTable(hca: Hca): string {
  const address = hca.pci?.address ?? "0000:3b:00.0";
  if (hca.switchdev) {
    return "give pods its VFs or sub-functions instead: the uplink of an embedded switch carries no RoCE";
  }
  return `enable RoCE: devlink dev param set pci/${address} name enable_roce value true cmode driverinit, then devlink ` +
    `dev reload pci/${address}`;
}

import { equal, match } from "@std/assert";
import { remedyFor } from "../../src/doctor/remedies.ts";
import type { Hca, Port } from "../../src/hca/types.ts";
import type { HealthPolicy } from "../../src/pool/spec.ts";
import { hca, pci, port, spec } from "../support/hcas.ts";

const IB = { linkLayer: "InfiniBand", transport: "IB", netdevs: ["ib0"] } as const;
const active: HealthPolicy = { ...spec().health, policy: "port-active" };

function remedy(over: Partial<Port>, more: Partial<Hca> = {}, up: boolean | null = null): string {
  const one = hca(0, { ports: [port(1, { netdevs: ["eth0"], ...over })], ...more });
  return remedyFor(spec({ health: active }), one, new Map([["eth0", { up }]]));
}

/** Each cause: what helps, and what must not be said because it is the remedy of another cause. */
const CAUSES: readonly (readonly [cause: string, said: string, says: RegExp, not: RegExp])[] = [
  [
    "a VF that is down",
    remedy({ state: "DOWN", physState: "Disabled" }, { kind: "vf" }),
    /this is normal: the CNI plugin sets up the link of a VF or sub-function inside the pod.*policy: present.*ip link set eth0 up/,
    /cable|subnet manager/,
  ],
  [
    "an Ethernet port that the administrator set down",
    remedy({ state: "DOWN", physState: "Disabled" }, {}, false),
    /^eth0 is set down: ip link set eth0 up/,
    /cable|subnet manager/,
  ],
  [
    "an Ethernet port that is set up and has no carrier",
    remedy({ state: "DOWN", physState: "Disabled" }, {}, true),
    /^eth0 is set up and has no carrier: check the cable/,
    /ip link|subnet manager/,
  ],
  [
    "an InfiniBand port that is switched off",
    remedy({ ...IB, state: "DOWN", physState: "Disabled" }),
    /switched off, here or at the switch: enable it \(ibportstate/,
    /subnet manager|ip link/,
  ],
  [
    "a cable that is out",
    remedy({ ...IB, state: "DOWN", physState: "Polling" }),
    /nothing answers at the other end of mlx5_0 port 1: check the cable/,
    /subnet manager|ip link/,
  ],
  [
    "a link that cannot be trained",
    remedy({ ...IB, state: "DOWN", physState: "LinkErrorRecovery" }),
    /cannot agree with the other end: check speed, FEC/,
    /subnet manager|ip link/,
  ],
  [
    "no subnet manager",
    remedy({ ...IB, state: "INIT", physState: "LinkUp" }),
    /no subnet manager has configured the port. Start the subnet manager \(opensm/,
    /check the cable|ip link/,
  ],
  [
    "a subnet manager that does not end",
    remedy({ ...IB, state: "ARMED", physState: "LinkUp" }),
    /has started to configure the port and has not finished: see its log/,
    /cable|ip link|Start/,
  ],
  [
    "a VF without a GUID",
    remedy({ ...IB, state: "INIT" }, {
      kind: "vf",
      nodeGuid: null,
      pci: pci("0000:3b:00.2", { vfIndex: 3, pfNetdevs: ["ib0"] }),
    }),
    /has no GUID.*ip link set ib0 vf 3 node_guid GUID/,
    /cable|Start/,
  ],
  [
    "the uplink of an embedded switch",
    remedy({ gidTable: false, state: "ACTIVE" }, { switchdev: true }),
    /give pods its VFs or sub-functions instead/,
    /cable|subnet manager|ip link/,
  ],
  [
    "RoCE that is switched off",
    remedy({ gidTable: false, state: "ACTIVE" }),
    /devlink dev param set pci\/0000:00:00.0 name enable_roce value true/,
    /cable|subnet manager|ip link/,
  ],
  ["firmware that hangs", remedy({ state: "unknown", physState: null }), /driver or firmware of mlx5_0/, /cable/],
];
for (const [cause, said, says, not] of CAUSES) {
  Deno.test(`doctor's remedy for ${cause} is that one and no other`, () => {
    match(said, says);
    equal(not.test(said), false, said);
  });
}

Deno.test("remedyFor() names each cause once, and a port that the configuration names and the HCA has not", () => {
  const down = { ...IB, state: "DOWN", physState: "Polling" } as const;
  const both = hca(0, { ports: [port(1, down), port(2, { ...IB, state: "INIT" })] });
  const said = remedyFor(spec({ health: { ...active, require: "all" } }), both, new Map());
  match(said, /port 1: check the cable.*; cable and switch are fine: no subnet manager/);
  match(remedyFor(spec({ health: { ...active, ports: [3] } }), both, new Map()), /remove port 3 from health\.ports/);
});

/**
 * The table's rows about what stands beside HCAs: companion nodes and drivers.
 *
 * @module
 */
import { type HcaPlan, type HostPlan, readPlan } from "./build.ts";
import type { Row } from "./rows.ts";

type Companions = NonNullable<HcaPlan["companions"]>;

/** Omni-Path, each HCA with these class devices on its PCI function. */
function omniPath(first: Companions, second: Companions, over: Partial<HcaPlan> = {}): HostPlan {
  const plan = readPlan("9/host.json");
  const companions = [first, second];
  return { ...plan, hcas: plan.hcas.map((hca, i) => ({ ...hca, ...over, companions: companions[i]! })) };
}

const HFI = omniPath([["hfi1_user", "hfi1_0", "243:0"]], [["hfi1_user", "hfi1_1", "243:1"]]);
/** Numbers that cross the names of the HCAs: sysfs decides, not the name. */
const CROSSED = omniPath([["hfi1", "hfi1_1", "243:1"]], [["hfi1", "hfi1_0", "243:0"]]);
const SLINGSHOT = omniPath([["cxi_user", "cxi1", "240:1"]], [["cxi_user", "cxi0", "240:0"], ["ptp", "ptp3", "248:3"]], {
  driver: "cxi_ss1",
  vendor: "17db",
});

const verbs = (n: number) => [`uverbs${n}`, `umad${n}`, `issm${n}`].map(ib);
const first = { resource: "tencent.com/rdma", ids: ["hfi1_0"] };
const second = { resource: "tencent.com/rdma", ids: ["hfi1_1"] };
const BOTH = { "tencent.com/rdma": "2/2" };

export const EDGES: readonly Row[] = [
  {
    what: "9: each HCA of a shared pool comes with its own companion",
    host: HFI,
    config: "9/shared.json",
    devices: { "cornelis.com/hfi": "64/64" },
    given: [{
      resource: "cornelis.com/hfi",
      ids: ["5"],
      nodes: [...verbs(0), "hfi1_0", ...verbs(1), "hfi1_1", "infiniband/rdma_cm"],
    }],
  },
  {
    what: "9: fixed paths that are HCAs' own go with their HCA",
    host: HFI,
    config: "9/own.yaml",
    devices: { "cornelis.com/hfi": "2/2" },
    given: [
      { resource: "cornelis.com/hfi", ids: ["hfi1_0"], nodes: [...verbs(0), "hfi1_0", "infiniband/rdma_cm"] },
      { resource: "cornelis.com/hfi", ids: ["hfi1_1"], nodes: [...verbs(1), "hfi1_1", "infiniband/rdma_cm"] },
    ],
  },
  {
    what: "9: a companion of another number than its HCA",
    host: CROSSED,
    devices: BOTH,
    given: [
      { ...first, nodes: [...verbs(0), "hfi1_1", "infiniband/rdma_cm"] },
      { ...second, nodes: [...verbs(1), "hfi1_0", "infiniband/rdma_cm"] },
    ],
  },
  {
    what: "9: Slingshot's cxi, and a PTP clock that nobody asked for",
    host: SLINGSHOT,
    devices: BOTH,
    given: [
      { ...first, nodes: [...verbs(0), "cxi1", "infiniband/rdma_cm"] },
      { ...second, nodes: [...verbs(1), "cxi0", "infiniband/rdma_cm"] },
    ],
  },
];

function ib(name: string): string {
  return `infiniband/${name}`;
}

/**
 * Nodes with DRA on which something is wrong, and exactly what the doctor finds on each.
 *
 * @module
 */
import type { DraFacts } from "../../src/doctor/dra_facts.ts";
import type { Facts } from "../../src/doctor/facts.ts";
import { DEFAULT_SPEC, type ResourceSpec } from "../../src/pool/spec.ts";
import type { Broken } from "./broken_hosts.ts";

const DRA_SPEC: ResourceSpec = { ...DEFAULT_SPEC, api: "dra", ids: "pci" };

/** A node with DRA on which all is well but for what is said. */
function dra(over: Partial<DraFacts>): Pick<Facts, "dra"> {
  return {
    dra: {
      driver: "rdma.tencent.com",
      node: "node-1",
      wanted: true,
      registryDir: "/var/lib/kubelet/plugins_registry",
      registryThere: true,
      server: "https://10.0.0.1",
      reason: null,
      missing: [],
      tooOld: false,
      gatesOff: [],
      published: 1,
      expected: 1,
      classes: [],
      allocatable: [],
      claims: [],
      withoutCdi: [],
      unreadable: [],
      ...over,
    },
  };
}

export const BROKEN_DRA: readonly Broken[] = [
  {
    what: "claims whose CDI files cannot be written",
    finds: ["problem cdi-dir"],
    says: /mount is read-only.*api: dra/s,
    specs: [DRA_SPEC],
    over: { ...dra({}), cdi: { dir: "/var/run/cdi", state: "read-only" } },
  },
  {
    what: "an API server that cannot be reached",
    finds: ["problem dra-api"],
    says: /cannot be reached \(ECONNREFUSED\).*image-dra/s,
    specs: [DRA_SPEC],
    over: dra({ reason: "the API server https://10.0.0.1 cannot be reached (ECONNREFUSED)" }),
  },
  {
    what: "DRA outside a cluster and without the plugin watcher's directory",
    finds: ["problem dra-api", "problem dra-api"],
    says: /no API server is known.*--kube-api/s,
    specs: [DRA_SPEC],
    over: dra({ server: null, registryThere: false }),
  },
  {
    what: "an API server without resource.k8s.io/v1",
    finds: ["problem dra-api"],
    says: /1\.34/,
    specs: [DRA_SPEC],
    over: dra({ tooOld: true }),
  },
  {
    what: "missing rights at the API server",
    finds: ["problem dra-rights"],
    says: /may not: create resourceslices, get nodes.*rbac\.yaml/s,
    specs: [DRA_SPEC],
    over: dra({ missing: ["create resourceslices", "get nodes"] }),
  },
  {
    what: "feature gates that are off",
    finds: ["warning dra-gates"],
    says: /DRADeviceTaints, DRAConsumableCapacity off/,
    specs: [DRA_SPEC],
    over: dra({ gatesOff: ["DRADeviceTaints", "DRAConsumableCapacity"] }),
  },
  {
    what: "slices that say something else than the machine",
    finds: ["warning dra-slices"],
    says: /0 devices in the ResourceSlices of node-1, and there should be 1/,
    specs: [DRA_SPEC],
    over: dra({ published: 0 }),
  },
  {
    what: "a DeviceClass with the name of a device plugin's resource, and two with one name",
    finds: ["warning dra-class", "warning dra-class"],
    says:
      /DeviceClass a has the name x\/nic, which this node offers through a device plugin.*several DeviceClasses.*among them c/s,
    specs: [DRA_SPEC],
    over: dra({
      allocatable: ["cpu", "x/nic"],
      classes: [
        { name: "a", extendedResourceName: "x/nic" },
        { name: "b", extendedResourceName: "x/other" },
        { name: "c", extendedResourceName: "x/other" },
        { name: "d", extendedResourceName: null },
      ],
    }),
  },
  {
    what: "a claim whose CDI file is gone, and a record that cannot be read",
    finds: ["problem dra-claims", "warning dra-claims"],
    says: /CDI file of claim default\/one is gone.*u-9\.json cannot be read/s,
    over: dra({ wanted: false, claims: ["default/one"], withoutCdi: ["default/one"], unreadable: ["/x/u-9.json"] }),
  },
];

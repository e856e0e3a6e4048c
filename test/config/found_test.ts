/** Configuration files as they are found in public repositories, and what their authors are told. */
import { deepEqual, equal } from "@std/assert";
import { formatMistakes, parseConfig } from "../../src/config/mod.ts";

/** Path and sentence of everything that is said about a file; of a good one its resources and warnings. */
function said(file: unknown): string[] {
  const result = parseConfig(typeof file === "string" ? file : JSON.stringify(file), "c.json");
  if (!result.ok) return result.mistakes.map((one) => formatMistakes([one]).replace(/^c\.json:\d+:\d+: /, ""));
  const names = result.config.resources.map((one) => one.name).join(" ");
  return [`ok ${names}`, ...result.config.warnings.map((one) => one.replace(/^c\.json:\d+:\d+: /, ""))];
}

const shared = (item: object, more = {}) => ({ ...more, configList: [{ resourceName: "a", rdmaHcaMax: 4, ...item }] });
const sriov = (item: object) => ({ resourceList: [{ resourceName: "a", ...item }] });

const NONE_IS_RDMA =
  "resourceList: no resource here has isRdma: true in its selectors; this plugin serves RDMA devices " +
  "only, other resources must stay with the other plugin";

const FILES: readonly (readonly [what: string, file: unknown, said: readonly string[]])[] = [
  ["isRdma a level too high", sriov({ isRdma: true, selectors: { vendors: ["15b3"] } }), [
    NONE_IS_RDMA,
    "resourceList[0].isRdma: unknown key, ignored; it belongs in resourceList[0].selectors",
  ]],
  ["isRdma at the top", { isRdma: true, ...sriov({ selectors: {} }) }, [
    "isRdma: unknown key, ignored; it belongs in resourceList[0].selectors",
    NONE_IS_RDMA,
  ]],
  ["resourceList with the shared plugin's keys", sriov({ rdmaHcaMax: 63, selectors: { vendors: ["15b3"] } }), [
    NONE_IS_RDMA,
    "resourceList[0].rdmaHcaMax: unknown key, ignored; a key of the RDMA shared device plugin, whose list is called " +
    "configList: write configList instead of resourceList to share HCAs between pods",
  ]],
  [
    "selectors' names of the other format",
    sriov({ selectors: { isRdma: true, ifNames: ["ib0"], deviceIDs: ["1017"] } }),
    [
      "ok intel.com/a",
      'resourceList[0].selectors.ifNames: unknown key, ignored; here it is called "pfNames"',
      'resourceList[0].selectors.deviceIDs: unknown key, ignored; here it is called "devices"',
    ],
  ],
  ["and the other way round", shared({ selectors: { isRdma: true, pfNames: ["ib0"], devices: ["1017"] } }), [
    "configList[0].selectors: none of its conditions is known here: without selectors, this resource would have " +
    'every HCA; select some, for example "vendors": ["15b3"]',
    "configList[0].selectors.isRdma: unknown key, ignored; every resource under configList is RDMA, so it is not needed",
    'configList[0].selectors.pfNames: unknown key, ignored; here it is called "ifNames"',
    'configList[0].selectors.devices: unknown key, ignored; PCI device IDs are called "deviceIDs" here',
  ]],
  ["selectors a level too high", shared({ vendors: ["15b3"] }), [
    'configList[0]: selectors are missing: without selectors, this resource would have every HCA; select some, for example "vendors": ["15b3"]',
    "configList[0].vendors: unknown key, ignored; it belongs in configList[0].selectors",
  ]],
  ["no selectors", shared({}), [
    'configList[0]: selectors are missing: without selectors, this resource would have every HCA; select some, for example "vendors": ["15b3"]',
  ]],
  ["another plugin's selectors and keys", shared({ selectors: { buses: ["ub"] } }, { faultDetectPeriod: 5 }), [
    "faultDetectPeriod: unknown key, ignored; known here: periodicUpdateInterval, configList",
    "configList[0].selectors: none of its conditions is known here: without selectors, this resource would have " +
    'every HCA; select some, for example "vendors": ["15b3"]',
    "configList[0].selectors.buses: unknown key, ignored; known here: vendors, deviceIDs, drivers, ifNames, linkTypes",
  ]],
  ["several names in one text", shared({ selectors: { ifNames: ["ens1f0,ens1f1"] } }), [
    'configList[0].selectors.ifNames[0]: found "ens1f0,ens1f1", expected one net device name; one value an entry: ["ens1f0", "ens1f1"]',
  ]],
  ["several IDs in one text", shared({ selectors: { vendors: ["15b3, 8086"] } }), [
    'configList[0].selectors.vendors[0]: found "15b3, 8086", expected up to four hex digits such as "15b3"; one value an entry: ["15b3", "8086"]',
  ]],
  ["linkTypes as the operator's CRD spells them", sriov({ selectors: { isRdma: true, linkTypes: ["IB", "eth"] } }), [
    'resourceList[0].selectors.linkTypes[0]: found "IB", expected ether or infiniband; did you mean "infiniband"?',
    'resourceList[0].selectors.linkTypes[1]: found "eth", expected ether or infiniband; did you mean "ether"?',
  ]],
  ["linkTypes by their common name", shared({ selectors: { linkTypes: ["ethernet", "RoCE", "Infiniband"] } }), [
    'configList[0].selectors.linkTypes[0]: found "ethernet", expected ether or infiniband; did you mean "ether"?',
    'configList[0].selectors.linkTypes[1]: found "RoCE", expected ether or infiniband; did you mean "ether"?',
    'configList[0].selectors.linkTypes[2]: found "Infiniband", expected ether or infiniband; did you mean "infiniband"?',
  ]],
  ["one entry without its list", { resourceName: "rdma/a", devices: ["x"], vendors: ["15b3"], deviceIDs: ["1017"] }, [
    'resourceName: this is one entry without its list: put it into {"configList": [ … ]}, and its selectors into "selectors"',
  ]],
  ["one entry of the other without its list", { resourceName: "a", selectors: {}, isRdma: true }, [
    'resourceName: this is one entry without its list: put it into {"resourceList": [ … ]}, and its selectors into "selectors"',
  ]],
  ["the prefix in the name", shared({ resourceName: "rdma/a", selectors: { vendors: ["15b3"] } }), [
    'configList[0].resourceName: found "rdma/a", expected a name of letters, digits and "_"; the part before "/" belongs in resourcePrefix',
  ]],
  ["our format with a peer's words", "resources: [{name: rdma/a, select: {ifNames: [ib0], linkLayers: [ib]}}]", [
    'resources[0].select.ifNames: unknown key; did you mean "netdevs"?',
    'resources[0].select.linkLayers[0]: found "ib", expected one of InfiniBand, Ethernet; did you mean "InfiniBand"?',
  ]],
];
for (const [what, file, expected] of FILES) {
  Deno.test(`a file with ${what} is answered by where and what`, () => {
    deepEqual([...said(file)].sort(), [...expected].sort());
  });
}

Deno.test("what the peers take is taken: empty lists, an unknown key beside a known one, another letter case", () => {
  const empty = { vendors: ["15b3"], devices: [], drivers: [], pfNames: [], rootDevices: [], linkTypes: [] };
  deepEqual(said(sriov({ selectors: { ...empty, isRdma: true } })), ["ok intel.com/a"]);
  const more = shared({ selectors: { vendors: ["15b3"], buses: ["ub"] } }, { periodicUpdateInterval: 300 });
  equal(said(more)[0], "ok rdma/a");
  equal(said(sriov({ Selectors: { ISRDMA: true } }))[0], "ok intel.com/a");
});

/** Configuration files as they are found in public repositories; those with mistakes are in test/support/malformed.ts. */
import { deepEqual } from "@std/assert";
import { parseConfig } from "../../src/config/mod.ts";
import { codesOf } from "../support/codes.ts";

Deno.test("what the peers take is taken: empty lists, an unknown key beside a known one, another letter case", () => {
  const sriov = (item: object) => ({ resourceList: [{ resourceName: "a", ...item }] });
  const taken = (file: unknown) => {
    const result = parseConfig(JSON.stringify(file), "c.json");
    return result.ok ? [...result.config.resources.map((one) => one.name), ...codesOf(result)] : codesOf(result);
  };
  const empty = { vendors: ["15b3"], devices: [], drivers: [], pfNames: [], rootDevices: [], linkTypes: [] };
  deepEqual(taken(sriov({ selectors: { ...empty, isRdma: true } })), ["intel.com/a"]);
  deepEqual(taken(sriov({ Selectors: { ISRDMA: true } })), ["intel.com/a"]);
  const item = { resourceName: "a", rdmaHcaMax: 4, selectors: { vendors: ["15b3"], buses: ["ub"] } };
  deepEqual(taken({ periodicUpdateInterval: 300, configList: [item] }), [
    "rdma/a",
    "configList[0].selectors.buses unknown-key",
  ]);
});

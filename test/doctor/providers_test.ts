import { deepEqual, match } from "@std/assert";
import { examine } from "../../src/doctor/checks.ts";
import { driverNames } from "../../src/hca/drivers.ts";
import type { Hca } from "../../src/hca/types.ts";
import { mismatch } from "../../src/pool/match.ts";
import { after, hca, pci, snapshot, spec } from "../support/hcas.ts";
import { facts } from "../support/inspected.ts";

const on = (driver: string, over: Partial<Hca> = {}) => hca(0, { pci: pci("0000:5e:00.0", { driver }), ...over });
const abi = (abiVersion: number | null) => ({ name: "uverbs0", dev: "231:192", abiVersion, present: true });

/** What doctor says about providers of these HCAs, with every provider library installed. */
function said(hcas: readonly Hca[]) {
  const specs = [spec()];
  const inventory = {
    snapshot: snapshot(hcas),
    specs,
    leftOut: [],
    ownersOf: () => [],
    states: after(new Map(), specs, hcas, 0).states,
  };
  const names = ["mlx5", "irdma", "ocrdma", "ionic", "bnxt_re"];
  const providers = {
    libraries: names.map((name) => `lib${name}-rdmav34.so`),
    drivers: names.map((name) => `${name}.driver`),
  };
  return examine(facts(inventory, { providers })).filter((one) => one.id.startsWith("provider"))
    .map(({ severity, what }) => `${severity} ${what}`);
}

Deno.test("drivers: a selector may name the PCI driver or the RDMA driver on it, for VFs as for PFs", () => {
  const pairs = [
    ["ice", "irdma"],
    ["iavf", "irdma"],
    ["idpf", "irdma"],
    ["i40e", "irdma"],
    ["be2net", "ocrdma"],
    ["ionic", "ionic_rdma"],
    ["bng_en", "bng_re"],
    ["bnxt_en", "bnxt_re"],
    ["mlx5_core", "mlx5_ib"],
  ] as const;
  for (const [driver, rdma] of pairs) {
    deepEqual(mismatch({ drivers: [driver] }, on(driver)), null, driver);
    deepEqual(mismatch({ drivers: [rdma] }, on(driver)), null, rdma);
  }
  match(mismatch({ drivers: ["irdma"] }, on("mlx5_core"))!, /its driver is mlx5_core, mlx5_ib, wanted: irdma/);
  deepEqual(driverNames(on("nobody_knows")), ["nobody_knows"]);
});

Deno.test("doctor: a provider is ok only when the table knows the driver and the kernel tells its ABI version", () => {
  deepEqual(said([on("iavf", { uverbs: abi(5) })]), ["ok every HCA has its provider library, with a fitting ABI"]);
  deepEqual(said([on("nobody_knows")]), [
    "unchecked provider libraries not checked: mlx5_0, driver nobody_knows is not in this plugin's table",
  ]);
  deepEqual(said([on("bng_en")]), [
    "unchecked provider libraries not checked: mlx5_0, no rdma-core provider is known for driver bng_en",
  ]);
  deepEqual(said([on("iavf", { uverbs: abi(null) })]), [
    "unchecked provider libraries not checked: mlx5_0, the kernel does not report its ABI version",
  ]);
  deepEqual(said([on("nobody_knows"), hca(1)]), [
    "ok 1 HCA has its provider library, with a fitting ABI",
    "unchecked provider libraries not checked: mlx5_0, driver nobody_knows is not in this plugin's table",
  ]);
  match(
    said([on("iavf", { uverbs: abi(9) })]).join(),
    /^problem .*ABI version 9 for mlx5_0.*irdma supports 0 to 5/,
  );
});

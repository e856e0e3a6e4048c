import { deepEqual, equal, match, ok } from "@std/assert";
import { readFileSync } from "node:fs";
import { notices, sbom } from "./notices.ts";
import { bundledPackages } from "./ship/packages.ts";

/** Licences that an Apache-2.0 program may carry along with a notice. */
const WELCOME = ["Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT"];

Deno.test("the notices name every package whose code is in the bundle, and each may be there", () => {
  const packages = bundledPackages();
  ok(packages.some((one) => one.name === "@grpc/grpc-js"), packages.map((one) => one.name).join());
  deepEqual(packages.filter((one) => !WELCOME.includes(one.licence)), []);
  const file = readFileSync(new URL("../THIRD_PARTY_NOTICES.txt", import.meta.url), "utf8");
  equal(file, notices(packages), "run deno task notices");
  match(file, /Permission is hereby granted, free of charge/);
  const { components } = sbom(packages) as { components: { name: string; purl: string; hashes?: unknown[] }[] };
  deepEqual(components.filter((one) => one.hashes?.length !== 1 || !one.purl.startsWith("pkg:npm/")), []);
  equal(components.length, packages.length);
});

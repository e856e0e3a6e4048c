/**
 * `deno task notices`: THIRD_PARTY_NOTICES.txt, the licences of everything whose code is in the bundle. With `--check` it
 * writes nothing and ends with status 1 when the file is out of date. `deno task sbom` prints the same packages as a
 * CycloneDX bill of materials.
 *
 * @module
 */
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { VERSION } from "../src/cli/version.ts";
import { type BundledPackage, bundledPackages } from "./ship/packages.ts";

const FILE = new URL("../THIRD_PARTY_NOTICES.txt", import.meta.url);

/** The notices as plain text. A licence that several packages ship word for word is there once. */
export function notices(packages: readonly BundledPackage[]): string {
  const list = packages.map(({ name, version, licence }) => `  ${`${name} ${version}`.padEnd(36)} ${licence}`);
  const texts = new Map<string, BundledPackage[]>();
  for (const one of packages) {
    const text = one.text?.replace(/[^\S\n]+$/gm, "") ?? `(${one.licence}; the package ships no text of it)`;
    texts.set(text, [...texts.get(text) ?? [], one]);
  }
  return [
    "Third-party notices of rdma-device-plugin; written by `deno task notices`.",
    "The program itself is Apache-2.0 (LICENSE). Its bundle contains code of these packages:",
    list.join("\n"),
    "The image also contains Deno (MIT) or, on ppc64le, Node.js (MIT and others), and Debian's packages of libibverbs,\n" +
    "its providers and the libraries that they need; each one's copyright file is in the image, in /usr/share/doc/.",
    ...[...texts].map(([text, users]) =>
      `${"-".repeat(80)}\n${users.map(({ name, version }) => `${name} ${version}`).join(", ")}\n\n${text}`
    ),
  ].join("\n\n") + "\n";
}

/** The same as CycloneDX 1.5. */
export function sbom(packages: readonly BundledPackage[]): unknown {
  return {
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    version: 1,
    metadata: { component: { type: "application", name: "rdma-device-plugin", version: VERSION } },
    components: packages.map(({ name, version, licence, integrity }) => ({
      type: "library",
      name,
      version,
      purl: `pkg:npm/${name.replace(/^@/, "%40")}@${version}`,
      licenses: [{ expression: licence }],
      ...integrity?.startsWith("sha512-")
        ? { hashes: [{ alg: "SHA-512", content: hex(integrity.slice("sha512-".length)) }] }
        : {},
    })),
  };
}

function hex(base64: string): string {
  return Uint8Array.fromBase64(base64).toHex();
}

if (import.meta.main) {
  const packages = bundledPackages();
  if (process.argv.includes("--sbom")) {
    process.stdout.write(`${JSON.stringify(sbom(packages), null, 2)}\n`);
  } else if (!process.argv.includes("--check")) {
    writeFileSync(FILE, notices(packages));
  } else if (readFileSync(FILE, "utf8") !== notices(packages)) {
    process.stderr.write("THIRD_PARTY_NOTICES.txt is out of date; run deno task notices\n");
    process.exit(1);
  }
}

/**
 * Writes `proto/` as JSON descriptors into `src/gen/`, which is what the program loads: a bundle holds them, reading them
 * takes a tenth of the time of parsing, and no file has to lie beside the program. Of the generated types, those of
 * messages are kept; types of clients and services are removed, as nothing uses them. Part of `deno task proto`.
 *
 * @module
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";

const PROTO = new URL("../proto/", import.meta.url);
const GEN = new URL("../src/gen/", import.meta.url);

/** The text of `src/gen/NAME.json` for every `proto/NAME.proto`. */
export function descriptors(): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const file of readdirSync(PROTO).filter((name) => name.endsWith(".proto")).toSorted()) {
    const root = new protobuf.Root().loadSync(fileURLToPath(new URL(file, PROTO)), { keepCase: true });
    root.resolveAll();
    found.set(file.replace(/\.proto$/, ".json"), `${JSON.stringify(root.toJSON(), null, 1)}\n`);
  }
  return found;
}

if (import.meta.main) {
  for (const [file, text] of descriptors()) writeFileSync(new URL(file, GEN), text);
  for (const file of readdirSync(GEN, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"))) {
    if (/grpc\.(Client|UntypedServiceImplementation)|ProtoGrpcType/.test(readFileSync(new URL(file, GEN), "utf8"))) {
      rmSync(new URL(file, GEN));
    }
  }
  process.stdout.write("src/gen/*.json written\n");
}

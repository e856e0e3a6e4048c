/**
 * Configuration files: good ones after edits, any YAML, any JSON, any bytes.
 *
 * @module
 */
import { deepEqual } from "@std/assert";
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { formatMistakes, loadConfig, parseConfig } from "../../../src/config/mod.ts";
import { select } from "../../../src/pool/select.ts";
import { checkCandidate, mutatedConfigs } from "../../support/mutated_config.ts";
import { hca } from "../../support/hcas.ts";
import { temporaryDir } from "../../support/temp.ts";
import { LONGEST_CASE, type Prepared, type Target } from "../target.ts";
import { must } from "../words.ts";

/** What lies where the file should be. */
type OnDisk =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | { readonly kind: "directory" | "loop" | "dangling" | "nothing" };

const onDisk: fc.Arbitrary<OnDisk> = fc.oneof(
  {
    weight: 9,
    arbitrary: fc.uint8Array({ maxLength: 300 }).map((bytes) => ({ kind: "bytes" as const, bytes })),
  },
  { weight: 1, arbitrary: fc.constantFrom("directory", "loop", "dangling", "nothing").map((kind) => ({ kind })) },
) as fc.Arbitrary<OnDisk>;

/** Any plain value as a file of that kind. */
const anyValue = fc.record({
  file: fc.constantFrom("c.yaml", "c.json"),
  text: fc.oneof(fc.json({ maxDepth: 4 }), fc.string({ unit: "binary", maxLength: 200 })),
});

const MACHINE = { hcas: [0, 1, 2].map((n) => hca(n)), inPodNetns: [] };

export const config: Target = {
  name: "config",
  promise:
    "every file comes to a sound configuration that selects, the same one each time, or to mistakes for people; " +
    "never to an exception, never slowly",
  kinds: ["accepted", "refused", "no file"],
  prepare(): Promise<Prepared> {
    const dir = temporaryDir();
    const path = join(dir.path, "c.yaml");
    const tally = { accepted: 0, refused: 0, "no file": 0 };
    const parse = (candidate: { readonly file: string; readonly text: string }) => {
      const accepted = checkCandidate(candidate);
      tally[accepted ? "accepted" : "refused"]++;
      if (!accepted) return;
      const first = parseConfig(candidate.text, candidate.file);
      deepEqual(first, parseConfig(candidate.text, candidate.file), "the same file, the same configuration");
      must(first.ok, "it was accepted before");
      const { pools, leftOut } = select(first.config.resources, MACHINE);
      must(pools.length === first.config.resources.length, "a pool a resource");
      // Every HCA is in each resource, or it is told why not.
      for (const { spec, members } of pools) {
        const out = leftOut.filter((one) => one.resource === spec.name).map((one) => one.hca);
        const names = [...members.flatMap((member) => member.hcas.map((one) => one.name)), ...out];
        deepEqual(names.sort(), MACHINE.hcas.map((one) => one.name).sort());
      }
    };
    const load = async (one: OnDisk) => {
      tally["no file"]++;
      rmSync(path, { recursive: true, force: true });
      if (one.kind === "bytes") writeFileSync(path, one.bytes);
      if (one.kind === "directory") mkdirSync(path);
      if (one.kind === "loop") symlinkSync("c.yaml", path);
      if (one.kind === "dangling") symlinkSync("nowhere", path);
      const result = await loadConfig(path);
      if (result.ok) return must(one.kind === "bytes", "nothing was accepted");
      must(result.mistakes.length > 0 && formatMistakes(result.mistakes).includes("c.yaml"), "the file is named");
    };
    return Promise.resolve({
      property: fc.asyncProperty(
        fc.oneof({ weight: 8, arbitrary: mutatedConfigs() }, { weight: 1, arbitrary: anyValue }, {
          weight: 1,
          arbitrary: onDisk,
        }),
        async (one) => {
          const start = performance.now();
          if ("kind" in one) await load(one);
          else parse(one);
          must(performance.now() - start < LONGEST_CASE, "a file may not hold up the plugin");
        },
      ),
      tally,
      [Symbol.asyncDispose]: () => Promise.resolve(dir[Symbol.dispose]()),
    });
  },
};

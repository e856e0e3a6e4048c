/**
 * The kubelet's checkpoint: good ones, edited ones, any JSON, any bytes.
 *
 * @module
 */
import { deepEqual } from "@std/assert";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { heldDevices, registeredResources } from "../../../src/kubelet/checkpoint.ts";
import { CHECKPOINT } from "../../../sim/kubelet/checkpoint.ts";
import { temporaryDir } from "../../support/temp.ts";
import type { Prepared, Target } from "../target.ts";
import { must } from "../words.ts";

const NAMES = ["rdma/a", "rdma/b", "tencent.com/rdma", "__proto__", "constructor", ""];
const IDS = ["mlx5_0", "mlx5_1", "0000:3b:00.2", "mlx5_0::3", "7", "", "__proto__", "\u001b[2J", "\u202e0_5xlm"];

/** One container's devices as a good checkpoint has them: by NUMA node, or as a plain list (before Kubernetes 1.20). */
const entry = fc.record({
  PodUID: fc.string(),
  ContainerName: fc.string(),
  ResourceName: fc.constantFrom(...NAMES),
  DeviceIDs: fc.oneof(
    fc.dictionary(fc.constantFrom("-1", "0", "1"), fc.array(fc.constantFrom(...IDS), { maxLength: 3 })),
    fc.array(fc.constantFrom(...IDS), { maxLength: 3 }),
    fc.constant(null),
  ),
  AllocResp: fc.string(),
});

const good = fc.record({
  entries: fc.array(entry, { maxLength: 5 }),
  registered: fc.uniqueArray(fc.constantFrom(...NAMES), { maxLength: 4 }),
});

/** What somebody else's JSON has where the kubelet has something. */
const odd = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom<unknown>("mlx5_0", 7, true, null, [], {}, [["a"]], { "0": "mlx5_0" }, { "0": { a: ["b"] } }, [null]),
);

/** A good checkpoint in which one value is another one. */
const edited = fc.tuple(good, fc.array(fc.nat(9), { maxLength: 5 }), odd).map(([one, steps, value]) => {
  const file = { Data: { PodDeviceEntries: one.entries, RegisteredDevices: { "rdma/a": ["x"] } }, Checksum: 1 };
  const edit = (node: unknown, at: number): unknown => {
    if (at === steps.length || typeof node !== "object" || node === null) return value;
    const keys = Object.keys(node);
    if (keys.length === 0) return value;
    const key = keys[steps[at]! % keys.length]!;
    const copy: Record<string, unknown> = Array.isArray(node) ? [...node] as never : { ...node };
    copy[key] = edit(copy[key], at + 1);
    return copy;
  };
  return JSON.stringify(edit(file, 0)) ?? "null";
});

interface Good {
  readonly entries: readonly { readonly ResourceName: string; readonly DeviceIDs: unknown }[];
  readonly registered: readonly string[];
}

/** What a good checkpoint says, by the kubelet's own rules. */
function meant({ entries }: Good): [string, string[]][] {
  const held = new Map<string, Set<string>>();
  for (const { ResourceName, DeviceIDs } of entries) {
    const ids = held.get(ResourceName) ?? new Set<string>();
    held.set(ResourceName, ids);
    const lists = Array.isArray(DeviceIDs) ? [DeviceIDs] : Object.values(DeviceIDs ?? {});
    for (const list of lists as string[][]) for (const id of list) ids.add(id);
  }
  return [...held].map(([name, ids]) => [name, [...ids].sort()]);
}

export const checkpoint: Target = {
  name: "checkpoint",
  promise:
    "a good checkpoint is read as it was meant; of any other file only whole device IDs in their place are taken, " +
    "and nothing of it ever throws",
  kinds: ["good", "edited", "any", "taken"],
  prepare(): Promise<Prepared> {
    const dir = temporaryDir();
    const file = join(dir.path, CHECKPOINT);
    const tally = { good: 0, edited: 0, any: 0, taken: 0 };
    const read = () => ({
      held: [...heldDevices(dir.path) ?? []].map(([name, ids]): [string, string[]] => [name, [...ids].sort()]),
      registered: [...registeredResources(dir.path)].sort(),
    });
    const strangers = (text: string) => {
      const { held, registered } = read();
      for (const [name, ids] of held) {
        // A piece of a longer word is no device ID: every one is a string of the file, and so is its resource.
        for (const one of [name, ...ids]) {
          must(text.includes(JSON.stringify(one)), `${JSON.stringify(one)} is in the file`);
        }
        tally.taken += ids.length;
      }
      for (const name of registered) {
        must(text.includes(JSON.stringify(name)), `${JSON.stringify(name)} is in the file`);
      }
    };
    const cases = fc.oneof(
      good.map((value) => ({ kind: "good" as const, value })),
      edited.map((text) => ({ kind: "edited" as const, text })),
      fc.json().map((text) => ({ kind: "any" as const, text })),
      fc.uint8Array({ maxLength: 100 }).map((text) => ({ kind: "any" as const, text })),
      fc.constant({ kind: "any" as const, text: null }),
    );
    return Promise.resolve({
      property: fc.property(cases, (one) => {
        tally[one.kind]++;
        rmSync(file, { recursive: true, force: true });
        if (one.kind === "good") {
          const RegisteredDevices = Object.fromEntries(one.value.registered.map((name) => [name, ["x"]]));
          const data = { PodDeviceEntries: one.value.entries, RegisteredDevices };
          writeFileSync(file, JSON.stringify({ Data: data, Checksum: 1 }));
          deepEqual(read(), { held: meant(one.value), registered: one.value.registered.toSorted() });
          return;
        }
        if (one.text === null) mkdirSync(file); // a directory in the file's place
        else writeFileSync(file, one.text);
        if (typeof one.text === "string") strangers(JSON.stringify(JSON.parse(one.text)));
        else deepEqual(read().held, []);
      }),
      tally,
      [Symbol.asyncDispose]: () => Promise.resolve(dir[Symbol.dispose]()),
    });
  },
};

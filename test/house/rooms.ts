/**
 * Which folder may import which. docs/architecture.md says why; {@link forbidden} says it of two files.
 *
 * @module
 */
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { ROOT } from "../support/root.ts";

/** Top to bottom; imports run downwards only, and rooms of one floor do not import each other. */
export const FLOORS: readonly (readonly string[])[] = [
  ["mod.ts"],
  ["src/cli"],
  ["src/observe", "src/doctor", "src/fleet", "src/report"],
  ["src/agent"],
  ["src/device_plugin", "src/dra"],
  ["src/kubelet", "src/kubernetes"],
  ["src/config"],
  ["src/pool"],
  ["src/hca"],
  ["src/text"],
];

/** One import of one file of this repository by another. */
export interface Arrow {
  readonly from: string;
  readonly to: string;
}

/** Every TypeScript file of the repository, by its path from the root. */
export function files(): readonly string[] {
  return globSync("{mod.ts,{src,sim,test,bench,tools}/**/*.ts}", { cwd: ROOT }).filter((file) =>
    !file.startsWith("src/gen/") && !file.includes("node_modules/")
  );
}

/** Every relative import of those files, static or not. */
export function arrows(): readonly Arrow[] {
  return files().flatMap((from) => {
    const text = readFileSync(join(ROOT, from), "utf8");
    return [...text.matchAll(/\b(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)]
      .map(([, specifier = ""]) => posix.join(dirname(from), specifier))
      .filter((to) => existsSync(join(ROOT, to)))
      .map((to) => ({ from, to }));
  });
}

/** The first two parts of the path under src; elsewhere the first, but test/support is a room of its own. */
export function roomOf(file: string): string {
  const [top = "", second = "", ...rest] = file.split("/");
  if (rest.length === 0 && top !== "test") return second === "" ? file : top === "src" ? file : top;
  return top === "src" || (top === "test" && second === "support") ? `${top}/${second}` : top;
}

/** Why one file must not import another; null when it may. */
export function forbidden({ from, to }: Arrow): string | null {
  const [a, b] = [roomOf(from), roomOf(to)];
  if (a === b || b === "deno.json" || b === "src/gen") return null;
  const floorOf = (room: string) => FLOORS.findIndex((rooms) => rooms.includes(room));
  const [high, low] = [floorOf(a), floorOf(b)];
  if (high >= 0 && low < 0) return `${a} imports nothing outside src`;
  if (high >= 0 && low < high) return "imports run downwards only";
  if (high >= 0 && low === high) return "rooms of one floor do not import each other";
  if (a === "sim") return low >= 0 ? null : "sim imports src only";
  if (a === "test/support") return low >= 0 || b === "sim" ? null : "test/support imports src and sim only";
  if (["test", "bench", "tools"].includes(a) && ["test", "bench", "tools"].includes(b)) {
    return `what ${a} and ${b} share goes to test/support`;
  }
  return null;
}

/**
 * The tables of docs/reliability.md, made of the tests that prove them. A promise
 * without a test cannot get in there, and a test that is renamed takes its row along.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { ROOT } from "../support/root.ts";
import { CONNECTIONS } from "./connections.ts";
import { DIRECTORY } from "./directory.ts";
import type { Fault } from "./fault.ts";
import { KUBELET } from "./kubelet.ts";
import { LIMITS } from "./limits.ts";
import { ROLLING } from "./rolling.ts";
import { STARTUP } from "./startup.ts";
import { STORAGE } from "./storage.ts";
import { TIME } from "./time.ts";
import { REQUESTS } from "./requests.ts";
import { WIRE } from "./wire.ts";
import { TARGETS } from "../fuzz/catalogue.ts";
import { OTHERS, type Proof } from "./others.ts";

/** The fault suite's parts: each row is a test of that name. */
const FAULTS: readonly { readonly title: string; readonly file: string; readonly faults: readonly Fault[] }[] = [
  { title: "Killed at start-up", file: "test/faults/startup.ts", faults: STARTUP },
  { title: "The kubelet", file: "test/faults/kubelet.ts", faults: KUBELET },
  { title: "Connections", file: "test/faults/connections.ts", faults: CONNECTIONS },
  { title: "Several plugins for one resource", file: "test/faults/rolling.ts", faults: ROLLING },
  { title: "The kubelet's directory", file: "test/faults/directory.ts", faults: DIRECTORY },
  { title: "Bytes on the socket", file: "test/faults/wire.ts", faults: WIRE },
  { title: "Requests", file: "test/faults/requests.ts", faults: REQUESTS },
  { title: "Disks", file: "test/faults/storage.ts", faults: STORAGE },
  { title: "Limits of the process", file: "test/faults/limits.ts", faults: LIMITS },
  { title: "Time", file: "test/faults/time.ts", faults: TIME },
];

/** Names that stand in the docs although the file has no such test. */
export function unproven(proofs: readonly Proof[] = OTHERS.flatMap((part) => part.proofs)): readonly string[] {
  return proofs.filter(({ file, test }) => !readFileSync(`${ROOT}${file}`, "utf8").includes(test))
    .map(({ file, test }) => `${file} has no test "${test}"`);
}

/** All tables, in Markdown that is not yet formatted. */
export function reliabilityTables(): string {
  return [
    ...FAULTS.map(({ title, file, faults }) =>
      table(`${title} (${file})`, ["what is done", "what is promised", "test"], faults.map(rowOf))
    ),
    table(
      "Hostile input (test/fuzz/fuzz_test.ts, `deno task fuzz`)",
      ["what comes in", "what is promised"],
      TARGETS.map(({ name, promise }) => [name, promise]),
    ),
    ...OTHERS.map(({ title, proofs }) =>
      table(
        title,
        ["what is done", "what is promised", "test"],
        proofs.map(({ injected, promise, test, file }) => [injected, promise, `${file}: ${test}`]),
      )
    ),
  ].join("\n");
}

function rowOf({ name, injected, promise }: Fault): readonly string[] {
  return [injected, promise, name];
}

function table(title: string, head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |\n`;
  return `### ${title}\n\n${line(head)}${line(head.map(() => "---"))}${rows.map(line).join("")}`;
}

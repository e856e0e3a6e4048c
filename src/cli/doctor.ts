/**
 * `doctor`: checks the requirements of a working setup and prints fixes. Changes nothing.
 *
 * @module
 */
import process from "node:process";
import { examine } from "../doctor/checks.ts";
import { gatherFacts } from "../doctor/facts.ts";
import { type Finding, type Severity } from "../doctor/finding.ts";
import { counted } from "../text/counted.ts";
import { print } from "../text/print.ts";
import { type Painter, painter, wrap } from "../text/table.ts";
import type { Values } from "./flags.ts";
import { places, wanted } from "./machine.ts";
import { draSettings } from "./dra.ts";
import { reportsWanted } from "./reports.ts";
import { claimsModule, Inspector } from "./inspector.ts";

/** Returns status 0 without problems (warnings are allowed), otherwise 1. */
export async function doctorCommand(values: Values): Promise<number> {
  const { specs, warnings } = await wanted(values);
  const dra = await claimsModule(values, specs);
  using inspector = new Inspector(values, specs, dra);
  const inventory = await inspector.scan("full");
  const draFacts = dra === null
    ? null
    : await (await import("../doctor/dra_facts.ts")).readDra(draSettings(values), inventory);
  const reported = reportsWanted(values);
  const reports = reported === null ? null : await (await import("../doctor/report_facts.ts")).readReports(reported);
  const findings = examine({ ...await gatherFacts(places(values), inventory, warnings), dra: draFacts, reports });
  print(values.json ? `${JSON.stringify(findings)}\n` : report(findings, painter(process.stdout, process.env)));
  return findings.some((one) => one.severity === "problem") ? 1 : 0;
}

const MARKS = {
  problem: ["red", "PROBLEM"],
  warning: ["yellow", "WARNING"],
  unchecked: ["dim", "skipped"],
  ok: ["green", "ok"],
} as const;

/** Formats findings with at most 80 columns; the last line has the totals. */
export function report(findings: readonly Finding[], paint: Painter): string {
  const lines = findings.flatMap(({ id, severity, what, reason, fix }) => {
    const [style, mark] = MARKS[severity];
    const [first = "", ...rest] = wrap(what, 70, "");
    const head = [`${paint(style, mark.padEnd(8))} ${first}`, ...rest.map((line) => `         ${line}`)];
    if (severity === "ok" || severity === "unchecked") return head;
    const body = [...wrap(`reason: ${reason}`, 80, "         "), ...wrap(`fix: ${fix}`, 80, "         ")];
    return [...head, ...body, `         see: docs/troubleshooting.md#${id}`];
  });
  const total = (severity: Severity) => findings.filter((one) => one.severity === severity).length;
  const left = total("unchecked") === 0 ? "" : `, ${total("unchecked")} not checked`;
  const sum = `${counted(total("problem"), "problem")}, ${counted(total("warning"), "warning")}, ${
    total("ok")
  } ok${left}`;
  return `${[...lines, "", sum].join("\n")}\n`;
}

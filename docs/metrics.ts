/**
 * Writes the table of metrics into docs/metrics.md, between its two marks: `deno run -A docs/metrics.ts && deno fmt docs/metrics.md`.
 *
 * @module
 */
import { readFileSync, writeFileSync } from "node:fs";
import { metricsTable } from "../src/observe/metrics_table.ts";

const path = new URL("./metrics.md", import.meta.url);
const marks = /(<!-- metrics: begin[^>]*-->\n)[\s\S]*(\n<!-- metrics: end -->)/;
writeFileSync(
  path,
  readFileSync(path, "utf8").replace(marks, (_, begin, end) => `${begin}\n${metricsTable()}\n${end}`),
);

/**
 * Checks of a Helm chart's own files: Chart.yaml, and the default values against the chart's JSON Schema.
 *
 * @module
 */
import { Ajv } from "ajv";
import { readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { parse } from "yaml";
import * as z from "zod";

/** The fields that this project's chart uses; Helm ignores a misspelt one. */
const CHART = z.strictObject({
  apiVersion: z.literal("v2"),
  name: z.string(),
  description: z.string(),
  type: z.literal("application"),
  version: z.string(),
  appVersion: z.string(),
  kubeVersion: z.string(),
  keywords: z.array(z.string()),
});

/** What is wrong with Chart.yaml or values.yaml at that path. */
export function chartMistakes(path: string, text: string): readonly string[] {
  const value: unknown = parse(text);
  return basename(path) === "Chart.yaml" ? ofChart(value) : valuesMistakes(dirname(path), value);
}

function ofChart(value: unknown): readonly string[] {
  const result = CHART.safeParse(value);
  return result.success ? [] : result.error.issues.map((one) => `/${one.path.join("/")}: ${one.message}`);
}

/** What is wrong with values for the chart in that directory, as Helm would say before it renders. */
export function valuesMistakes(chart: string, values: unknown): readonly string[] {
  const schema = JSON.parse(readFileSync(join(chart, "values.schema.json"), "utf8")) as Record<string, unknown>;
  // strict: a keyword that JSON Schema does not know is a mistake in the schema.
  const ajv = new Ajv({ allErrors: true, strict: true, allowUnionTypes: true });
  if (ajv.validate(schema, values)) return [];
  return (ajv.errors ?? []).map((one) => `${one.instancePath}: ${one.message} ${JSON.stringify(one.params)}`);
}

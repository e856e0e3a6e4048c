/**
 * Generates the JSON Schema for editors and the reference tables of docs/configuration.md from the schema.
 *
 * @module
 */
import * as z from "zod";
import { takes } from "./parts.ts";
import { ConfigFile, SECTIONS } from "./schema.ts";

/** The plugin's own format as JSON Schema 2020-12; indented, with a final newline. */
export function jsonSchema(): string {
  const schema = z.toJSONSchema(ConfigFile, {
    io: "input",
    override: ({ jsonSchema }) => {
      // "default: {}" is not useful; the defaults are inside.
      if (isEmptyObject(jsonSchema.default)) delete jsonSchema.default;
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
    },
  });
  const title = "Configuration of the RDMA device plugin";
  return `${JSON.stringify({ ...schema, title }, null, 2)}\n`;
}

function isEmptyObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && Object.keys(value).length === 0;
}

/** One table per mapping of the format. */
export function referenceTables(): string {
  return SECTIONS.map(([where, schema]) => {
    const title = where === "" ? "Top level" : where.split(", ").map((path) => `\`${path}\``).join(" and ");
    const rows = Object.entries(schema.shape as Record<string, z.ZodType>).map(([key, one]) => row(key, one));
    return `### ${title}\n\n${table([["Key", "Takes", "Default", "Meaning"], ...rows])}\n`;
  }).join("\n");
}

/** A Markdown table; `deno fmt` aligns it. The first row is the head. */
function table(rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const [head = [], ...body] = rows;
  return [line(head), line(head.map(() => "---")), ...body.map(line)].join("\n");
}

function row(key: string, schema: z.ZodType): readonly string[] {
  const cells = [`\`${key}\``, taken(schema), defaultText(schema), schema.description ?? ""];
  return cells.map((cell) => cell.replaceAll("|", "\\|").replaceAll(/(?<!`)\*(?!`)/g, "\\*"));
}

/** The values that the key accepts; for a list of simple values, those of its items. */
function taken(schema: z.ZodType): string {
  const list = schema instanceof z.ZodOptional ? schema.unwrap() : schema;
  const item = list instanceof z.ZodArray ? list.element as z.ZodType : null;
  const simple = item instanceof z.ZodString || item instanceof z.ZodNumber;
  return simple ? `${takes(schema)}; each ${takes(item)}` : takes(schema);
}

function defaultText(schema: z.ZodType): string {
  if (schema instanceof z.ZodDefault) return `\`${schema.def.defaultValue}\``;
  return schema.isOptional() ? "" : "needed";
}

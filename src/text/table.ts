/**
 * Text tables for terminals and files.
 *
 * @module
 */
import { styleText } from "@std/cli";

/** A style name of `node:util`'s styleText. */
export type Style = "green" | "red" | "yellow" | "dim" | "bold";

/** Applies a style to a text, or returns it unchanged. */
export type Painter = (style: Style, words: string) => string;

/** Colours on a terminal unless NO_COLOR is set; plain text elsewhere. */
export function painter(
  stream: { readonly isTTY?: boolean },
  env: Readonly<Record<string, string | undefined>>,
): Painter {
  const colour = stream.isTTY === true && !env.NO_COLOR && env.TERM !== "dumb";
  return (style, words) => colour ? styleText(style, words, { validateStream: false }) : words;
}

/**
 * Aligns rows under a header; each column is as wide as its widest cell.
 *
 * @param paint styles a padded cell; row -1 is the header
 */
export function table(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  paint: (row: number, column: number, cell: string) => string = (_row, _column, cell) => cell,
): readonly string[] {
  const widths = header.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[], row: number) =>
    cells.map((cell, i) => paint(row, i, i === cells.length - 1 ? cell : cell.padEnd(widths[i]!))).join("  ").trimEnd();
  return [line(header, -1), ...rows.map(line)];
}

/** Wraps a sentence at `width` columns and indents every line with `indent`. */
export function wrap(words: string, width: number, indent: string): readonly string[] {
  const lines: string[] = [];
  let line = indent;
  for (const word of words.split(" ")) {
    if (line.trim() !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = indent;
    }
    line += line.trim() === "" ? word : ` ${word}`;
  }
  return [...lines, line];
}

/**
 * What a terminal shows, as an SVG picture: text with styles as `node:util`'s styleText writes them.
 *
 * @module
 */

const CHARACTER = { width: 8.4, height: 19, size: 14 };
const MARGIN = 18;
/** SGR numbers of the styles that src/text/table.ts knows, on a dark ground. */
const FILLS: Readonly<Record<string, string>> = { 31: "#ff7b72", 32: "#7ee787", 33: "#e3b341", 2: "#8b949e" };

/** The picture of a prompt with a command and what it printed. */
export function terminalPicture(command: string, output: string): string {
  const lines = [`$ ${command}`, ...output.trimEnd().split("\n")];
  // deno-lint-ignore no-control-regex
  const bare = (line: string) => line.replace(/\x1b\[\d*m/g, "");
  const width = Math.ceil(Math.max(...lines.map((line) => bare(line).length)) * CHARACTER.width) + 2 * MARGIN;
  const height = lines.length * CHARACTER.height + 2 * MARGIN;
  const rows = lines.map((line, i) =>
    `<text x="${MARGIN}" y="${MARGIN + CHARACTER.size + i * CHARACTER.height}" xml:space="preserve">${
      styled(line)
    }</text>`
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" role="img" aria-label="${
    escaped(command)
  }"><rect width="100%" height="100%" rx="8" fill="#0d1117"/><g fill="#e6edf3" font-size="${CHARACTER.size}" ` +
    `font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace">\n${
      rows.join("\n")
    }\n</g></svg>\n`;
}

function styled(line: string): string {
  // deno-lint-ignore no-control-regex
  return line.split(/(?=\x1b\[)/).map((part) => {
    // deno-lint-ignore no-control-regex
    const [, style = "", words = part] = /^\x1b\[(\d*)m([^]*)$/.exec(part) ?? [];
    if (style === "1") return `<tspan font-weight="bold">${escaped(words)}</tspan>`;
    return FILLS[style] === undefined ? escaped(words) : `<tspan fill="${FILLS[style]}">${escaped(words)}</tspan>`;
  }).join("");
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}

/**
 * What is right for words that people read and for values that travel into tables, logs and variables.
 *
 * @module
 */

/** C0, C1, line separators, and what turns the reading direction around; said by number, not as the code says it. */
// deno-lint-ignore no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/;

/** Throws with a sentence unless the condition holds. */
export function must(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

/**
 * A sentence for people: there, on one line, of bounded length, nothing that steers a terminal, and no debris of a
 * program. What stands in quotes is a stranger's and may be any word.
 */
export function sentence(text: string, what: string, longest = 1_000): void {
  must(text.trim() !== "", `${what} is empty`);
  must(text.length <= longest, `${what} has ${text.length} characters: ${JSON.stringify(text.slice(0, 200))}…`);
  must(!CONTROL.test(text), `${what} steers the terminal or has several lines: ${JSON.stringify(text)}`);
  const own = text.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""');
  must(!/\bundefined\b|\[object |\bNaN\b|\bat \S+ \(|node_modules/.test(own), `${what} is not for people: ${text}`);
}

/** Every string in a value is short and without control characters, every number is finite. */
export function clean(value: unknown, path = "value"): void {
  if (typeof value === "string") {
    must(!CONTROL.test(value), `${path} has control characters: ${JSON.stringify(value)}`);
    must(value.length <= 4_096, `${path} has ${value.length} characters`);
  } else if (typeof value === "number") {
    must(Number.isFinite(value), `${path} is ${value}`);
  } else if (typeof value === "object" && value !== null) {
    for (const [key, inner] of Object.entries(value)) clean(inner, `${path}.${key}`);
  }
}

/**
 * Escapes untrusted input before it is printed in logs, tables and variables. Names of net devices and directory
 * entries, configs and requests can contain terminal control sequences.
 *
 * @module
 */

/**
 * Characters that move the cursor, start a line or change the text direction, by Unicode general category: control (C0
 * and C1), format (bidirectional overrides, zero width), line and paragraph separators. Also U+FFFD, which a decoder
 * returns for invalid bytes.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\ufffd]/gu;

/** Replaces each such character by a question mark. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, "?");
}

/** Removes such characters. */
export function withoutUnprintable(text: string): string {
  return text.replace(UNPRINTABLE, "");
}

/** Escapes each such character except the newline as `\u2028`; JSON keeps its meaning. */
export function escapeUnprintable(text: string): string {
  return text.replace(
    UNPRINTABLE,
    (one) =>
      one === "\n"
        ? one
        : Array.from({ length: one.length }, (_, i) => `\\u${one.charCodeAt(i).toString(16).padStart(4, "0")}`).join(
          "",
        ),
  );
}

/** Quotes a text, with control characters escaped, and truncates it after 60 characters. */
export function quote(text: string): string {
  const whole = [...text.slice(0, 122)];
  return JSON.stringify(whole.length > 60 ? whole.slice(0, 60).join("") + "…" : text);
}

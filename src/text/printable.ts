/**
 * Words of strangers as they may stand in logs, tables and variables. Whoever makes a net device, a directory entry, a
 * config or a request chooses its words, and the person who reads about it sits at a terminal.
 *
 * @module
 */

/**
 * What moves the cursor, begins a line or turns the reading direction around, by Unicode's general categories: control
 * (C0 and C1), format (bidirectional overrides, zero width), line and paragraph separators. Also U+FFFD, which is what
 * a decoder makes of bytes that are no text.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\ufffd]/gu;

/** Each such character as a question mark: it is to be seen that something stood there. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, "?");
}

/** Without such characters. */
export function withoutUnprintable(text: string): string {
  return text.replace(UNPRINTABLE, "");
}

/** Each such character but the newline as `\u2028`, which keeps JSON what it was. */
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

/** In quotes, control characters escaped, cut after 60 characters. */
export function quote(text: string): string {
  const whole = [...text.slice(0, 122)];
  return JSON.stringify(whole.length > 60 ? whole.slice(0, 60).join("") + "…" : text);
}

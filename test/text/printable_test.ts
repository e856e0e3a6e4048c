import { equal, match, ok } from "@std/assert";
import { escapeUnprintable, printable, withoutUnprintable } from "../../src/text/printable.ts";
import { resetSync } from "@std/log";
import { type Format, openLog } from "../../src/text/log.ts";

/** Clears the screen, in C0 and in C1; begins a line; turns the reading direction around; hides; is no text. */
const HOSTILE = [
  "\u001b[2J",
  "\u009b2J",
  "\r",
  "\u2028",
  "\u2029",
  "\u202e",
  "\u2066",
  "\u200b",
  "\ufeff",
  "\u{e0001}",
  "\ufffd",
];

Deno.test("printable() leaves words of every script alone, and shows where something else stood", () => {
  for (const word of ["mlx5_0", "eth1.100@bond0", "ströme", "網卡", "💥", "ἀ\u0301"]) equal(printable(word), word);
  for (const word of HOSTILE) match(printable(`a${word}b`), /^a\?(\[2J|2J)?b$/);
  for (const word of HOSTILE) match(withoutUnprintable(`a${word}b`), /^a(\[2J|2J)?b$/);
});

Deno.test("escapeUnprintable() keeps newlines, and JSON what it was", () => {
  equal(escapeUnprintable("a\nb\u2028c\u{e0001}"), "a\nb\\u2028c\\udb40\\udc01");
  for (const word of HOSTILE) equal(JSON.parse(escapeUnprintable(JSON.stringify(word))), word);
});

/** The lines that one event makes. */
function logged(format: Format, message: string, fields: Record<string, string>): string {
  let lines = "";
  const log = openLog("info", format, (line) => lines += line);
  try {
    log.info(message, fields);
  } finally {
    resetSync();
  }
  return lines;
}

Deno.test("whatever reaches the log, it stays one event and steers no terminal", () => {
  for (const word of HOSTILE) {
    for (const format of ["text", "json"] as const) {
      const line = logged(format, `net device a${word}b is gone`, { netdev: `x${word}y` });
      ok(!/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(line.slice(0, -1)), JSON.stringify(line));
      match(line, /net device a.*b is gone.*netdev.*x.*y/);
      equal(line.at(-1), "\n");
    }
  }
  const { message, netdev } = JSON.parse(logged("json", "a\u2028b", { netdev: "\u009b" }));
  equal([message, netdev].join(), "a\u2028b,\u009b");
});

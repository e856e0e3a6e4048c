/**
 * Building blocks of the schemas. Each describes its values in one phrase, which is the `error` of its zod schema, so
 * that a mistake ("found X, expected PHRASE") and the reference table use the same words.
 *
 * @module
 */
import * as z from "zod";
import type { MistakeCode } from "./mistake_codes.ts";
import { DURATION, durationText, parseDuration } from "../text/duration.ts";

/** Longer lists are a bug of whatever generated them. */
const LONGEST_LIST = 1_024;

/** Text that matches the pattern; `phrase` describes it. */
export function text(pattern: RegExp, phrase: string) {
  return z.string({ error: phrase }).regex(pattern, { error: phrase });
}

/** A list with at least one item. An empty list would match nothing, which is never intended. */
export function list<T extends z.ZodType>(item: T, phrase: string) {
  return z.array(item, { error: phrase })
    .min(1, { error: `${phrase}, with at least one entry` })
    .max(LONGEST_LIST, { error: `one of at most ${LONGEST_LIST} entries` });
}

/** A mapping with only these keys. The issue for an unknown key has the known keys as its message. */
export function object<Shape extends z.ZodRawShape>(shape: Shape, phrase: string) {
  return z.strictObject(shape, {
    error: (issue) => issue.code === "unrecognized_keys" ? Object.keys(shape).join(",") : phrase,
  });
}

/** One of the words. */
export function word<const Words extends readonly [string, ...string[]]>(words: Words) {
  return z.enum(words, { error: words.length === 1 ? quoted(words) : `one of ${quoted(words)}` });
}

export function flag() {
  return z.boolean({ error: "true or false" });
}

/** A whole number in a range. */
export function whole(least: number, most: number) {
  const phrase = `a whole number from ${least.toLocaleString("en")} to ${most.toLocaleString("en")}`;
  return z.int({ error: phrase }).min(least, { error: phrase }).max(most, { error: phrase });
}

/** "500ms", "30s", "5m", "1h" or seconds; milliseconds after `parseDuration`. */
export function duration(leastMs: number, mostMs: number) {
  const phrase =
    `a duration from ${durationText(leastMs)} to ${durationText(mostMs)}, such as "500ms", "30s", "5m", or a ` +
    "number of seconds";
  return z.union([z.string().regex(DURATION, { error: phrase }), z.number().min(0, { error: phrase })], {
    error: phrase,
  })
    .refine((value) => {
      const ms = parseDuration(value);
      return ms !== null && ms >= leastMs && ms <= mostMs;
    }, { error: phrase, params: { code: "out-of-range", phrase: true } });
}

/** One of two schemas. */
export function either<A extends z.ZodType, B extends z.ZodType>(a: A, b: B, phrase: string) {
  return z.union([a, b], { error: phrase });
}

/** Adds a mistake that a schema cannot express, with its code. */
export function refuse(context: z.core.$RefinementCtx<string>, code: MistakeCode, message: string): void {
  context.addIssue({ code: "custom", message, params: { code } });
}

function quoted(words: readonly string[]): string {
  return words.join(", ");
}

/** The phrase of the schema, taken from its error for a value that nothing accepts. */
export function takes(schema: z.ZodType): string {
  return schema.safeParse(Symbol("never")).error?.issues[0]?.message ?? "anything";
}

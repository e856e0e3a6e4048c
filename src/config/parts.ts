/**
 * The pieces that the schemas are made of. Each says in one phrase what it takes; the phrase is the `error` of its zod
 * schema, so that a mistake ("found X, expected PHRASE") and the reference table use the same words.
 *
 * @module
 */
import * as z from "zod";
import { DURATION, durationText, parseDuration } from "./duration.ts";

/** Lists longer than this are a mistake of whatever generated them. */
const LONGEST_LIST = 1_024;

/** Text that matches; `phrase` says what it takes. */
export function text(pattern: RegExp, phrase: string) {
  return z.string({ error: phrase }).regex(pattern, { error: phrase });
}

/** A list with at least one item. An empty list would hold for nothing, which nobody means. */
export function list<T extends z.ZodType>(item: T, phrase: string) {
  return z.array(item, { error: phrase })
    .min(1, { error: `${phrase}, with at least one entry` })
    .max(LONGEST_LIST, { error: `one of at most ${LONGEST_LIST} entries` });
}

/** A mapping in which only these keys may stand. An unknown key's issue carries the known ones as its message. */
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
    }, { error: phrase, params: { phrase: true } });
}

/** Either of two shapes. */
export function either<A extends z.ZodType, B extends z.ZodType>(a: A, b: B, phrase: string) {
  return z.union([a, b], { error: phrase });
}

function quoted(words: readonly string[]): string {
  return words.join(", ");
}

/** What the schema takes, in its own words: what it answers to something that nothing can take. */
export function takes(schema: z.ZodType): string {
  return schema.safeParse(Symbol("never")).error?.issues[0]?.message ?? "anything";
}

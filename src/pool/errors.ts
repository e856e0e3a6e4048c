/**
 * Errors in the counters: which rule is exceeded, from what was read and when. Pure: a step takes what is known of each
 * counter, the newest readings and the time, and gives what is known now.
 *
 * A rule is exceeded when its counter went up by the limit or more within the window. It is so until a whole window has
 * passed since the last error with which the limit was reached: a burst does not come and go with the edge of the
 * window, and errors that stay below the limit do not hold a device back for ever.
 *
 * @module
 */
import { durationText } from "../text/duration.ts";
import type { ErrorRule } from "./spec.ts";

/** One counter as it was read. */
export interface CounterValue {
  readonly counter: string;
  /** null for the whole HCA. */
  readonly port: number | null;
  /** Where it is: the same name can be in `counters` and in `hw_counters`. */
  readonly group: string;
  readonly value: bigint;
}

/** The counters of an HCA that answered. */
export interface HcaValues {
  readonly hca: string;
  /** Tells adapters apart that have the same name one after the other. */
  readonly identity: string;
  readonly values: readonly CounterValue[];
}

/** What is known of one counter under one rule. */
export interface WatchedCounter {
  readonly rule: ErrorRule;
  readonly hca: string;
  readonly identity: string;
  readonly port: number | null;
  readonly group: string;
  /** As last read, and when (ms). */
  readonly value: bigint;
  readonly readAt: number;
  /** Errors by slot of time, oldest first; slots without errors are left out. */
  readonly slots: readonly { readonly slot: number; readonly errors: number }[];
  /** Errors in the window that ends with the last step. */
  readonly count: number;
  /** Null while the rule holds. `count`: the errors in the window when it was exceeded; `at`: the last error (ms). */
  readonly exceeded: { readonly count: number; readonly at: number } | null;
}

/** What is known of all counters; the key is of no meaning outside. */
export type ErrorHistory = ReadonlyMap<string, WatchedCounter>;

/** The rules that each HCA has to meet, by its name. */
export type RulesByHca = ReadonlyMap<string, readonly ErrorRule[]>;

/** Parts of a window. Memory for a counter is bounded by them, and a window is as long as the rule says but for one. */
const SLOTS = 60;

/** A driver that has no value for a counter may give this. */
const ALL_ONES = 2n ** 64n - 1n;

/**
 * What is known after a reading.
 *
 * @param answers the HCAs that answered; of the others nothing new is known, and what they exceeded stays so
 * @param now milliseconds of a monotonic clock
 */
export function observe(
  before: ErrorHistory,
  rules: RulesByHca,
  answers: readonly HcaValues[],
  now: number,
): ErrorHistory {
  const next = new Map<string, WatchedCounter>();
  const answered = new Set<string>();
  for (const { hca, identity, values } of answers) {
    answered.add(hca);
    for (const rule of rules.get(hca) ?? []) {
      for (const { counter, port, group, value } of values) {
        if (counter !== rule.counter || value === ALL_ONES) continue;
        const key = [hca, port ?? "", group, ruleKey(rule)].join(" ");
        const was = before.get(key);
        const first = { rule, hca, identity, port, group, value, readAt: now, slots: [], count: 0, exceeded: null };
        next.set(key, was?.identity === identity ? step(was, value, now) : first);
      }
    }
  }
  for (const [key, was] of before) {
    if (next.has(key)) continue;
    const wanted = rules.get(was.hca)?.some((rule) => ruleKey(rule) === ruleKey(was.rule)) ?? false;
    const hangs = wanted && !answered.has(was.hca);
    // A counter or an HCA that is gone is forgotten after a window, as errors are: a driver may be loaded again.
    const kept = hangs ? was : age(was, now);
    if (hangs || kept.exceeded !== null || now - kept.readAt < kept.rule.windowMs) next.set(key, kept);
  }
  return next;
}

/** Errors between two readings: a counter that went down was reset, or has wrapped at 32 or 64 bits. */
export function increase(before: bigint, now: bigint): number {
  if (now >= before) return toNumber(now - before);
  for (const bits of [32n, 64n]) {
    const end = 2n ** bits;
    // Close to its end and then close to its start: a counter that was reset by chance at such a value is rare.
    if (before < end && before >= end - end / 16n && now < end / 16n) return toNumber(end - before + now);
  }
  return toNumber(now);
}

function toNumber(value: bigint): number {
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value);
}

function step(was: WatchedCounter, value: bigint, now: number): WatchedCounter {
  const { windowMs, limit } = was.rule;
  const pause = now - was.readAt;
  const all = increase(was.value, value);
  // After a pause longer than the window no one knows when they happened: spread evenly, a part of them is in it.
  const errors = pause > windowMs ? Math.floor(all * windowMs / pause) : all;
  const slot = slotAt(now, windowMs);
  const older = was.slots.filter((one) => one.slot > slot - SLOTS);
  const last = older.at(-1);
  const slots = errors === 0
    ? older
    : last?.slot === slot
    ? [...older.slice(0, -1), { slot, errors: last.errors + errors }]
    : [...older, { slot, errors }];
  const count = slots.reduce((sum, one) => sum + one.errors, 0);
  const over = errors > 0 && count >= limit;
  const exceeded = over ? { count: was.exceeded?.count ?? count, at: now } : stillExceeded(was, now);
  return { ...was, value, readAt: now, slots, count, exceeded };
}

/** As time goes by without a reading; the same object when nothing follows from it. */
function age(was: WatchedCounter, now: number): WatchedCounter {
  const slot = slotAt(now, was.rule.windowMs);
  const slots = was.slots.filter((one) => one.slot > slot - SLOTS);
  const exceeded = stillExceeded(was, now);
  if (slots.length === was.slots.length && exceeded === was.exceeded) return was;
  return { ...was, slots, count: slots.reduce((sum, one) => sum + one.errors, 0), exceeded };
}

function stillExceeded({ exceeded, rule }: WatchedCounter, now: number): WatchedCounter["exceeded"] {
  return exceeded !== null && now - exceeded.at < rule.windowMs ? exceeded : null;
}

function slotAt(now: number, windowMs: number): number {
  return Math.floor(now * SLOTS / windowMs);
}

/** Tells rules apart by what they say. */
export function ruleKey({ counter, limit, windowMs }: ErrorRule): string {
  return `${counter} ${limit} ${windowMs}`;
}

/** As in the configuration: "5 per 10m". */
export function ruleText({ limit, windowMs }: ErrorRule): string {
  return `${limit} per ${durationText(windowMs)}`;
}

/** Exceeded rules by HCA name. */
export type ExceededRules = ReadonlyMap<string, readonly WatchedCounter[]>;

export const NONE_EXCEEDED: ExceededRules = new Map();

/** The counters whose rules are exceeded. */
export function exceededRules(history: ErrorHistory): ExceededRules {
  const found = new Map<string, WatchedCounter[]>();
  for (const one of history.values()) {
    if (one.exceeded !== null) found.set(one.hca, [...found.get(one.hca) ?? [], one]);
  }
  return found;
}

/** "link_downed went up by 7 within 10m (limit 5)"; does not change while the rule is exceeded. */
export function exceededText({ rule, count, exceeded }: WatchedCounter): string {
  return `${rule.counter} went up by ${exceeded?.count ?? count} within ${
    durationText(rule.windowMs)
  } (limit ${rule.limit})`;
}

/**
 * Reads the counters that resources have error rules for, now and then, and says when a rule is exceeded or met again.
 * Without rules nothing is read and no timer runs.
 *
 * A read may ask the adapter's firmware and hang: it is asynchronous and limited (see `PortCounters`), and an HCA that
 * does not answer is as it was until it does.
 *
 * @module
 */
import { PortCounters } from "../hca/port_counters.ts";
import type { Hca } from "../hca/types.ts";
import {
  type ErrorHistory,
  type ExceededRules,
  exceededRules,
  exceededText,
  type HcaValues,
  NONE_EXCEEDED,
  observe,
  ruleKey,
  type RulesByHca,
  ruleText,
  type WatchedCounter,
} from "../pool/errors.ts";
import type { ErrorRule } from "../pool/spec.ts";
import type { Log } from "../text/log.ts";
import type { Inventory } from "./inventory.ts";

/** What watching needs of the outside. */
export interface ErrorWatchOptions {
  readonly sysfs: string;
  /** A rule is exceeded or met again, in words for people: a reason to judge the devices. */
  readonly onChange: (what: string) => void;
  /** Counters have errors that they had not, or the other way round: something to show. */
  readonly onCounts: () => void;
  readonly log: Log;
}

/** Milliseconds between readings: a tenth of the shortest window, but not more and not less than these. */
const LONGEST_MS = 10_000;
const SHORTEST_MS = 250;

/** Files at a time; reads for /metrics have theirs. */
const AT_ONCE = 4;

/** The watch of one agent. */
export class ErrorWatch {
  readonly #options: ErrorWatchOptions;
  #counters: PortCounters | null = null;
  #hcas: readonly Hca[] = [];
  #rules: RulesByHca = new Map();
  #history: ErrorHistory = new Map();
  #exceeded: ExceededRules = NONE_EXCEEDED;
  /** HCAs that did not answer, and how often. */
  readonly #skipped = new Map<string, number>();
  #silent: ReadonlySet<string> = new Set();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running: Promise<void> | null = null;
  #closed = false;
  /** The rules of which the log says that they are checked. */
  #logged = "";

  constructor(options: ErrorWatchOptions) {
    this.#options = options;
  }

  /** The rules that are exceeded, as of the last reading. */
  get exceeded(): ExceededRules {
    return this.#exceeded;
  }

  /** All that is watched, with its errors in the window. */
  get watched(): readonly WatchedCounter[] {
    return [...this.#history.values()];
  }

  /** How often each HCA's counters could not be read. */
  get skipped(): ReadonlyMap<string, number> {
    return this.#skipped;
  }

  /** Takes notice of a scan: of which HCAs are in resources with rules. The first reading follows at once. */
  scanned(inventory: Inventory): void {
    const before = this.#rules;
    this.#rules = rulesByHca(inventory);
    this.#hcas = inventory.snapshot.hcas.filter((hca) => this.#rules.has(hca.name));
    if (this.#closed || this.#running !== null || !this.#needed) return;
    if (this.#timer !== undefined && sameRules(before, this.#rules)) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#read();
  }

  /** Ends it. A read that hangs is not waited for. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  get #needed(): boolean {
    return this.#rules.size > 0 || this.#history.size > 0;
  }

  #read(): void {
    this.#running = this.#observe().finally(() => {
      this.#running = null;
      if (this.#closed || !this.#needed) return;
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        this.#read();
      }, intervalOf([...this.#rules.values()].flat()));
    });
  }

  async #observe(): Promise<void> {
    this.#counters ??= new PortCounters({ sysfs: this.#options.sysfs, atOnce: AT_ONCE });
    const { answers, skipped } = await readValues(this.#counters, this.#hcas, this.#rules);
    if (this.#closed) return;
    this.#logRules(answers);
    this.#logSilent(skipped);
    const [history, exceeded] = [this.#history, this.#exceeded];
    this.#history = observe(history, this.#rules, answers, performance.now());
    this.#exceeded = exceededRules(this.#history);
    const same = history.size === this.#history.size &&
      [...history].every(([key, was]) => this.#history.get(key)?.count === was.count);
    if (!same || skipped.some((hca) => this.#skipped.get(hca) === 1)) this.#options.onCounts();
    const change = difference(exceeded, this.#exceeded);
    if (change !== null) this.#options.onChange(change);
  }

  /** One line when the first values of these rules are read: errors count from there on. */
  #logRules(answers: readonly HcaValues[]): void {
    const rules = [...this.#rules.values()].flat();
    const texts = [...new Set(rules.map((rule) => `${rule.counter} ${ruleText(rule)}`))].join(", ");
    if (texts === this.#logged || answers.length === 0) return;
    this.#logged = texts;
    const seconds = intervalOf(rules) / 1e3;
    this.#options.log.info(`health.errors is checked every ${seconds} s on ${answers.length} HCAs: ${texts}`);
  }

  /** One line when an HCA stops to answer, and one when it answers again. */
  #logSilent(skipped: readonly string[]): void {
    for (const hca of skipped) {
      this.#skipped.set(hca, (this.#skipped.get(hca) ?? 0) + 1);
      if (this.#silent.has(hca)) continue;
      this.#options.log.warn(
        `${hca}: its counters could not be read in time, so health.errors is not checked there until they can; ` +
          "its driver or firmware may hang: see dmesg",
      );
    }
    for (const hca of this.#silent) {
      if (!skipped.includes(hca) && this.#rules.has(hca)) {
        this.#options.log.info(`${hca}: its counters can be read again, health.errors is checked`);
      }
    }
    this.#silent = new Set(skipped);
  }
}

function sameRules(a: RulesByHca, b: RulesByHca): boolean {
  const text = (rules: readonly ErrorRule[] | undefined) => rules?.map(ruleKey).join();
  return a.size === b.size && [...a].every(([hca, rules]) => text(rules) === text(b.get(hca)));
}

/** Milliseconds from one reading to the next. */
export function intervalOf(rules: readonly ErrorRule[]): number {
  const shortest = Math.min(...rules.map((rule) => rule.windowMs));
  return Math.min(LONGEST_MS, Math.max(SHORTEST_MS, Math.floor(shortest / 10)));
}

/** The rules of all resources that each HCA is in, each once. */
export function rulesByHca({ states }: Pick<Inventory, "states">): RulesByHca {
  const found = new Map<string, readonly ErrorRule[]>();
  for (const { spec: { health: { errors } }, deviceStates } of states.values()) {
    if (errors.length === 0) continue;
    for (const { member, present } of deviceStates.values()) {
      for (const { name } of present ? member.hcas : []) {
        const all = [...found.get(name) ?? [], ...errors];
        found.set(name, [...new Map(all.map((rule) => [ruleKey(rule), rule])).values()]);
      }
    }
  }
  return found;
}

/** Reads the counters that have rules, and no others. */
export async function readValues(
  counters: PortCounters,
  hcas: readonly Hca[],
  rules: RulesByHca,
): Promise<{ readonly answers: readonly HcaValues[]; readonly skipped: readonly string[] }> {
  const named = new Map([...rules].map(([hca, all]) => [hca, new Set(all.map((rule) => rule.counter))]));
  const readings = await counters.read(hcas, (hca, name) => named.get(hca.name)?.has(name) ?? false);
  const identities = new Map(hcas.map((hca) => [hca.name, `${hca.nodeGuid} ${hca.pci?.address}`]));
  return {
    answers: readings.hcas.map(({ hca, readings }) => ({
      hca,
      identity: identities.get(hca)!,
      values: readings.map(({ name, port, group, digits }) => ({
        counter: name,
        port,
        group,
        value: BigInt(digits),
      })),
    })),
    skipped: readings.skipped,
  };
}

/** What is exceeded now and was not before, or the other way round; null when nothing is. */
function difference(before: ExceededRules, now: ExceededRules): string | null {
  const texts = (rules: ExceededRules) => new Map([...rules.values()].flat().map((one) => [keyOf(one), one]));
  const [was, is] = [texts(before), texts(now)];
  const began = [...is].find(([key]) => !was.has(key))?.[1];
  if (began !== undefined) return `${placeOf(began)}: ${exceededText(began)}`;
  const ended = [...was].find(([key]) => !is.has(key))?.[1];
  return ended === undefined ? null : `${placeOf(ended)}: ${ended.rule.counter} is within its limit again`;
}

function keyOf(one: WatchedCounter): string {
  return `${placeOf(one)} ${one.group} ${ruleKey(one.rule)}`;
}

function placeOf({ hca, port }: WatchedCounter): string {
  return port === null ? hca : `${hca} port ${port}`;
}

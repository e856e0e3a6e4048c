/**
 * What a fuzz target is, and how one is run: cases are made by fast-check until the time is over or a promise is
 * broken, and what broke it is made as small as it gets.
 *
 * @module
 */
import * as fc from "fast-check";

/** Any property of fast-check, whatever its cases are. */
export type Property = fc.IAsyncProperty<unknown> | fc.IProperty<unknown>;

/** A target that is set up, with the directories and servers that it needs. */
export interface Prepared extends AsyncDisposable {
  readonly property: Property;
  /** What the cases came to: "accepted", "refused", … A kind that never comes means that the cases test nothing. */
  readonly tally: Readonly<Record<string, number>>;
}

/** One kind of input that a stranger may hand to the plugin. */
export interface Target {
  readonly name: string;
  /** What holds for whatever comes in, as a sentence. */
  readonly promise: string;
  /** Kinds of the tally that a few hundred cases must have come to. */
  readonly kinds: readonly string[];
  prepare(): Promise<Prepared>;
}

/** How long to run, and where to begin. */
export interface FuzzOptions {
  readonly seed: number;
  /** Milliseconds; runs end by themselves when `runs` is given. */
  readonly forMs?: number;
  readonly runs?: number;
  /** fast-check's path to one case below the seed. */
  readonly path?: string;
}

/** A broken promise. */
export interface Broken {
  readonly path: string;
  /** The smallest case, as fast-check prints it. */
  readonly smallest: string;
  readonly why: string;
}

export interface Outcome {
  readonly target: string;
  readonly seed: number;
  readonly runs: number;
  readonly seconds: number;
  readonly tally: Readonly<Record<string, number>>;
  readonly broken: Broken | null;
}

/** Milliseconds that a case may take; one that takes longer would hold up the plugin, and fails. */
export const LONGEST_CASE = 60_000;

/** Milliseconds that are spent on making a failing case smaller, beyond the time that was asked for. */
const SHRINKING = 20_000;

/** Runs one target. Never rejects because of what a case did. */
export async function fuzz(target: Target, options: FuzzOptions): Promise<Outcome> {
  await using prepared = await target.prepare();
  const last = lastCase(prepared.property);
  const start = performance.now();
  const parameters = (forMs: number | undefined): fc.Parameters<unknown> => ({
    seed: options.seed,
    numRuns: options.runs ?? 2 ** 30,
    ...forMs === undefined ? {} : { interruptAfterTimeLimit: forMs, markInterruptAsFailure: false },
  });
  const path = options.path === undefined ? {} : { path: options.path };
  // A lone path is one case and its shrinks: without a time it would go on to whatever comes after that case.
  const first = await fc.check(prepared.property, { ...parameters(options.forMs), ...path });
  const seconds = (performance.now() - start) / 1e3;
  const found = first.failed ? await smaller(prepared.property, first, parameters(SHRINKING)) : null;
  await last();
  return {
    target: target.name,
    seed: first.seed,
    runs: first.numRuns,
    seconds,
    tally: { ...prepared.tally },
    broken: found === null ? null : describe(found),
  };
}

/** Waits for the case that a property was given last: fast-check leaves the one that the time has run out on under way. */
function lastCase(property: Property): () => Promise<void> {
  const run: (...args: Parameters<Property["run"]>) => ReturnType<Property["run"]> = property.run.bind(property);
  let last: unknown = null;
  const watched = (...args: Parameters<Property["run"]>) => last = run(...args);
  Object.assign(property, { run: watched });
  return async () => void await last;
}

/** Goes on making the case smaller where the time for it was over; the first one when it does not fail again. */
async function smaller(
  property: Property,
  first: fc.RunDetails<unknown>,
  parameters: fc.Parameters<unknown>,
): Promise<fc.RunDetails<unknown>> {
  const again = await fc.check(property, {
    ...parameters,
    path: first.counterexamplePath!,
    numRuns: 1,
  });
  return again.failed ? again : first;
}

function describe(details: fc.RunDetails<unknown>): Broken {
  const { counterexample, counterexamplePath, errorInstance } = details;
  const error = errorInstance;
  return {
    path: counterexamplePath ?? "",
    smallest: fc.stringify(counterexample),
    why: error instanceof Error ? error.stack ?? error.message : String(error),
  };
}

/** The command that plays one broken promise again. */
export function replayCommand({ target, seed, broken }: Outcome): string {
  return `deno task fuzz --only ${target} --seed ${seed}${broken === null ? "" : ` --path ${broken.path}`}`;
}

/**
 * One kind of writes to the API server: made when something changed, one after the other, and tried again with growing
 * pauses. What changes in a pause is in the next try, so a server that was away gets the latest and no history.
 *
 * @module
 */
import { Backoff, pause } from "../kubernetes/backoff.ts";
import type { ApiError } from "../kubernetes/client.ts";
import { type Failures, isRefusal } from "../kubernetes/failures.ts";
import type { Log } from "../text/log.ts";

/** What came of one round. */
export interface Round {
  readonly error: ApiError | null;
  /** When there is more to do (ms since the epoch); null when nothing is. */
  readonly wakeAt: number | null;
}

export interface LaneOptions {
  /** What is written, for the log: "the condition RDMAReady". */
  readonly what: string;
  /** What an operator can do when the server refuses. */
  readonly fix: string;
  readonly work: (signal: AbortSignal) => Promise<Round>;
  readonly firstRetryMs: number;
  /** Longest pause while the server is away or busy. */
  readonly longestRetryMs: number;
  /** Longest pause when the server refuses: rights do not come by themselves. */
  readonly refusedRetryMs: number;
  /** Counted here, for metrics. */
  readonly failures: Failures;
  readonly log: Log;
}

export class Lane {
  readonly #options: LaneOptions;
  #kick = Promise.withResolvers<void>();
  #reason: string | null = null;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  /** Something changed. */
  kick(): void {
    this.#kick.resolve();
  }

  /** Works until `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { work, failures, firstRetryMs, longestRetryMs, refusedRetryMs } = this.#options;
    const away = new Backoff(firstRetryMs, longestRetryMs);
    const refused = new Backoff(firstRetryMs, refusedRetryMs);
    signal.addEventListener("abort", () => this.kick(), { once: true });
    while (!signal.aborted) {
      await this.#kick.promise;
      if (signal.aborted) return;
      this.#kick = Promise.withResolvers<void>();
      const { error, wakeAt } = await work(signal);
      if (signal.aborted) return;
      this.#report(error);
      if (error !== null) {
        failures.failed(error);
        this.#kick.resolve();
        const backoff = isRefusal(error) ? refused : away;
        await pause(Math.max(backoff.next(), error.retryAfterMs ?? 0), signal);
        continue;
      }
      failures.written();
      away.reset();
      refused.reset();
      if (wakeAt !== null) await this.#sleep(wakeAt - Date.now(), signal);
    }
  }

  /** Until the time is over or something changes. */
  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    const end = new AbortController();
    const over = pause(Math.max(0, ms), AbortSignal.any([signal, end.signal])).then(() => this.#kick.resolve());
    await Promise.race([over, this.#kick.promise]);
    end.abort();
  }

  #report(error: ApiError | null): void {
    const { what, fix, log } = this.#options;
    const reason = error?.message ?? null;
    if (reason === this.#reason) return;
    // Each try may be refused in slightly other words: one line says that it fails, one that it works again.
    if (reason !== null && this.#reason === null) {
      const hint = isRefusal(error!) ? `; ${fix}` : "";
      log.warn(`Cannot write ${what}: ${reason}; it is tried again, pods are served as before${hint}`);
    }
    if (reason === null) log.info(`${what}: written again`);
    this.#reason = reason;
  }
}

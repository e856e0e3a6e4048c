/**
 * Writes events: the first time as a new object, repeats as its series. Never many at once, whatever the node does.
 *
 * @module
 */
import { randomBytes } from "node:crypto";
import type { ApiClient, ApiError } from "../kubernetes/client.ts";
import { eventsPath } from "../kubernetes/core_api.ts";
import { isRefusal } from "../kubernetes/failures.ts";
import type { Log } from "../text/log.ts";
import { Budget } from "./budget.ts";
import { eventName, eventObject, namespaceOf, seriesOf } from "./event_object.ts";
import type { Round } from "./lane.ts";
import type { Series, SeriesBook } from "./series.ts";

/** A node with 64 devices may lose them all at once; after that, one event in ten seconds. */
const AT_ONCE = 64;
const ONE_MORE_MS = 10_000;

export class EventWriter {
  readonly #client: Pick<ApiClient, "call">;
  readonly #book: SeriesBook;
  readonly #instance: string;
  readonly #onGivenUp: (error: ApiError) => void;
  readonly #log: Log;
  readonly #budget = new Budget(AT_ONCE, ONE_MORE_MS);
  /** A refusal that has been logged. */
  #refusal: string | null = null;

  /** @param onGivenUp called for every event that the server does not take */
  constructor(
    client: Pick<ApiClient, "call">,
    book: SeriesBook,
    instance: string,
    onGivenUp: (error: ApiError) => void,
    log: Log,
  ) {
    this.#client = client;
    this.#book = book;
    this.#instance = instance;
    this.#onGivenUp = onGivenUp;
    this.#log = log;
  }

  /** Writes everything that is due. */
  async work(signal: AbortSignal): Promise<Round> {
    for (let one = this.#book.due(Date.now()); one !== null; one = this.#book.due(Date.now())) {
      const wait = this.#budget.take(performance.now());
      if (wait !== null) return { error: null, wakeAt: Date.now() + wait - performance.now() };
      const error = await this.#write(one, signal);
      if (error !== null) return { error, wakeAt: null };
      if (signal.aborted) break;
    }
    return { error: null, wakeAt: this.#book.nextDue() };
  }

  /** Null when it was written, or never will be. */
  async #write(one: Series, signal: AbortSignal): Promise<ApiError | null> {
    const { count } = one;
    const error = one.written === 0 ? await this.#create(one, signal) : await this.#update(one, signal);
    if (error === null) {
      this.#book.written(one, count, Date.now());
      this.#refusal = null;
      return null;
    }
    if (error.status === 404 && one.written > 0) {
      // Its time was over, or it was deleted: it is made again, with its count.
      one.written = 0;
      one.name = null;
      return null;
    }
    if (error.status === 409 && one.written === 0) {
      // The name is no one else's: an earlier try arrived, and its answer did not.
      this.#book.written(one, 1, Date.now());
      return null;
    }
    if (!isRefusal(error)) return error;
    // A namespace that is being deleted takes no events, which must not keep those of others waiting.
    this.#book.refused(one);
    this.#onGivenUp(error);
    if (this.#refusal === null) {
      this.#log.warn(
        `an event (${one.occurrence.reason} of ${one.regarding.kind} ${one.regarding.name}) is given up: ${error.message}; ` +
          "the rights it needs are in deploy/kustomize/components/kubernetes-events",
      );
    }
    this.#refusal = error.message;
    return null;
  }

  async #create(one: Series, signal: AbortSignal): Promise<ApiError | null> {
    // A try without an answer may have made it: the same name again says so.
    const name = one.name ??= eventName(one, randomBytes(8).toString("hex"));
    const body = eventObject(one, name, this.#instance);
    const made = await this.#client.call("POST", eventsPath(namespaceOf(one)), { body, signal });
    return made.ok ? null : made.error;
  }

  async #update(one: Series, signal: AbortSignal): Promise<ApiError | null> {
    const path = eventsPath(namespaceOf(one), one.name!);
    const body = { series: seriesOf(one) };
    const contentType = "application/merge-patch+json";
    const changed = await this.#client.call("PATCH", path, { body, contentType, signal });
    return changed.ok ? null : changed.error;
  }
}

/**
 * Collections in pages: neither the server nor this process has to hold all objects at once.
 *
 * @module
 */
import { Backoff, pause } from "./backoff.ts";
import type { ApiClient, ApiError, ApiResult, Query } from "./client.ts";

/** Objects of one answer: some megabytes of pods. */
const PAGE = 500;
/** A page of large objects from a busy server takes longer than an ordinary answer. */
const TIMEOUT_MS = 30_000;
/** How often a page is asked for again when the server is busy, and a collection when its pages have expired. */
const MOST_RETRIES = 4;

interface Page {
  readonly metadata: { readonly resourceVersion?: string; readonly continue?: string };
}

/** Takes what is read. */
export interface PageSink<T> {
  /** The next object, which is not kept here; the same again when a page breaks off and is asked for again. */
  readonly add: (item: T) => void;
  /** Forget what was added: the list starts again, because its snapshot has expired (410 Gone). */
  readonly restart: () => void;
}

/**
 * Reads a whole collection. Consistent: all pages are of one resource version. Never rejects.
 *
 * @returns that version, to watch from
 */
export async function listPages<T>(
  client: ApiClient,
  path: string,
  query: Query,
  sink: PageSink<T>,
  signal: AbortSignal,
  limit = PAGE,
): Promise<ApiResult<string>> {
  let next: string | undefined;
  let version = "";
  for (let restarts = 0;;) {
    // A token of a page replaces the version, and they must not be given together.
    const page = await patiently<Page>(
      () => client.list(path, { query: { ...query, limit, continue: next }, timeoutMs: TIMEOUT_MS, signal }, sink.add),
      next !== undefined,
      signal,
    );
    if (!page.ok) {
      if (page.error.status !== 410 || next === undefined || restarts++ >= MOST_RETRIES) return page;
      next = undefined;
      sink.restart();
      continue;
    }
    const { metadata } = page.value;
    version = metadata.resourceVersion ?? version;
    if (!metadata.continue) return { ok: true, value: version };
    next = metadata.continue;
  }
}

/** Asks again when the server is busy; when it cannot be reached only if it could be a moment ago. */
async function patiently<T>(
  ask: () => Promise<ApiResult<T>>,
  wasThere: boolean,
  signal: AbortSignal,
): Promise<ApiResult<T>> {
  const backoff = new Backoff(250, 5_000);
  for (;;) {
    const answer = await ask();
    if (answer.ok || !isPassing(answer.error, wasThere) || backoff.failures >= MOST_RETRIES) return answer;
    await pause(answer.error.retryAfterMs ?? backoff.next(), signal);
    if (answer.error.retryAfterMs !== null) backoff.next();
    if (signal.aborted) return answer;
  }
}

function isPassing({ status, reason }: ApiError, wasThere: boolean): boolean {
  if (status === null) return wasThere && reason === "Unreachable";
  return status === 429 || status >= 500;
}

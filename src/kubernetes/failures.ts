/**
 * Writes to the API server that failed, counted by kind, and whether the last one did: what metrics tell of them.
 *
 * @module
 */
import type { ApiError } from "./client.ts";

/** How a request can fail, by what an operator does about it. */
export type FailureReason =
  /** No answer, or none in time; also a certificate that is not trusted. */
  | "unreachable"
  /** The token is missing or not taken. */
  | "unauthorized"
  /** The server understood and said no: rights, an admission policy, a Node that is not there. */
  | "refused"
  /** The server is busy or in a bad state, and may take the same later. */
  | "unavailable";

/** Counted from zero, so that the first failure is an increase. */
const REASONS: readonly FailureReason[] = ["unreachable", "unauthorized", "refused", "unavailable"];

/** What became of one kind of writes. */
export interface WriteStatus {
  /** What is written: "condition", "events", "labels". */
  readonly what: string;
  /** Requests that failed, by reason. */
  readonly failures: ReadonlyMap<string, number>;
  /** Whether the last try failed. */
  readonly outdated: boolean;
}

/** Failures of one kind of writes. */
export class Failures {
  readonly #counts = new Map<FailureReason, number>(REASONS.map((reason) => [reason, 0]));
  #outdated = false;

  constructor(readonly what: string) {}

  /** A request failed and will not be tried again. */
  gaveUp(error: ApiError): void {
    const reason = failureReason(error);
    this.#counts.set(reason, this.#counts.get(reason)! + 1);
  }

  /** A request failed: until one succeeds the server has something older than there is. */
  failed(error: ApiError): void {
    this.gaveUp(error);
    this.#outdated = true;
  }

  /** Everything that was to be written is. */
  written(): void {
    this.#outdated = false;
  }

  get status(): WriteStatus {
    return { what: this.what, failures: this.#counts, outdated: this.#outdated };
  }
}

export function failureReason(error: ApiError): FailureReason {
  if (error.status === null) return error.reason === "NoCredentials" ? "unauthorized" : "unreachable";
  if (error.status === 401) return "unauthorized";
  return isRefusal(error) ? "refused" : "unavailable";
}

/** Whether the server understood and said no. */
export function isRefusal({ status }: ApiError): boolean {
  return status !== null && status >= 400 && status < 500 && ![401, 408, 409, 429].includes(status);
}

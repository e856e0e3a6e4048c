/**
 * What can be wrong with the fake API server.
 *
 * @module
 */

/** Faults that the server can inject. */
export type ApiFault =
  | { readonly kind: "slow"; readonly ms: number }
  | { readonly kind: "error"; readonly status: number; readonly retryAfterSeconds?: number }
  /** Accepts requests and never answers. */
  | { readonly kind: "silent" }
  /** Answers everything with JSON that is no object of this API, as something on the way may do. */
  | { readonly kind: "odd"; readonly body: unknown }
  | { readonly kind: "forbidden"; readonly verb: string; readonly resource: string }
  /** Refuses watches alone, as a server does that has too many, or for who has no right to them. */
  | { readonly kind: "no-watch"; readonly status: number; readonly retryAfterSeconds?: number }
  /** Does not know an API group or version, as an older server. */
  | { readonly kind: "absent"; readonly group: string };

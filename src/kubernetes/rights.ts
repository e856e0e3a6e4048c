/**
 * What this process may do at the API server, asked there by SelfSubjectAccessReviews, which everyone may make.
 *
 * @module
 */
import type { ApiClient } from "./client.ts";

/** One right that is needed. */
export interface Right {
  readonly verb: string;
  /** "nodes", or with a subresource "nodes/status". */
  readonly resource: string;
  /** Empty for the core group. */
  readonly group: string;
}

const REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/**
 * Never rejects.
 *
 * @returns the rights that are lacking as "create events", or the reason why that is not known
 */
export async function missingRights(
  client: Pick<ApiClient, "call">,
  needed: readonly Right[],
  timeoutMs: number,
): Promise<{ readonly reason: string | null; readonly missing: readonly string[] }> {
  const reviews = await Promise.all(needed.map(async ({ verb, resource, group }) => {
    const [name = "", subresource] = resource.split("/");
    const resourceAttributes = { verb, resource: name, group, ...subresource === undefined ? {} : { subresource } };
    const body = {
      apiVersion: "authorization.k8s.io/v1",
      kind: "SelfSubjectAccessReview",
      spec: { resourceAttributes },
    };
    const answer = await client.call<{ status?: { allowed?: boolean } }>("POST", REVIEWS, { body, timeoutMs });
    return { what: `${verb} ${resource}`, answer };
  }));
  const failed = reviews.find(({ answer }) => !answer.ok)?.answer;
  if (failed?.ok === false) return { reason: failed.error.message, missing: [] };
  const missing = reviews.filter(({ answer }) => answer.ok && answer.value.status?.allowed !== true);
  return { reason: null, missing: missing.map((one) => one.what) };
}

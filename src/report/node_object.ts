/**
 * This node's object at the API server: read once, and again when it may be another one, because a kubelet that registers
 * its node again makes one without our condition and labels.
 *
 * @module
 */
import type { ApiClient, ApiResult } from "../kubernetes/client.ts";
import type { LabelledNode } from "../kubernetes/core_api.ts";
import { nodePath } from "../kubernetes/resource_api.ts";

const STRATEGIC_MERGE = "application/strategic-merge-patch+json";

export class NodeObject {
  readonly #client: Pick<ApiClient, "call">;
  readonly name: string;
  #read: Promise<ApiResult<LabelledNode>> | null = null;
  #age = 0;

  constructor(client: Pick<ApiClient, "call">, name: string) {
    this.#client = client;
    this.name = name;
  }

  /** Grows when what was read may no longer hold. */
  get age(): number {
    return this.#age;
  }

  forget(): void {
    this.#age++;
    this.#read = null;
  }

  /** The object as it was when it was read; one request for all who ask. */
  async get(): Promise<ApiResult<LabelledNode>> {
    const asked = this.#read ??= this.#client.call<LabelledNode>("GET", nodePath(this.name));
    const answer = await asked;
    if (!answer.ok && this.#read === asked) this.#read = null;
    return answer;
  }

  patchStatus(status: object, signal: AbortSignal): Promise<ApiResult<LabelledNode>> {
    const path = `${nodePath(this.name)}/status`;
    return this.#client.call("PATCH", path, { body: { status }, contentType: STRATEGIC_MERGE, signal });
  }

  patchMetadata(metadata: object, signal: AbortSignal): Promise<ApiResult<LabelledNode>> {
    const path = nodePath(this.name);
    return this.#client.call("PATCH", path, { body: { metadata }, contentType: STRATEGIC_MERGE, signal });
  }
}

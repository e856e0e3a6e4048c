/**
 * Writes a fleet into an API server, as kubelets, drivers and controllers would have.
 *
 * @module
 */
import type { ApiAccess } from "../src/kubernetes/access.ts";
import { ApiClient } from "../src/kubernetes/client.ts";
import * as fleet from "./fleet_objects.ts";

export interface Sizes {
  readonly nodes: number;
  readonly hcas: number;
  /** Pods of each node that have nothing to do with RDMA. */
  readonly others: number;
}

interface Named {
  readonly metadata: { readonly name: string };
  readonly spec?: { readonly containers?: readonly { readonly image: string }[] };
}

/** Clients that write at the same time, and nodes that each of them is at: a client has eight connections. */
const CLIENTS = 4;
const AT_ONCE = 8;

const PODS = "/api/v1/namespaces/default/pods";
const CLAIMS = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims";

/** @returns how many objects of each kind there are */
export async function fill(
  access: ApiAccess,
  { nodes, hcas, others }: Sizes,
  say: (line: string) => void,
): Promise<Readonly<Record<string, number>>> {
  const counts = { nodes: 0, HCAs: nodes * hcas, slices: 0, claims: 0, pods: 0, events: 0 };
  const post = async (client: ApiClient, path: string, body: object): Promise<Named> => {
    const made = await client.call<Named>("POST", path, { body, timeoutMs: 60_000 });
    if (!made.ok) throw new Error(`POST ${path}: ${made.error.message}`);
    return made.value;
  };
  const withStatus = async (
    client: ApiClient,
    path: string,
    body: object,
    status: (made: Named) => object,
  ): Promise<void> => {
    const made = await post(client, path, body);
    const whole = { ...made, status: status(made) };
    const put = await client.call("PUT", `${path}/${made.metadata.name}/status`, { body: whole, timeoutMs: 60_000 });
    if (!put.ok) throw new Error(`PUT ${path}: ${put.error.message}`);
  };
  const one = async (client: ApiClient, i: number) => {
    await post(client, "/api/v1/nodes", fleet.node(i, hcas));
    counts.nodes++;
    await post(client, "/apis/resource.k8s.io/v1/resourceslices", fleet.slice(i, hcas));
    counts.slices++;
    if (fleet.isClaimed(i)) {
      await withStatus(client, CLAIMS, fleet.claim(i, hcas), () => fleet.claimStatus(i, hcas));
      counts.claims++;
    }
    for (const pod of fleet.pods(i, others)) {
      await withStatus(
        client,
        PODS,
        pod,
        ({ metadata, spec }) => fleet.podStatus(i, metadata.name, spec?.containers?.[0]?.image ?? ""),
      );
      counts.pods++;
    }
    if (fleet.isDown(i)) {
      await post(client, "/apis/events.k8s.io/v1/namespaces/default/events", fleet.event(i));
      counts.events++;
    }
    if ((i + 1) % 500 === 0) say(`${i + 1} of ${nodes} nodes`);
  };
  let next = 0;
  const worker = async (client: ApiClient) => {
    while (next < nodes) await one(client, next++);
  };
  const clients = Array.from({ length: CLIENTS }, () => new ApiClient(access));
  await Promise.all(clients.flatMap((client) => Array.from({ length: AT_ONCE }, () => worker(client))));
  for (const client of clients) client.close();
  return counts;
}

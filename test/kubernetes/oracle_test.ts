import { deepEqual, equal, ok } from "@std/assert";
import { readFileSync } from "node:fs";
import { ApiException, KubeConfig, ResourceV1Api, Watch } from "@kubernetes/client-node";
import type { ApiAccess } from "../../src/kubernetes/access.ts";
import type { ApiClient, ApiError } from "../../src/kubernetes/client.ts";
import { type ObjectList, type ResourceSlice, SLICES_PATH } from "../../src/kubernetes/resource_api.ts";
import { type FakeApiServer, SLICES } from "../../sim/api_server/server.ts";
import { sliceObject as slice, withApiServer } from "../support/api_server.ts";
import { within } from "../support/temp.ts";

const FIELDS = "spec.driver=d.example,spec.nodeName=n1";

/** What a client sees of a collection: type, name and resource version of each event. */
type Seen = readonly [string, string, string];

/** The reference client, with the token that is in the file now. */
function reference({ server, caFile, tokenFile }: ApiAccess): KubeConfig {
  const config = new KubeConfig();
  config.loadFromOptions({
    clusters: [{ name: "c", server, caFile }],
    users: [{ name: "u", token: readFileSync(tokenFile, "utf8").trim() }],
    contexts: [{ name: "x", cluster: "c", user: "u" }],
    currentContext: "x",
  });
  return config;
}

function seen(type: string, { metadata }: { metadata?: { name?: string; resourceVersion?: string } }): Seen {
  return [type, metadata?.name ?? "", metadata?.resourceVersion ?? ""];
}

/** Status code and reason of a call that fails, as the reference client has them. */
async function failure(call: Promise<unknown>): Promise<readonly [number, string]> {
  try {
    await call;
  } catch (error) {
    ok(error instanceof ApiException, String(error));
    const body = typeof error.body === "string" ? JSON.parse(error.body) : error.body;
    // Of a 401 it keeps no body, only what it means.
    return [error.code, body?.reason ?? /Message: (\w+)/.exec(error.message)?.[1]];
  }
  throw new Error("it did not fail");
}

const ours = ({ status, reason }: ApiError) => [status, reason];

function oracle(
  name: string,
  run: (api: FakeApiServer, client: ApiClient) => Promise<void>,
): void {
  Deno.test({
    name,
    // The reference client keeps connections and timers of its own.
    sanitizeOps: false,
    sanitizeResources: false,
    fn: () => withApiServer(run),
  });
}

oracle("our client and the reference client list the same, and watch the same from there", async (api, client) => {
  for (const [name, node] of [["a", "n1"], ["b", "n2"], ["c", "n1"]] as const) {
    api.store.create(SLICES, slice(name, { nodeName: node }));
  }
  const config = reference(api.access);
  const theirs = await config.makeApiClient(ResourceV1Api).listResourceSlice({ fieldSelector: FIELDS });
  const listed = await client.call<ObjectList<ResourceSlice>>("GET", SLICES_PATH, { query: { fieldSelector: FIELDS } });
  ok(listed.ok);
  const { resourceVersion } = listed.value.metadata;
  equal(resourceVersion, theirs.metadata?.resourceVersion);
  deepEqual(
    listed.value.items.map((one) => seen("", one)),
    theirs.items.map((one) => seen("", one)),
  );

  const query = { fieldSelector: FIELDS, resourceVersion, allowWatchBookmarks: true };
  const [ourEvents, theirEvents]: Seen[][] = [[], []];
  const both = Promise.withResolvers<void>();
  const check = () => {
    const last = (events: readonly Seen[] | undefined) => events?.at(-1)?.slice(0, 2).join() === "DELETED,d";
    if (last(ourEvents) && last(theirEvents)) both.resolve();
  };
  const stop = new AbortController();
  const watching = client.watch<ResourceSlice>(SLICES_PATH, query, 300, ({ type, object }) => {
    ourEvents!.push(seen(type, object));
    check();
  }, stop.signal);
  const request = await new Watch(config).watch(SLICES_PATH, query, (type, object) => {
    theirEvents!.push(seen(type, object));
    check();
  }, () => {});
  await api.waitFor(() => api.watches === 2, "both watches");
  api.store.create(SLICES, slice("d"));
  api.store.create(SLICES, slice("e", { nodeName: "n2" }));
  api.store.update(SLICES, "a", slice("a", { generation: 2 }));
  api.store.delete(SLICES, "d");
  await within(both.promise, "the last event at both");
  request.abort();
  stop.abort();
  equal(await watching, null);
  deepEqual(ourEvents, theirEvents);
  deepEqual(ourEvents!.map(([type, name]) => `${type} ${name}`), [
    "BOOKMARK ",
    "ADDED d",
    "MODIFIED a",
    "DELETED d",
  ]);
});

oracle("our client and the reference client get the same of a version that is too old", async (api, client) => {
  for (let i = 0; i < 5; i++) api.store.create(SLICES, slice(`s-${i}`));
  for (let i = 0; i < 300; i++) api.store.update(SLICES, "s-0", slice("s-0", { generation: i + 2 }));
  const query = { resourceVersion: "2" };
  const error = await client.watch(SLICES_PATH, query, 300, () => {}, new AbortController().signal);
  const theirs = await within(
    new Promise<readonly [number, string]>((resolve, reject) => {
      new Watch(reference(api.access)).watch(SLICES_PATH, query, (type, object) => {
        if (type === "ERROR") resolve([object.code, object.reason]);
      }, () => {}).catch(reject);
    }),
    "the error",
  );
  ok(error !== null);
  deepEqual(ours(error), theirs);
  deepEqual(theirs, [410, "Expired"]);
});

oracle(
  "our client and the reference client get the same errors, and both go on with a new token",
  async (api, client) => {
    const resources = () => reference(api.access).makeApiClient(ResourceV1Api);
    const ourFailure = async (...call: Parameters<ApiClient["call"]>) => {
      const answer = await client.call(...call);
      return answer.ok ? ["it did not fail"] : ours(answer.error);
    };
    api.store.create(SLICES, slice("a"));
    const stale = { ...slice("a"), metadata: { name: "a", resourceVersion: "1" } };
    const invalid = { ...slice("c"), spec: { ...slice("c").spec, driver: "No_Domain" } };
    const before = resources();
    deepEqual(
      await ourFailure("GET", `${SLICES_PATH}/b`),
      await failure(before.readResourceSlice({ name: "b" })),
    );
    deepEqual(
      await ourFailure("PUT", `${SLICES_PATH}/a`, { body: stale }),
      await failure(before.replaceResourceSlice({ name: "a", body: stale })),
    );
    deepEqual(
      await ourFailure("POST", SLICES_PATH, { body: invalid }),
      await failure(before.createResourceSlice({ body: invalid })),
    );
    api.expireToken();
    deepEqual(await ourFailure("GET", `${SLICES_PATH}/a`), await failure(before.readResourceSlice({ name: "a" })));
    // Ours reads the file for each request; the other one is made anew.
    api.rotateToken();
    ok((await client.call("GET", `${SLICES_PATH}/a`)).ok);
    equal((await resources().readResourceSlice({ name: "a" })).metadata?.name, "a");
  },
);

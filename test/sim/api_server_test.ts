import { equal } from "@std/assert";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { get } from "node:https";
import { join } from "node:path";
import { FakeApiServer } from "../../sim/api_server/server.ts";
import { temporaryDir } from "../support/temp.ts";

/** A GET by a client without a pool: when it is destroyed, so is its connection. */
function getFrom({ access: { server, tokenFile } }: FakeApiServer, path: string) {
  const headers = { authorization: `Bearer ${readFileSync(tokenFile, "utf8").trim()}` };
  return get(`${server}${path}`, { agent: false, rejectUnauthorized: false, headers });
}

const WATCH = "/api/v1/nodes?watch=true&allowWatchBookmarks=true";

Deno.test("the fake API server forgets a watch whose client is gone", async () => {
  using dir = temporaryDir();
  await using api = await FakeApiServer.start(join(dir.path, "sa"));
  const watch = getFrom(api, WATCH);
  const [response] = await once(watch, "response");
  equal(api.watches, 1);
  response.destroy();
  await api.waitFor(() => api.watches === 0, "the watch to be forgotten", 10_000);
});

Deno.test("the fake API server begins no watch for a client that left before its answer", async () => {
  using dir = temporaryDir();
  await using api = await FakeApiServer.start(join(dir.path, "sa"));
  api.fault = { kind: "slow", ms: 200 };
  const watch = getFrom(api, WATCH);
  watch.on("error", () => {}); // "socket hang up", which is what it does
  await api.waitFor(() => api.requests.length === 1, "the request");
  watch.destroy();
  // As slow, and later: when it is answered, the first one's turn has been.
  const [list] = await once(getFrom(api, "/api/v1/nodes"), "response");
  list.resume();
  await once(list, "end");
  await api.waitFor(() => api.watches === 0, "no watch", 10_000);
});

/**
 * A fake API server with a client of ours, for tests of what calls it.
 *
 * @module
 */
import { join } from "node:path";
import { ApiClient } from "../../src/kubernetes/client.ts";
import { FakeApiServer } from "../../sim/api_server/server.ts";
import { temporaryDir } from "./temp.ts";

/** Runs a test between the two; `dir` is the test's own. Both are closed afterwards. */
export async function withApiServer(
  run: (api: FakeApiServer, client: ApiClient, dir: string) => Promise<void>,
): Promise<void> {
  using dir = temporaryDir();
  await using api = await FakeApiServer.start(join(dir.path, "sa"));
  const client = new ApiClient(api.access);
  try {
    await run(api, client, dir.path);
  } finally {
    client.close();
  }
}

/** Flags that let a plugin process reach the server. */
export function apiFlags({ access: { server, caFile, tokenFile } }: FakeApiServer): readonly string[] {
  return [`--kube-api=${server}`, `--kube-ca-file=${caFile}`, `--kube-token-file=${tokenFile}`];
}

/** A ResourceSlice without devices. */
export function sliceObject(name: string, { driver = "d.example", nodeName = "n1", generation = 1 } = {}) {
  return {
    apiVersion: "resource.k8s.io/v1",
    kind: "ResourceSlice",
    metadata: { name },
    spec: { driver, nodeName, pool: { name: "n1", generation, resourceSliceCount: 1 }, devices: [] },
  };
}

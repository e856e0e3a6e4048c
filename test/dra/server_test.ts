import { equal } from "@std/assert";
import { join } from "node:path";
import type { PrepareAnswer } from "../../src/dra/claims.ts";
import { listenDra } from "../../src/dra/server.ts";
import { draServices, method } from "../../src/kubelet/api.ts";
import { dial } from "../../sim/kubelet/dial.ts";
import { temporaryDir, within } from "../support/temp.ts";

Deno.test("a kubelet that does not wait any more is noticed: the prepare under way is told", async () => {
  using dir = temporaryDir();
  const asked = Promise.withResolvers<void>();
  const told = Promise.withResolvers<void>();
  const answer: PrepareAnswer = { ok: false, reason: "too late" };
  const server = await listenDra(join(dir.path, "dra.sock"), {
    prepare: (_, { signal }) =>
      new Promise((resolve) => {
        signal.addEventListener("abort", () => {
          told.resolve();
          resolve(answer);
        });
        asked.resolve();
      }),
    unprepare: () => Promise.resolve(null),
    watchHealth: () => {},
  });
  const client = await dial(server.path, 10_000, new AbortController().signal);
  const { path, requestSerialize, responseDeserialize } = method<object, object>(
    draServices()["k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin"],
    "NodePrepareResources",
  );
  const ended = Promise.withResolvers<number | undefined>();
  const claims = [{ namespace: "default", name: "one", uid: "u-1" }];
  const call = client.makeUnaryRequest(path, requestSerialize, responseDeserialize, { claims }, (error) => {
    ended.resolve(error?.code);
  });
  try {
    await within(asked.promise, "the prepare");
    // The pod is deleted while it is prepared: the kubelet cancels the call, and unprepares the claim.
    call.cancel();
    equal(await ended.promise, 1);
    await within(told.promise, "the cancellation");
  } finally {
    client.close();
    await server.close(0);
  }
});

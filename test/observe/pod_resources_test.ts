import { deepEqual, equal, match } from "@std/assert";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { PodResources, type PodsAnswer, podsByDevice } from "../../src/kubelet/pod_resources.ts";
import { temporaryDir } from "../support/temp.ts";
import { RESOURCE } from "../support/kubelet.ts";
import { pod, servePods } from "../support/rig.ts";

async function holdersOf(socket: string) {
  const answer = await podsByDevice(socket, 60_000);
  if (!answer.ok) throw new Error(answer.reason);
  return answer.holders;
}

Deno.test("podsByDevice() turns the kubelet's list round: by resource and device", async () => {
  using dir = temporaryDir();
  const socket = join(dir.path, "s");
  const pods = [pod("a", "one", ["mlx5_0", "mlx5_1"]), pod("b", "two", ["mlx5_1"]), pod("c", "gpu", ["0"], "x/gpu")];
  await using _ = await servePods(socket, () => pods);
  const holders = await holdersOf(socket);
  deepEqual([...holders.keys()], [RESOURCE, "x/gpu"]);
  const held = holders.get(RESOURCE)!;
  deepEqual(held.get("mlx5_0"), [{ namespace: "a", pod: "one", container: "main" }]);
  deepEqual(held.get("mlx5_1")?.map((one) => `${one.namespace}/${one.pod}`), ["a/one", "b/two"]);
});

Deno.test("podsByDevice() takes an answer of several MiB, as thousands of shares make it", async () => {
  using dir = temporaryDir();
  const socket = join(dir.path, "s");
  const ids = Array.from({ length: 100_000 }, (_, n) => `a-rather-long-device-identifier-of-the-share-number-${n}`);
  await using _ = await servePods(socket, () => [pod("a", "one", ids)]);
  equal((await holdersOf(socket)).get(RESOURCE)?.size, ids.length);
});

Deno.test("podsByDevice() says in a sentence why it knows nothing, and never rejects", async () => {
  using dir = temporaryDir();
  const reason = async (socket: string, ms?: number) => {
    const answer = await podsByDevice(socket, ms);
    return answer.ok ? "it answered" : answer.reason;
  };
  match(await reason(join(dir.path, "none")), /none does not exist; mount the directory/);

  const file = join(dir.path, "file");
  writeFileSync(file, "");
  match(await reason(file), /^no one answers on .*file; the kubelet is down/);

  const silent = join(dir.path, "silent");
  const server = createServer((socket) => socket.resume());
  await new Promise<void>((resolve) => server.listen(silent, resolve));
  match(await reason(silent, 200), /did not answer on .*silent within 0.2 s|no one answers/);
  // The caller has hung up: a kubelet that hangs would collect a connection from each.
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
});

Deno.test("PodResources asks once for many, keeps the answer for a while, and counts failures", async () => {
  const answers: PodsAnswer[] = [{ ok: false, reason: "x" }, { ok: true, holders: new Map(), claimed: [] }];
  let asked = 0;
  const lister = { list: () => Promise.resolve(answers[asked++]!), close: () => Promise.resolve() };
  const kept = new PodResources(lister, 60_000);
  const [one, two] = await Promise.all([kept.get(), kept.get()]);
  equal(one, two);
  equal(await kept.get(), one);
  equal(asked, 1);
  equal(kept.failures, 1);

  asked = 0;
  const fresh = new PodResources(lister, 0);
  equal((await fresh.get()).ok, false);
  equal((await fresh.get()).ok, true);
});

Deno.test({
  name: "podsByDevice() answers that it knows nothing where the sandbox hides the socket",
  permissions: { read: [] },
  fn: async () => {
    const answer = await podsByDevice("/nowhere/kubelet.sock");
    match(answer.ok ? "it answered" : answer.reason, /^\/nowhere\/kubelet\.sock does not exist/);
  },
});

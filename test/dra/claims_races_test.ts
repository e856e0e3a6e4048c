import { deepEqual, doesNotMatch, equal, match, ok } from "@std/assert";
import { readFileSync, writeFileSync } from "node:fs";
import type { CdiSpec } from "../../src/pool/cdi.ts";
import type { Claims } from "../../src/dra/claims.ts";
import { DISK, type Disk } from "../../src/dra/claim_files.ts";
import type { ClaimRef } from "../../src/dra/claim_record.ts";
import type { ClaimedDevice } from "../../src/kubelet/pod_resources.ts";
import { claim, ClaimNode, ref, result } from "../support/claims.ts";
import { DRIVER } from "../support/dra.ts";
import { hca } from "../support/hcas.ts";

const A = "pci-0000-00-00-0", B = "pci-0000-01-00-0";
const uverbs = (n: number) => ({ name: `uverbs${n}`, dev: `231:${192 + n}`, abiVersion: 1, present: true });

async function refused(claims: Claims, one: ClaimRef): Promise<string> {
  const answer = await claims.prepare(one);
  return answer.ok ? "it was prepared" : answer.reason;
}

function cdi(node: ClaimNode, uid: string): CdiSpec {
  return JSON.parse(readFileSync(node.files().cdiPath(uid), "utf8")) as CdiSpec;
}

function hostPaths(node: ClaimNode, uid: string): readonly string[] {
  return cdi(node, uid).devices.flatMap((one) => one.containerEdits.deviceNodes ?? []).map((one) => one.hostPath!);
}

/** A claim as the kubelet's PodResources shows it. */
function inUse(uid: string, device = A): ClaimedDevice {
  return {
    namespace: "default",
    pod: "p",
    container: "c",
    claimNamespace: "default",
    claim: `claim-${uid}`,
    driver: DRIVER,
    pool: "node-1",
    device,
  };
}

Deno.test("unprepare() ends a prepare of the same claim that is still waiting: nothing is written after it", async () => {
  using node = new ClaimNode([hca(0)]);
  node.patienceMs = 60_000;
  const claims = node.start();
  ok((await claims.prepare(node.put(claim("u-1", [result(A)])))).ok);
  // The pod of u-2 is deleted while its prepare waits for the HCA.
  const waiting = refused(claims, node.put(claim("u-2", [result(A)])));
  equal(await claims.unprepare(ref("u-2")), null);
  match(await waiting, /claim default\/claim-u-2: .*cancelled the prepare/);
  equal(await claims.unprepare(ref("u-1")), null);
  deepEqual([node.recordNames, node.cdiNames], [[], []]);
});

Deno.test("a prepare whose call was cancelled writes nothing, although the API server answers later", async () => {
  using node = new ClaimNode([hca(0)]);
  const claims = node.start();
  const gate = Promise.withResolvers<void>();
  node.delay = gate.promise;
  const call = new AbortController();
  const prepared = claims.prepare(node.put(claim("u-1", [result(A)])), { signal: call.signal, begun: 0 });
  call.abort();
  gate.resolve();
  equal((await prepared).ok, false);
  deepEqual([node.recordNames, node.cdiNames], [[], []]);
});

Deno.test("prepare() tries again while the API server or the kubelet does not answer: a refused pod would wait a minute", async () => {
  using node = new ClaimNode([hca(0), hca(1)]);
  node.patienceMs = 60_000;
  const claims = node.start();
  node.apiDown = true;
  const first = claims.prepare(node.put(claim("u-1", [result(A)])));
  await node.asked;
  node.apiDown = false;
  ok((await first).ok);
  node.podsKnown = false;
  const second = claims.prepare(node.put(claim("u-2", [result(B)])));
  await node.asked;
  node.podsKnown = true;
  ok((await second).ok);
  // A claim that is not there, or not allowed to be read, does not come back by waiting.
  match(await refused(claims, ref("u-3")), /not found/);
  node.apiRefuses = 403;
  match(await refused(claims, ref("u-3")), /forbidden/);
});

Deno.test("removeAbandoned() never takes what is prepared while it asks", async () => {
  using node = new ClaimNode([hca(0), hca(1)]);
  const claims = node.start();
  ok((await claims.prepare(node.put(claim("u-1", [result(A)])))).ok);
  node.api.clear();
  await claims.removeAbandoned([]);
  node.now += 600_000;
  const gate = Promise.withResolvers<void>();
  node.delay = gate.promise;
  const removing = claims.removeAbandoned([]);
  node.delay = Promise.resolve();
  ok((await claims.prepare(node.put(claim("u-2", [result(B)])))).ok);
  gate.resolve();
  await removing;
  deepEqual(node.recordNames, ["u-2.json"]);
  deepEqual(node.cdiNames, ["rdma.tencent.com-claim_u-2.json"]);
});

Deno.test("removeAbandoned() leaves the kubelet the time to unprepare, and is not misled by a name that was used again", async () => {
  using node = new ClaimNode([hca(0), hca(1)]);
  const claims = node.start();
  ok((await claims.prepare(node.put(claim("u-1", [result(A)])))).ok);
  node.api.clear();
  // The pod was deleted by force: neither API server nor PodResources know it, and its containers may still run.
  await claims.removeAbandoned([]);
  node.now += 60_000;
  await claims.removeAbandoned([]);
  deepEqual(node.recordNames, ["u-1.json"]);
  // A claim of the same name that another pod has.
  node.api.set("default/claim-u-1", { ...claim("u-9", []), metadata: { ...claim("u-1", []).metadata, uid: "u-9" } });
  node.now += 600_000;
  await claims.removeAbandoned([inUse("u-1", B)]);
  deepEqual(node.recordNames, []);
});

Deno.test("removeAbandoned() asks again when the API server was away, and leaves files of claims in use", async () => {
  using node = new ClaimNode([hca(0)]);
  const claims = node.start();
  ok((await claims.prepare(node.put(claim("u-1", [result(A)])))).ok);
  node.api.clear();
  node.apiDown = true;
  await claims.removeAbandoned([]);
  node.now += 600_000;
  await claims.removeAbandoned([]);
  equal(node.recordNames.length, 1);
  node.apiDown = false;
  await claims.removeAbandoned([inUse("u-1")]);
  equal(node.recordNames.length, 1);
  await claims.removeAbandoned([]);
  node.now += 600_000;
  await claims.removeAbandoned([]);
  deepEqual(node.recordNames, []);
});

Deno.test("a CDI file without a record goes after a while, one whose record cannot be read stays", async () => {
  using node = new ClaimNode([hca(0), hca(1)]);
  const claims = node.start();
  for (const [uid, device] of [["u-1", A], ["u-2", B]] as const) {
    ok((await claims.prepare(node.put(claim(uid, [result(device)])))).ok);
  }
  writeFileSync(`${node.driverDir}/claims/u-1.json`, "{");
  DISK.remove(`${node.driverDir}/claims/u-2.json`);
  await claims.removeAbandoned([]);
  equal(node.cdiNames.length, 2);
  node.now += 600_000;
  await claims.removeAbandoned([]);
  deepEqual(node.cdiNames, ["rdma.tencent.com-claim_u-1.json"]);
  deepEqual(node.recordNames, ["u-1.json"]);
});

Deno.test("refresh() never leaves a claim the node of another HCA, when its own is gone and the number was used again", async () => {
  using node = new ClaimNode([hca(0), hca(1)]);
  const claims = node.start();
  ok((await claims.prepare(node.put(claim("u-1", [result(A)])))).ok);
  deepEqual(hostPaths(node, "u-1"), ["/dev/infiniband/uverbs0"]);
  // The function of mlx5_0 is gone, and the kernel gives its number to the next HCA.
  node.hcas = [hca(1, { uverbs: uverbs(0) })];
  await claims.refresh();
  // A runtime that is asked to start the container says which HCA is missing, and starts nothing.
  deepEqual(hostPaths(node, "u-1"), ["/dev/infiniband/mlx5_0-is-gone"]);
  node.hcas = [hca(0, { uverbs: uverbs(5) }), hca(1, { uverbs: uverbs(0) })];
  await claims.refresh();
  deepEqual(hostPaths(node, "u-1"), ["/dev/infiniband/uverbs5"]);
});

Deno.test("without the API server a claim is prepared again with the nodes that are right now", async () => {
  using node = new ClaimNode([hca(0), hca(1)]);
  const claims = node.start();
  const one = node.put(claim("u-1", [result(A)]));
  ok((await claims.prepare(one)).ok);
  // Both were reloaded in another order, and no scan has seen it yet.
  const swapped = [hca(0, { uverbs: uverbs(1) }), hca(1, { uverbs: uverbs(0) })];
  node.writeSysfs(swapped);
  node.next = swapped;
  node.apiDown = true;
  ok((await claims.prepare(one)).ok);
  deepEqual(hostPaths(node, "u-1"), ["/dev/infiniband/uverbs1"]);
});

Deno.test("what was prepared can be prepared again when the API server refuses the plugin, and nothing new can", async () => {
  using node = new ClaimNode([hca(0), hca(1)]);
  const claims = node.start();
  const one = node.put(claim("u-1", [result(A)]));
  const first = await claims.prepare(one);
  node.apiRefuses = 403;
  deepEqual(await claims.prepare(one), first);
  match(await refused(claims, node.put(claim("u-2", [result(B)]))), /refused/);
});

Deno.test("a record that cannot be read still holds what its CDI file says, and without one nothing is given away", async () => {
  using node = new ClaimNode([hca(0), hca(1)]);
  const claims = node.start();
  const one = node.put(claim("u-1", [result(A)]));
  ok((await claims.prepare(one)).ok);
  writeFileSync(`${node.driverDir}/claims/u-1.json`, "{");
  match(await refused(claims, node.put(claim("u-2", [result(A)]))), /mlx5_0\) .*u-1\.json, which cannot be read/);
  const other = node.put(claim("u-3", [result(B)]));
  ok((await claims.prepare(other)).ok, "another device");
  equal(await claims.unprepare(other), null);
  DISK.remove(node.files().cdiPath("u-1"));
  match(await refused(claims, other), /u-1\.json, which cannot be read/);
  // Its own claim repairs it.
  ok((await claims.prepare(one)).ok);
  ok((await claims.prepare(other)).ok);
});

Deno.test("refresh() writes the CDI file although the disk of the records is full", async () => {
  using node = new ClaimNode([hca(0)]);
  ok((await node.start().prepare(node.put(claim("u-1", [result(A)])))).ok);
  node.hcas = [hca(0, { uverbs: uverbs(7) })];
  const full: Disk = {
    ...DISK,
    write: (path, ...rest) => {
      if (path.includes("/claims/")) throw new Error("ENOSPC: no space left on device");
      DISK.write(path, ...rest);
    },
  };
  await node.start(full).refresh();
  deepEqual(hostPaths(node, "u-1"), ["/dev/infiniband/uverbs7"]);
});

Deno.test("prepare() again writes no record when nothing changed: a full disk does not keep a pod from restarting", async () => {
  using node = new ClaimNode([hca(0)]);
  const one = node.put(claim("u-1", [result(A)]));
  const first = await node.start().prepare(one);
  const full: Disk = {
    ...DISK,
    write: () => {
      throw new Error("ENOSPC: no space left on device");
    },
  };
  deepEqual(await node.start(full).prepare(one), first);
});

Deno.test("a CDI directory that cannot be written keeps the pod from starting, with the reason, and its end frees the HCA", async () => {
  using node = new ClaimNode([hca(0)]);
  const readOnly: Disk = {
    ...DISK,
    makeDirectory: (path, mode) => {
      if (path === node.cdiDir) throw new Error(`EROFS: read-only file system, mkdir '${path}'`);
      DISK.makeDirectory(path, mode);
    },
  };
  const claims = node.start(readOnly);
  const one = node.put(claim("u-1", [result(A)]));
  match(await refused(claims, one), /claim default\/claim-u-1: EROFS: read-only file system/);
  equal(await claims.unprepare(one), null);
  deepEqual(node.recordNames, []);
  doesNotMatch(await refused(node.start(), node.put(claim("u-2", [result(A)]))), /held/);
});

Deno.test("a claim that was made again under its name gets its HCA when the old one is unprepared", async () => {
  using node = new ClaimNode([hca(0)]);
  const claims = node.start();
  const old = node.put(claim("u-1", [result(A)]));
  ok((await claims.prepare(old)).ok);
  const again = { ...claim("u-2", [result(A)]), metadata: { ...claim("u-1", []).metadata, uid: "u-2" } };
  node.api.set("default/claim-u-1", again);
  const next = { ...old, uid: "u-2" };
  match(await refused(claims, next), /held by claim default\/claim-u-1 of before \(UID u-1\)/);
  match(await refused(claims, old), /was replaced/);
  equal(await claims.unprepare(old), null);
  ok((await claims.prepare(next)).ok);
});

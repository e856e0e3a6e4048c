import { deepEqual, equal, match, ok } from "@std/assert";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import type { Claims, PrepareAnswer } from "../../src/dra/claims.ts";
import { DISK, type Disk } from "../../src/dra/claim_files.ts";
import type { CdiSpec } from "../../src/pool/cdi.ts";
import type { ClaimRef } from "../../src/dra/claim_record.ts";
import { draSpec } from "../support/dra.ts";
import { hca, port } from "../support/hcas.ts";
import { claim, ClaimNode, ref, result } from "../support/claims.ts";

const A = "pci-0000-00-00-0", B = "pci-0000-01-00-0";
const SHARED = draSpec({ mode: { kind: "shared", shares: 4, of: "one" } });

async function refused(claims: Claims, one: ClaimRef): Promise<string> {
  const answer = await claims.prepare(one);
  return answer.ok ? "it was prepared" : answer.reason;
}

function devicesOf(answer: PrepareAnswer) {
  if (!answer.ok) throw new Error(answer.reason);
  return answer.devices;
}

function cdi(node: ClaimNode, uid: string): CdiSpec {
  return JSON.parse(readFileSync(node.files().cdiPath(uid), "utf8")) as CdiSpec;
}

Deno.test("prepare() writes a CDI file for the claim and names its devices in it", async () => {
  using node = new ClaimNode([hca(0), hca(1)]);
  const claims = node.start();
  const one = node.put(claim("u-1", [result(B), result("gpu-0", { driver: "gpu.example", request: "gpu" })]));
  deepEqual(devicesOf(await claims.prepare(one)), [{
    requests: ["nic"],
    pool: "node-1",
    device: B,
    shareID: null,
    cdiIds: ["rdma.tencent.com/hca=u-1-mlx5_1"],
  }]);
  deepEqual(node.cdiNames, ["rdma.tencent.com-claim_u-1.json"]);
  const spec = cdi(node, "u-1");
  equal(spec.kind, "rdma.tencent.com/hca");
  deepEqual(spec.devices[0]!.containerEdits.deviceNodes?.map((one) => one.path), ["/dev/infiniband/uverbs1"]);
  deepEqual(spec.containerEdits.deviceNodes?.map((one) => one.path), ["/dev/infiniband/rdma_cm"]);
  const env = [...spec.devices[0]!.containerEdits.env ?? [], ...spec.containerEdits.env ?? []];
  ok(env.includes("RDMA_HCA_MLX5_1=/dev/infiniband/uverbs1"), env.join());
  ok(env.includes("RDMA_HCAS_NIC=mlx5_1"), env.join());
  ok(env.includes("RDMA_HCAS=mlx5_1"), env.join());
});

Deno.test("prepare() of two requests gives each its variables, and sets the short names for none", async () => {
  using node = new ClaimNode([hca(0), hca(1), hca(2)]);
  const one = node.put(claim("u-1", [
    result(A, { request: "left" }),
    result(B, { request: "right/big" }),
    result("pci-0000-02-00-0", { request: "right/big" }),
  ]));
  const devices = devicesOf(await node.start().prepare(one));
  deepEqual(devices.map((one) => one.requests), [["left"], ["right"], ["right"]]);
  const spec = cdi(node, "u-1");
  equal(spec.containerEdits.env, undefined);
  ok(spec.devices[1]!.containerEdits.env!.includes("RDMA_HCAS_RIGHT=mlx5_1,mlx5_2"));
  ok(!JSON.stringify(spec.devices[0]).includes("RIGHT"));
});

Deno.test("prepare() again gives the same answer and touches nothing that is right", async () => {
  using node = new ClaimNode([hca(0)]);
  const claims = node.start();
  const one = node.put(claim("u-1", [result(A)]));
  const first = await claims.prepare(one);
  deepEqual(await claims.prepare(one), first);
  // A reboot takes the CDI directory, and the record survives.
  rmSync(node.cdiDir, { recursive: true });
  deepEqual(await node.start().prepare(one), first);
  equal(node.cdiNames.length, 1);
});

Deno.test("prepare() refuses a device that another claim has, and says which", async () => {
  using node = new ClaimNode([hca(0), hca(1)]);
  const claims = node.start();
  ok((await claims.prepare(node.put(claim("u-1", [result(A)])))).ok);
  const second = node.put(claim("u-2", [result(B), result(A, { request: "other" })]));
  equal(
    await refused(claims, second),
    "claim default/claim-u-2: pci-0000-00-00-0 (mlx5_0) is held by claim default/claim-u-1",
  );
  deepEqual(node.recordNames, ["u-1.json"]);
  const admin = node.put(claim("u-3", [result(A, { adminAccess: true })]));
  ok((await claims.prepare(admin)).ok, "admin access watches what others have");
  equal(await claims.unprepare(ref("u-1")), null);
  ok((await claims.prepare(second)).ok);
});

Deno.test("prepare() gives shares of one device to several claims, and not to one that wants it alone", async () => {
  using node = new ClaimNode([hca(0)], SHARED);
  const claims = node.start();
  const share = (uid: string) =>
    node.put(claim(uid, [result(A, { shareID: `s-${uid}`, consumedCapacity: { shares: "1" } })]));
  const first = devicesOf(await claims.prepare(share("u-1")));
  equal(first[0]!.shareID, "s-u-1");
  deepEqual(first[0]!.cdiIds, ["rdma.tencent.com/hca=u-1-mlx5_0-s-u-1"]);
  ok((await claims.prepare(share("u-2"))).ok);
  match(await refused(claims, node.put(claim("u-3", [result(A)]))), /mlx5_0\) is held by claim default\/claim-u-1/);
});

Deno.test("prepare() refuses an HCA that a pod has through the device plugin, whatever the scheduler believes", async () => {
  using node = new ClaimNode([hca(0)]);
  node.heldBy.set("mlx5_0", "pod default/s1 through tencent.com/rdma");
  const claims = node.start();
  const s2 = node.put(claim("s2", [result(A)]));
  equal(
    await refused(claims, s2),
    "claim default/claim-s2: pci-0000-00-00-0 (mlx5_0) is held by pod default/s1 through tencent.com/rdma",
  );
  deepEqual(node.recordNames, []);
  node.podsKnown = false;
  match(await refused(claims, s2), /is not known: the socket is not there/);
  node.podsKnown = true;
  node.heldBy.clear();
  ok((await claims.prepare(s2)).ok);
});

Deno.test("prepare() says what is wrong with a claim, a device, or a UID", async () => {
  const nodeless = hca(1, { uverbs: { name: "uverbs1", dev: null, abiVersion: 1, present: false } });
  using node = new ClaimNode([hca(0), nodeless]);
  const claims = node.start();
  match(await refused(claims, ref("u-1")), /claim default\/claim-u-1: the API server refused: .* not found/);
  node.put(claim("u-1", [result(A)]));
  match(await refused(claims, { ...ref("u-1"), uid: "u-2" }), /was replaced: the API server has UID u-1/);
  match(await refused(claims, node.put({ metadata: claim("u-3", []).metadata })), /is not allocated/);
  match(await refused(claims, node.put(claim("u-4", [result("pci-0000-99-00-0")]))), /is not on this node/);
  match(
    await refused(claims, node.put(claim("u-5", [result(A, { pool: "n2" })]))),
    /is in pool n2, and this node's is node-1/,
  );
  match(
    await refused(claims, node.put(claim("u-6", [result(B)]))),
    /mlx5_1\) cannot be used: .*uverbs1 does not exist/,
  );
  match(await refused(claims, { ...ref("u-7"), uid: "../../etc/passwd" }), /is not a valid UID/);
  equal(await claims.unprepare({ ...ref("u-7"), uid: "../u-1" }), null);
});

Deno.test("prepare() takes an HCA whose link is down: a claim that tolerates the taint may have it", async () => {
  using node = new ClaimNode([hca(0, { ports: [port(1, { state: "DOWN" })] })]);
  ok((await node.start().prepare(node.put(claim("u-1", [result(A)])))).ok);
});

Deno.test("prepare() goes by RdmaConfig: strict, the class first, and no more privilege than the class gives", async () => {
  using node = new ClaimNode([hca(0)]);
  const claims = node.start();
  const config = (source: "FromClass" | "FromClaim", parameters: object) => ({
    source,
    opaque: {
      driver: "rdma.tencent.com",
      parameters: { apiVersion: "rdma.tencent.com/v1alpha1", kind: "RdmaConfig", ...parameters },
    },
  });
  const nodesOf = (uid: string) =>
    [...cdi(node, uid).devices[0]!.containerEdits.deviceNodes ?? [], ...cdi(node, uid).containerEdits.deviceNodes ?? []]
      .map((one) => one.path.split("/").at(-1));
  const run = async (uid: string, ...configs: Parameters<typeof claim>[2] & object) => {
    const answer = await claims.prepare(node.put(claim(uid, [result(A)], configs)));
    const nodes = answer.ok ? nodesOf(uid) : answer.reason;
    await claims.unprepare(ref(uid));
    return nodes;
  };
  const MAD = { devices: ["uverbs", "umad", "rdma_cm"] };
  deepEqual(await run("u-1"), ["uverbs0", "rdma_cm"]);
  deepEqual(await run("u-2", config("FromClass", MAD)), ["uverbs0", "umad0", "rdma_cm"]);
  deepEqual(await run("u-3", config("FromClaim", { devices: ["uverbs"] }), config("FromClass", MAD)), ["uverbs0"]);
  match(
    String(await run("u-4", config("FromClaim", MAD))),
    /request nic: the claim asks for umad, which only a DeviceClass can give/,
  );
  match(
    String(await run("u-5", config("FromClass", { device: [] }))),
    /parameters of the DeviceClass are not understood: .*device/,
  );
  deepEqual(await run("u-6", { source: "FromClass", opaque: { driver: "other.example", parameters: 7 } }), [
    "uverbs0",
    "rdma_cm",
  ]);
  deepEqual(await run("u-7", { ...config("FromClass", MAD), requests: ["other"] }), ["uverbs0", "rdma_cm"]);
  await claims.prepare(node.put(claim("u-8", [result(A)], [config("FromClaim", { env: false })])));
  equal(JSON.stringify(cdi(node, "u-8")).includes("RDMA_"), false);
  node.spec = draSpec({ expose: { ...draSpec().expose, umad: false } });
  await claims.unprepare(ref("u-8"));
  match(String(await run("u-9", config("FromClass", MAD))), /gives umad, and the node's configuration .* does not/);
});

Deno.test("without the API server what was prepared can be prepared again, and unprepare works", async () => {
  using node = new ClaimNode([hca(0), hca(1)]);
  const claims = node.start();
  const one = node.put(claim("u-1", [result(A)]));
  const other = node.put(claim("u-2", [result(B)]));
  const first = await claims.prepare(one);
  node.apiDown = true;
  deepEqual(await claims.prepare(one), first);
  match(await refused(claims, other), /claim default\/claim-u-2: the API server .* cannot be reached/);
  equal(await claims.unprepare(one), null);
  equal(await claims.unprepare(other), null, "a claim that was never prepared");
  deepEqual([node.recordNames, node.cdiNames], [[], []]);
});

Deno.test("prepare() asks the machine when sysfs says something else than the last scan", async () => {
  using node = new ClaimNode([hca(0)]);
  const moved = hca(0, { uverbs: { name: "uverbs7", dev: "231:199", abiVersion: 1, present: true } });
  rmSync(node.sysfsRoot, { recursive: true });
  node.writeSysfs([moved]);
  node.next = [moved];
  const claims = node.start();
  ok((await claims.prepare(node.put(claim("u-1", [result(A)])))).ok);
  equal(node.rescans, 1);
  match(JSON.stringify(cdi(node, "u-1")), /uverbs7/);
  rmSync(node.sysfsRoot, { recursive: true });
  match(await refused(claims, node.put(claim("u-1", [result(A)]))), /nodes of mlx5_0 are changing right now/);
});

Deno.test("refresh() follows renumbered nodes and renames under the name that the kubelet knows", async () => {
  using node = new ClaimNode([hca(0)]);
  const claims = node.start();
  ok((await claims.prepare(node.put(claim("u-1", [result(A)])))).ok);
  node.hcas = [hca(0, { name: "rocep0", uverbs: { name: "uverbs9", dev: "231:201", abiVersion: 1, present: true } })];
  node.writeSysfs(node.hcas);
  await claims.refresh();
  const renamed = cdi(node, "u-1");
  equal(renamed.devices[0]!.name, "u-1-mlx5_0");
  match(JSON.stringify(renamed), /uverbs9/);
  deepEqual(devicesOf(await claims.prepare(ref("u-1")))[0]!.cdiIds, ["rdma.tencent.com/hca=u-1-mlx5_0"]);
});

Deno.test("a record that cannot be read is left alone and named", async () => {
  using node = new ClaimNode([hca(0)]);
  const claims = node.start();
  ok((await claims.prepare(node.put(claim("u-1", [result(A)])))).ok);
  writeFileSync(`${node.driverDir}/claims/u-9.json`, "{");
  equal(node.files().read().unreadable.length, 1);
  await claims.refresh();
  deepEqual(node.recordNames, ["u-1.json", "u-9.json"]);
});

/** A disk on which the process dies before the n-th operation. */
function dyingDisk(n: number): Disk & { readonly died: () => boolean } {
  let left = n;
  let dead = false;
  const step = <A extends unknown[]>(work: (...args: A) => void) => (...args: A) => {
    if (dead || left-- <= 0) {
      dead = true;
      throw new Error("killed");
    }
    work(...args);
  };
  return {
    write: step(DISK.write),
    rename: step(DISK.rename),
    remove: step(DISK.remove),
    makeDirectory: step(DISK.makeDirectory),
    died: () => dead,
  };
}

Deno.test("prepare() may be killed at every step: the next process goes on, and no one else gets the device meanwhile", async () => {
  for (let n = 0;; n++) {
    using node = new ClaimNode([hca(0)]);
    const disk = dyingDisk(n);
    const one = node.put(claim("u-1", [result(A)]));
    const answer = await node.start(disk).prepare(one);
    if (!disk.died()) {
      ok(answer.ok);
      ok(n >= 8, `there were only ${n} steps`);
      break;
    }
    ok(!answer.ok);
    const next = node.start();
    node.files().removeLitter();
    if (node.recordNames.includes("u-1.json")) {
      match(await refused(next, node.put(claim("u-2", [result(A)]))), /is held by claim default\/claim-u-1/);
    }
    await next.refresh();
    ok((await next.prepare(one)).ok, `after ${n} steps`);
    deepEqual([node.recordNames.length, node.cdiNames.length], [1, 1]);
    equal(await next.unprepare(one), null);
    deepEqual([node.recordNames, node.cdiNames], [[], []]);
  }
});

Deno.test("unprepare() may be killed at every step, too", async () => {
  for (let n = 0;; n++) {
    using node = new ClaimNode([hca(0)]);
    const one = node.put(claim("u-1", [result(A)]));
    ok((await node.start().prepare(one)).ok);
    const disk = dyingDisk(n);
    const trouble = await node.start(disk).unprepare(one);
    if (!disk.died()) {
      equal(trouble, null);
      break;
    }
    match(trouble ?? "", /killed/);
    const next = node.start();
    await next.refresh();
    equal(await next.unprepare(one), null, `after ${n} steps`);
    deepEqual([node.recordNames, node.cdiNames], [[], []]);
  }
});

Deno.test("prepare() waits for an HCA that is being given back, by a claim or by a pod of the device plugin", async () => {
  using node = new ClaimNode([hca(0)]);
  node.patienceMs = 60_000;
  const claims = node.start();
  ok((await claims.prepare(node.put(claim("u-1", [result(A)])))).ok);
  // The pod was deleted without grace: the scheduler is ahead of the kubelet.
  const second = claims.prepare(node.put(claim("u-2", [result(A)])));
  equal(await claims.unprepare(ref("u-1")), null);
  ok((await second).ok);
  equal(await claims.unprepare(ref("u-2")), null);
  node.heldBy.set("mlx5_0", "pod default/s1 through tencent.com/rdma");
  const third = claims.prepare(node.put(claim("u-3", [result(A)])));
  node.heldBy.clear();
  ok((await third).ok);
});

import { deepEqual, equal } from "@std/assert";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { VerbsAnswer } from "../../src/hca/types.ts";
import { whereNodesAre, whoseTreeItReads } from "../../src/hca/verbs_nodes.ts";
import { temporaryDir } from "../support/temp.ts";

/** Two places for nodes, and a library that counts how often it is asked. */
function places(dir: string) {
  const [host, own] = ["host", "own"].map((name) => join(dir, name)) as [string, string];
  const answer: VerbsAnswer = { kind: "empty" };
  const library = { asked: 0, disposed: 0 };
  const verbs = {
    list: () => Promise.resolve((library.asked++, answer)),
    [Symbol.dispose]: () => void library.disposed++,
  };
  const put = (root: string, ...names: string[]) => {
    rmSync(join(root, "infiniband"), { recursive: true, force: true });
    mkdirSync(join(root, "infiniband"), { recursive: true });
    for (const name of names) writeFileSync(join(root, "infiniband", name), "");
  };
  return { host, own, library, put, verbs, aside: whereNodesAre(verbs, host, own) };
}

Deno.test("whereNodesAre() asks the library only while it can see every node that the host has", async () => {
  using dir = temporaryDir();
  const { host, own, library, put, aside } = places(dir.path);
  put(host, "uverbs0", "uverbs1", "rdma_cm");
  const refusal: VerbsAnswer = {
    kind: "not-asked",
    detail: `it looks for nodes in ${own}/infiniband, and they are in ${host}/infiniband`,
  };
  deepEqual(await aside.list(), refusal); // no such directory: the shipped pod
  put(own, "uverbs0", "uverbs1");
  deepEqual(await aside.list(), { kind: "empty" }); // mounted there as well
  put(own);
  deepEqual(await aside.list(), refusal); // a mount that went stale with the last HCA
  put(own, "uverbs0");
  deepEqual(await aside.list(), refusal); // and one from before a driver was loaded
  equal(library.asked, 1);
});

Deno.test("whereNodesAre() asks on a host without nodes, and always where both look at the same place", async () => {
  using dir = temporaryDir();
  const { host, own, library, put, verbs, aside } = places(dir.path);
  put(host);
  deepEqual(await aside.list(), { kind: "empty" });
  put(host, "uverbs0");
  deepEqual(await whereNodesAre(verbs, host, host).list(), { kind: "empty" });
  put(own);
  equal(library.asked, 2);
  aside[Symbol.dispose]();
  equal(library.disposed, 1);
});

Deno.test("whoseTreeItReads() asks about a tree on a disk only while the kernel has no RDMA, and always about the kernel's", async () => {
  using dir = temporaryDir();
  const { host, library, verbs } = places(dir.path);
  const kernels = join(dir.path, "infiniband");
  const aside = whoseTreeItReads(verbs, host, kernels);
  deepEqual(await aside.list(), { kind: "empty" });
  mkdirSync(kernels);
  deepEqual(await aside.list(), {
    kind: "not-asked",
    detail: `it asks this machine's kernel, which has RDMA, and not ${host}`,
  });
  equal(library.asked, 1);
  deepEqual(await whoseTreeItReads(verbs, "/sys", kernels).list(), { kind: "empty" });
  aside[Symbol.dispose]();
  equal(library.disposed, 1);
});

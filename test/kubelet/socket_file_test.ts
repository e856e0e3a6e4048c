import { deepEqual, doesNotThrow, equal, ok, throws } from "@std/assert";
import { lstatSync, mkdirSync, readdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { basename, join } from "node:path";
import { nameProblem } from "../../src/config/name.ts";
import {
  checkSocketPath,
  identityOf,
  linkHidden,
  moveIntoPlace,
  removeIfOurs,
  socketName,
  sweep,
  temporaryPath,
} from "../../src/kubelet/socket_file.ts";
import { probeSocket } from "../../src/kubelet/socket_probe.ts";
import { temporaryDir } from "../support/temp.ts";

/** A socket at `path`; when it is closed its file stays, as a killed process leaves it. */
async function socketAt(path: string): Promise<Server> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(`${path}~`, resolve));
  renameSync(`${path}~`, path);
  return server;
}

const closed = (server: Server) => new Promise<void>((resolve) => void server.close(() => resolve()));

async function deadSocketAt(path: string): Promise<void> {
  await closed(await socketAt(path));
}

Deno.test("every extended resource name has a socket of its own in the kubelet's directories", () => {
  // As long as the kubelet accepts: a domain of 243 characters and a name of 63.
  const domain = `${"a".repeat(60)}.${"b".repeat(60)}.${"c".repeat(60)}.${"d".repeat(60)}`;
  const names = [
    "tencent.com/rdma",
    `${domain}/${"e".repeat(62)}1`,
    `${domain}/${"e".repeat(62)}2`,
    "a.b/x_y",
    "a.b/x.y",
  ];
  deepEqual(names.map(nameProblem), names.map(() => null));
  for (const dir of ["/var/lib/kubelet/device-plugins", "/var/lib/kubelet/plugins_registry"]) {
    const paths = names.map((name) => join(dir, socketName(name)));
    for (const path of paths) doesNotThrow(() => checkSocketPath(path));
    equal(new Set(paths).size, names.length);
  }
  equal(socketName("tencent.com/rdma"), "rdma-tencent.com_rdma.sock");
});

Deno.test("temporaryPath() is hidden, new each time, and never longer than the socket's own path", () => {
  for (const resource of ["a/b", "tencent.com/rdma"]) {
    const path = join("/k", socketName(resource));
    const made = new Set(Array.from({ length: 50 }, () => temporaryPath(path)));
    ok(made.size > 45);
    for (const one of made) {
      ok(basename(one).startsWith(".rdma"), one);
      ok(one.length <= path.length, one);
    }
  }
});

Deno.test("sweep() removes dead hidden sockets of the same endpoint, and nothing else", async () => {
  using dir = temporaryDir();
  const path = join(dir.path, socketName("tencent.com/rdma"));
  await deadSocketAt(path);
  for (let i = 0; i < 5; i++) await deadSocketAt(temporaryPath(path));
  const alive = await socketAt(temporaryPath(path));
  await deadSocketAt(temporaryPath(join(dir.path, socketName("tencent.com/other"))));
  await deadSocketAt(join(dir.path, ".38lwo6v"));
  await deadSocketAt(`${temporaryPath(path)}longer`);
  writeFileSync(temporaryPath(path), "precious");
  mkdirSync(temporaryPath(path));
  symlinkSync(path, temporaryPath(path));
  const before = readdirSync(dir.path).length;
  equal(await sweep(path), 5);
  equal(readdirSync(dir.path).length, before - 5);
  equal(await sweep(path), 0);
  ok(lstatSync(path).isSocket());
  await closed(alive);
  equal(await sweep(path), 1, "the one that was alive");
});

Deno.test("linkHidden() gives a socket a second name that reaches it, and its identity is the same before and after", async () => {
  using dir = temporaryDir();
  const path = join(dir.path, socketName("tencent.com/rdma"));
  const server = await socketAt(path);
  const identity = identityOf(path);
  const hidden = linkHidden(path);
  ok(hidden !== null && hidden !== path && hidden.length <= path.length);
  equal(await probeSocket(hidden), "answers");
  equal(identityOf(hidden), identity);
  removeIfOurs(hidden, identity);
  equal(readdirSync(dir.path).length, 1);
  equal(identityOf(path), identity);
  const left = linkHidden(path);
  equal(await sweep(path), 0, "it reaches a server");
  await closed(server);
  equal(await sweep(path), 1, "its maker was killed");
  equal(left === null ? null : identityOf(left), null);
  equal(linkHidden(join(dir.path, "nothing.sock")), null);
});

Deno.test("sweep() takes a directory that is not there for an empty one", async () => {
  equal(await sweep("/nowhere/rdma-a_b.sock"), 0);
});

Deno.test("moveIntoPlace() says in a sentence that the socket was removed while it was being created", () => {
  using dir = temporaryDir();
  const path = join(dir.path, socketName("tencent.com/rdma"));
  const bound = temporaryPath(path);
  throws(() => moveIntoPlace(bound, path), /Cannot serve on .*: the socket was removed while it was being created/);
});

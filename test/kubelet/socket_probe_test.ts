import { deepEqual, equal } from "@std/assert";
import { mkdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { isServed, probeSocket } from "../../src/kubelet/socket_probe.ts";
import { temporaryDir } from "../support/temp.ts";

/** A socket at `path`; when it is closed its file stays, as a killed process leaves it. */
async function socketAt(path: string, onConnection: (socket: Socket) => void = () => {}): Promise<Server> {
  const server = createServer(onConnection);
  await new Promise<void>((resolve) => server.listen(`${path}~`, resolve));
  renameSync(`${path}~`, path);
  return server;
}

const closed = (server: Server) => new Promise<void>((resolve) => void server.close(() => resolve()));

Deno.test("probeSocket() tells a listener from a dead socket, links to nothing, what is no socket, and nothing", async () => {
  using dir = temporaryDir();
  const at = (name: string) => join(dir.path, name);
  const alive = await socketAt(at("alive"));
  await closed(await socketAt(at("dead")));
  symlinkSync("/nowhere", at("dangling"));
  symlinkSync(at("loop"), at("loop"));
  writeFileSync(at("file"), "");
  mkdirSync(at("directory"));
  const names = ["alive", "dead", "dangling", "loop", "file", "directory", "nothing"];
  const found = Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await probeSocket(at(name))] as const)),
  );
  deepEqual(found, {
    alive: "answers",
    dead: "refuses",
    dangling: "refuses",
    loop: "refuses",
    file: "refuses",
    directory: "refuses",
    nothing: "missing",
  });
  equal(await isServed(at("alive")), true);
  equal(await isServed(at("dead")), false);
  await closed(alive);
});

Deno.test("probeSocket() that waits for a server's words tells one that speaks from one that never does or hangs up", async () => {
  using dir = temporaryDir();
  const at = (name: string) => join(dir.path, name);
  const connections = new Set<Socket>();
  const servers = await Promise.all([
    socketAt(at("speaks"), (socket) => socket.end("SETTINGS")),
    socketAt(at("deaf"), (socket) => connections.add(socket)),
    socketAt(at("hangs up"), (socket) => socket.end()),
  ]);
  equal(await probeSocket(at("speaks"), { speaksWithinMs: 60_000 }), "answers");
  equal(await probeSocket(at("deaf"), { speaksWithinMs: 50 }), "silent");
  equal(await probeSocket(at("hangs up"), { speaksWithinMs: 60_000 }), "silent");
  equal(await probeSocket(at("nothing"), { speaksWithinMs: 60_000 }), "missing");
  for (const one of connections) one.destroy();
  await Promise.all(servers.map(closed));
});

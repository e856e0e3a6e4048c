/**
 * Hostile entries in the kubelet's directory, and what can happen to the directory itself.
 *
 * @module
 */
import { deepEqual, equal, ok } from "@std/assert";
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { identityOf, socketName } from "../../src/kubelet/socket_file.ts";
import { count, fakeKubelet, offered, RESOURCE } from "../support/kubelet.ts";
import { onHost } from "../support/plugin.ts";
import type { Fault } from "./fault.ts";
import { endsCleanly, filesAsBefore, filesAtRest, quiet, said, saidOnce, servesAPod } from "./kubelet_rig.ts";
import { run } from "../support/run.ts";

const HOST = "connectx-ib-dual";
const DEVICE = "mlx5_0";
const SOCKET = socketName(RESOURCE);

const fifo = (path: string) => void run("mkfifo", [path]);

/** Something at our socket's path that is none of ours and is left alone. */
function inTheWay(what: string, make: (path: string) => void, same: (path: string) => boolean): Fault {
  return {
    name: `Our socket's path is ${what}: it is left alone, said once, and served at once when it is gone`,
    injected: `${what} at the path of the plugin's socket before the start`,
    promise:
      "The plugin neither removes it nor ends; one line says what is in the way. It serves when the way is free.",
    async run() {
      await using place = onHost(HOST);
      await using kubelet = await fakeKubelet(place.kubeletDir);
      const path = join(place.kubeletDir, SOCKET);
      make(path);
      const plugin = place.start();
      await plugin.logged(/code=socket-failed/);
      await plugin.logged(/found 1 HCA/);
      ok(same(path), "left as it was");
      equal(count(kubelet, "register"), 0, "nobody registers what cannot be dialled");
      saidOnce(plugin, /code=socket-failed/);
      rmSync(path, { recursive: true });
      await offered(kubelet, 1);
      await servesAPod(kubelet, DEVICE);
      saidOnce(plugin, /code=socket-failed/);
      equal(said(plugin, / (WARN|ERROR) /).length, 1);
      await endsCleanly(plugin, place.kubeletDir);
    },
  };
}

/** A link at our socket's path: the link is ours to replace, what it names is not. */
function link(
  what: string,
  make: (dir: string, path: string) => Promise<AsyncDisposable & { intact(): boolean }>,
): Fault {
  return {
    name: `Our socket's path is ${what}: the link is replaced, what it names is not touched`,
    injected: `${what} at the path of the plugin's socket before the start`,
    promise: "The socket is moved over the link; nothing is ever written or removed through it.",
    async run() {
      await using place = onHost(HOST);
      await using kubelet = await fakeKubelet(place.kubeletDir);
      const path = join(place.kubeletDir, SOCKET);
      await using named = await make(place.dir, path);
      const plugin = place.start();
      await offered(kubelet, 1);
      ok(lstatSync(path).isSocket(), "the link is gone");
      ok(named.intact());
      await servesAPod(kubelet, DEVICE);
      equal(said(plugin, / (WARN|ERROR) /).join("\n"), "", plugin.log.join("\n"));
      await endsCleanly(plugin, place.kubeletDir);
      ok(named.intact());
    },
  };
}

/** Something that is no kubelet under the name kubelet.sock. */
function noKubelet(what: string, make: (path: string) => void): Fault {
  return {
    name: `kubelet.sock is ${what}: the plugin waits, says so once, and registers with the kubelet that comes`,
    injected: `${what} under the name kubelet.sock before the start`,
    promise: "It is dialled, never opened, read or removed; tried again with a growing pause; one line.",
    async run() {
      await using place = onHost(HOST);
      const path = join(place.kubeletDir, "kubelet.sock");
      make(path);
      const made = identityOf(path);
      const plugin = place.start();
      await plugin.logged(/code=kubelet-not-answering/);
      await plugin.logged(/ found \d+ HCA/); // it has started, and opened what it opens for good
      const files = await filesAtRest(plugin.pid);
      // Two tries more at least, at 0.2 and 0.6 s: a socket in place can be watched, a try cannot.
      plugin.kill("SIGHUP");
      await plugin.logged(/SIGHUP: scanning/);
      await filesAsBefore(plugin.pid, files);
      equal(identityOf(path), made, "left as it was");
      saidOnce(plugin, /code=kubelet-not-answering/);
      rmSync(path, { recursive: true });
      await using kubelet = await fakeKubelet(place.kubeletDir);
      await offered(kubelet, 1);
      await plugin.logged(/code=registered/);
      await servesAPod(kubelet, DEVICE);
      equal(said(plugin, / (WARN|ERROR) /).join("\n"), "", plugin.log.join("\n"));
      quiet(plugin, 8);
      await endsCleanly(plugin, place.kubeletDir);
    },
  };
}

/** The directory itself goes, and another comes under its name. */
function anotherDirectory(what: string, go: (dir: string) => void): Fault {
  return {
    name: `The kubelet's directory is ${what} while the plugin runs: it serves in the new one`,
    injected: `The kubelet stops; its directory is ${what}; a kubelet starts in the new one`,
    promise: "One line says that the directory is not there; the new one is found within seconds and watched.",
    async run() {
      await using place = onHost(HOST);
      const first = await fakeKubelet(place.kubeletDir);
      const plugin = place.start();
      await offered(first, 1);
      await plugin.logged(/code=registered/);
      const files = await filesAtRest(plugin.pid);
      await first.close();
      await plugin.logged(/code=no-kubelet-socket/);
      const started = performance.now();
      go(place.kubeletDir);
      await using kubelet = await fakeKubelet(place.kubeletDir);
      await offered(kubelet, 1);
      ok(performance.now() - started < 8_000, "not only by the poll of ten seconds");
      await servesAPod(kubelet, DEVICE);
      await filesAsBefore(plugin.pid, files);
      // The new one is watched as the old one was: what happens in it is noticed by event.
      await kubelet.restart();
      await offered(kubelet, 1);
      equal(said(plugin, / (WARN|ERROR) /).join("\n"), "", plugin.log.join("\n"));
      quiet(plugin, 14);
      await endsCleanly(plugin, place.kubeletDir);
    },
  };
}

export const DIRECTORY: readonly Fault[] = [
  inTheWay(
    "a directory with files in it",
    (path) => {
      mkdirSync(path);
      writeFileSync(join(path, "precious"), "1");
    },
    (path) => readFileSync(join(path, "precious"), "utf8") === "1",
  ),
  inTheWay(
    "a regular file",
    (path) => writeFileSync(path, "precious"),
    (path) => readFileSync(path, "utf8") === "precious",
  ),
  inTheWay(
    "a FIFO",
    fifo,
    (path) => lstatSync(path).isFIFO(),
  ),
  link("a link to nothing", (_dir, path) => {
    symlinkSync("/nowhere/at/all", path);
    return Promise.resolve({ intact: () => true, [Symbol.asyncDispose]: () => Promise.resolve() });
  }),
  link("a link to somebody else's file", (dir, path) => {
    const file = join(dir, "precious");
    writeFileSync(file, "precious", { mode: 0o640 });
    symlinkSync(file, path);
    const before = identityOf(file);
    return Promise.resolve({
      intact: () =>
        identityOf(file) === before && readFileSync(file, "utf8") === "precious" &&
        (lstatSync(file).mode & 0o777) === 0o640,
      [Symbol.asyncDispose]: () => Promise.resolve(),
    });
  }),
  link("a link to somebody else's live socket", async (dir, path) => {
    const other = join(dir, "other.sock");
    let visits = 0;
    const server = createServer((connection) => {
      visits++;
      connection.destroy();
    });
    await new Promise<void>((resolve) => server.listen(other, resolve));
    symlinkSync(other, path);
    const before = identityOf(other);
    return {
      intact: () => identityOf(other) === before && visits === 0,
      [Symbol.asyncDispose]: () => new Promise<void>((resolve) => void server.close(() => resolve())),
    };
  }),
  noKubelet("a directory", (path) => mkdirSync(path)),
  noKubelet("a regular file", (path) => writeFileSync(path, "precious")),
  noKubelet("a FIFO", fifo),
  noKubelet("a link to nothing", (path) => symlinkSync("/nowhere/kubelet.sock", path)),
  noKubelet("a link to itself", (path) => symlinkSync(path, path)),
  {
    name:
      "Our socket is replaced by a directory while we serve: it is left alone, said once, and served when it is gone",
    injected: "The plugin's socket is removed and a directory made in its place, with the kubelet's stream open",
    promise: "Nothing that is no plugin is taken for one; the resource comes back when the way is free.",
    async run() {
      await using place = onHost(HOST);
      await using kubelet = await fakeKubelet(place.kubeletDir);
      const plugin = place.start();
      await offered(kubelet, 1);
      await plugin.logged(/code=registered/);
      const files = await filesAtRest(plugin.pid);
      const path = join(place.kubeletDir, SOCKET);
      mkdirSync(`${path}.new`);
      rmSync(path);
      renameSync(`${path}.new`, path);
      await plugin.logged(/code=socket-failed/);
      equal(said(plugin, /another process/).join("\n"), "", plugin.log.join("\n"));
      rmSync(path, { recursive: true });
      await kubelet.waitFor(
        (state) => state.resources[RESOURCE]?.allocatable === 1 && count(kubelet, "registered") > 1,
        {
          what: "the device again",
          timeoutMs: 20_000,
        },
      );
      await servesAPod(kubelet, DEVICE);
      await filesAsBefore(plugin.pid, files);
      quiet(plugin, 9);
      await endsCleanly(plugin, place.kubeletDir);
    },
  },
  anotherDirectory("removed and made again", (dir) => {
    // At one stroke: the plugin makes its socket in there as fast as files are removed.
    renameSync(dir, `${dir}.gone`);
    rmSync(`${dir}.gone`, { recursive: true });
    mkdirSync(dir);
  }),
  anotherDirectory("replaced by another", (dir) => {
    mkdirSync(`${dir}.new`);
    renameSync(dir, `${dir}.old`);
    renameSync(`${dir}.new`, dir);
  }),
  {
    name: "The kubelet's directory comes only after the plugin: it is found, and so is its kubelet",
    injected: "No directory at the start; it is made, and a kubelet starts in it",
    promise: "One line says what is missing; the directory is not made by the plugin. It is found within two seconds.",
    async run() {
      await using place = onHost(HOST);
      rmSync(place.kubeletDir, { recursive: true });
      const plugin = place.start();
      await plugin.logged(/code=no-kubelet-dir/);
      await plugin.logged(/found 1 HCA/);
      await using kubelet = await fakeKubelet(place.kubeletDir);
      await offered(kubelet, 1);
      await servesAPod(kubelet, DEVICE);
      saidOnce(plugin, /code=no-kubelet-/);
      quiet(plugin, 6);
      await endsCleanly(plugin, place.kubeletDir);
    },
  },
  {
    name: "A directory with 3,000 foreign entries and a hundred changes a second: the plugin serves and touches none",
    injected: "3,000 files, links and directories under odd names; a file that is made and removed 500 times",
    promise: "No foreign entry is opened or removed; no line in the log, no file descriptor.",
    async run() {
      await using place = onHost(HOST);
      await using kubelet = await fakeKubelet(place.kubeletDir);
      const names = Array.from({ length: 1_000 }, (_, i) => [`a\nb${i}`, `.rdma${i}`, `${"x".repeat(240)}${i}`]).flat();
      for (const [i, name] of names.entries()) {
        const path = join(place.kubeletDir, name);
        if (i % 3 === 0) symlinkSync("/nowhere", path);
        else if (i % 3 === 1) writeFileSync(path, "");
        else mkdirSync(path);
      }
      const plugin = place.start();
      await offered(kubelet, 1);
      await plugin.logged(/code=registered/);
      const files = await filesAtRest(plugin.pid);
      for (let i = 0; i < 500; i++) {
        writeFileSync(join(place.kubeletDir, "busy"), "");
        rmSync(join(place.kubeletDir, "busy"));
      }
      await servesAPod(kubelet, DEVICE);
      await filesAsBefore(plugin.pid, files);
      const there = new Set(readdirSync(place.kubeletDir));
      deepEqual(names.filter((name) => !there.has(name)), []);
      quiet(plugin, 3);
      plugin.kill("SIGTERM");
      equal((await plugin.ended).code, 0);
      ok(!readdirSync(place.kubeletDir).includes(SOCKET));
    },
  },
];

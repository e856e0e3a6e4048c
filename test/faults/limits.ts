/**
 * Faults of what a process may have: inotify instances and watches, open files. Each limit is the kernel's own, set for
 * this one plugin.
 *
 * @module
 */
import { doesNotMatch, equal, match, ok, rejects } from "@std/assert";
import { readdirSync } from "node:fs";
import { connect, type Socket } from "node:net";
import type { PluginProcess } from "../../sim/mod.ts";
import { count, fakeKubelet, RESOURCE } from "../support/kubelet.ts";
import { openFiles } from "../support/process_figures.ts";
import { onHost } from "../support/plugin.ts";
import { RawConnection } from "../support/raw_http2.ts";
import { afterScript, startIn } from "../support/wrapped.ts";
import { eventually } from "../support/eventually.ts";
import { type Fault, matches } from "./fault.ts";
import { filesAtRest } from "./kubelet_rig.ts";
import { underFault } from "./under_fault.ts";
import { run } from "../support/run.ts";

/** The kernel counts inotify's instances and watches by user namespace, too: the plugin gets one of its own. */
function inotify(what: "instances" | "watches"): Fault {
  const path = `/proc/sys/user/max_inotify_${what}`;
  const wrapper = ["unshare", "--user", "--map-root-user", ...afterScript(`echo 0 > ${path}`)];
  const watching = (plugin: PluginProcess) => openFiles(plugin.pid).filter((file) => file === "anon_inode:inotify");
  const inNamespace = (plugin: PluginProcess, script: string) =>
    run("nsenter", ["--user", "--preserve-credentials", `--target=${plugin.pid}`, "sh", "-c", script]);
  return {
    name: `All inotify ${what} are used up: directories are polled every second, which is said once for each`,
    injected: `a user namespace whose limit of inotify ${what} is 0, from the start on; then it is raised`,
    promise: "it registers; a kubelet that restarts is found by the poll; the watch is there again soon after there " +
      "is room, without a restart",
    needs: ["root", "unshare"],
    async run() {
      await using place = onHost("connectx-ib-dual");
      await using kubelet = await fakeKubelet(place.kubeletDir);
      await using plugin = startIn(wrapper, place, []);
      const told = () => matches(plugin.log, /code=registered/);
      const registered = async (what: string, knew: number) => {
        await kubelet.waitFor(
          // Once or twice: a kubelet may empty its directory after the plugin has told it the first time.
          (state) =>
            state.resources[RESOURCE]?.allocatable === 1 &&
            kubelet.history.findLast(({ kind }) => kind === "listening" || kind === "registered")?.kind ===
              "registered",
          // A call to the kubelet that is just ending can cost its whole deadline, 15 s.
          { what, timeoutMs: 40_000 },
        );
        // Not as often as the kubelet: of a call that was overtaken by the next the plugin says nothing.
        await eventually(() => told() > knew, "the plugin to know of it").catch((error: Error) => {
          throw new Error(`${error.message}; it said:\n${plugin.log.join("\n")}`);
        });
        await filesAtRest(plugin.pid);
      };
      await registered("the first registration", 0);
      await plugin.logged(/WARN {2}Cannot watch .*device-plugins \(.*\); it is polled every second instead/);
      await plugin.logged(/WARN {2}no events from .*uevents: Cannot watch .*; port states are polled instead/);
      // An instance without a watch in it is open in the one case, none is in the other.
      if (what === "instances") equal(watching(plugin).length, 0);
      const first = told();
      await kubelet.restart();
      await registered("the registration after a restart that the poll has to find", first);
      equal((await kubelet.allocate(RESOURCE, [["mlx5_0"]])).length, 1);
      inNamespace(plugin, `echo 100 > ${path}`);
      const watches = `grep -l '^inotify wd' /proc/${plugin.pid}/fdinfo/* | wc -l`;
      await eventually(() => Number(run("sh", ["-c", watches])) > 0, "the directory to be watched again");
      const second = told();
      await kubelet.restart();
      await registered("the registration after a restart that the watch may find", second);
      equal(matches(plugin.log, /Cannot watch/), 2, plugin.log.join("\n"));
      ok(plugin.log.length < 20, plugin.log.join("\n"));
      await kubelet.stop();
      equal((await plugin.stop()).code, 0);
    },
  };
}

/** Sets how many files a running process may have open; gives what it was. */
function limitFiles(pid: number, files: number): number {
  const process = ["--pid", String(pid)];
  const before = run("prlimit", [...process, "--nofile", "--raw", "--noheadings", "--output=SOFT"]);
  run("prlimit", [...process, `--nofile=${files}:`]);
  return Number(before);
}

/**
 * Leaves a running process not one file to open; gives what its limit was. What it has open for a moment only would be
 * room once it is closed, so it is waited for.
 */
async function leaveNoFile(pid: number): Promise<number> {
  await filesAtRest(pid);
  const taken = new Set(readdirSync(`/proc/${pid}/fd`).map(Number));
  let free = 0;
  while (taken.has(free)) free++;
  return limitFiles(pid, free);
}

/** Connections that say nothing; disposing hangs up. */
function crowd(socket: string, size: number): Disposable {
  const all: Socket[] = Array.from({ length: size }, () => {
    const one = connect(socket);
    // Whoever finds no room in the queue of the socket is refused; that is no matter here.
    one.on("error", () => one.destroy());
    return one;
  });
  return { [Symbol.dispose]: () => all.forEach((one) => one.destroy()) };
}

const FAILED =
  /ERROR A scan of the machine failed; the previous devices stay offered and .*: Cannot open .* files open/;

export const LIMITS: readonly Fault[] = [
  inotify("instances"),
  inotify("watches"),
  {
    name: "No file can be opened any more: the HCAs are not reported as gone, and all is well when there is room",
    injected:
      "prlimit to what the running process has open; 50 connections come, which it cannot take, and a port goes " +
      "down; then the limit is raised while they stay",
    promise:
      "the list stays as it was last seen; Allocate, which cannot check its nodes, is refused in a sentence; one " +
      "line says why; when files can be opened again, what changed meanwhile is reported, and a socket that takes no " +
      "connections any more, as a listener of the runtime that found no file for one does, is made again",
    run: () =>
      underFault({ lines: 12 }, async ({ place, plugin, socket, kubelet, said, devices }) => {
        const before = await leaveNoFile(plugin.pid);
        using _crowd = crowd(socket, 50);
        await place.host.carrierLost("mlx5_0", 1);
        await eventually(() => matches(said(), FAILED) === 1, "the sentence");
        equal(kubelet.state().resources[RESOURCE]?.allocatable, 1, "what was offered before still is");
        await rejects(
          kubelet.allocate(RESOURCE, [["mlx5_0"]]),
          /Cannot open .*: EMFILE, .* raise the limit \(ulimit -n/,
        );
        equal(said().filter((line) => /found no HCAs|no RDMA driver/.test(line)).join(), "");
        limitFiles(plugin.pid, before);
        await eventually(() => matches(said(), /code=registered/) === 1, "the registration");
        await devices(0);
        await place.host.portUp("mlx5_0", 1);
        await devices(1);
        equal(matches(said(), /INFO {2}scans of the machine succeed again/), 1);
        equal(matches(said(), /WARN .* no longer accepts connections; serving on a new socket/), 1);
        equal(matches(said(), FAILED), 1);
        using _connection = await RawConnection.speaking(socket);
      }),
  },
  {
    name: "Connections come while no file can be opened, and nothing else happens: SIGHUP finds the deaf socket out",
    injected: "as before, but the limit is raised before anything is scanned; then SIGHUP, in place of a minute",
    promise:
      "the plugin dials its own socket every minute, and at SIGHUP: one that does not answer is made again, while the " +
      "kubelet keeps its stream until it has the new one",
    run: () =>
      underFault({ lines: 8, flags: ["--rescan", "300"] }, async ({ plugin, socket, kubelet, said, devices }) => {
        const before = await leaveNoFile(plugin.pid);
        using _crowd = crowd(socket, 50);
        // Answered by the same event loop, after it has heard of the connections.
        for (let i = 0; i < 3; i++) await kubelet.options(RESOURCE);
        limitFiles(plugin.pid, before);
        plugin.kill("SIGHUP");
        await eventually(
          () => matches(said(), /WARN .* no longer accepts connections; serving on a new socket/) === 1,
          "the words",
        );
        await eventually(() => matches(said(), /code=registered/) === 1, "the registration");
        await devices(1);
        equal(count(kubelet, "stream-ended"), 0);
        using _connection = await RawConnection.speaking(socket);
      }),
  },
  {
    name: "A start with hardly a file to open ends in a sentence or waits with one, and never offers an empty node",
    injected: "starts under a limit of 12 open files, 13, 14 and so on, until there are enough",
    promise: "too few for the runtime: it ends, saying so; too few to scan the machine: a sentence names the limit " +
      "to raise, nothing is offered, and it is tried again; never is a machine with HCAs said to have none",
    async run() {
      await using place = onHost("connectx-ib-dual");
      const outcomes: string[] = [];
      for (let files = 12; outcomes.at(-1) !== "found"; files++) {
        await using plugin = startIn(["prlimit", `--nofile=${files}:${files}`], place, []);
        const failed = plugin.logged(FAILED).then(() => "failed", () => "ended");
        const found = plugin.logged(/ found 1 HCA$/).then(() => "found", () => "ended");
        const outcome = await Promise.race([failed, found, plugin.ended.then(() => "ended")]);
        outcomes.push(outcome);
        const { code } = await plugin.stop();
        await Promise.all([failed, found]);
        const log = plugin.log.join("\n");
        doesNotMatch(log, /found no HCAs|no RDMA driver/);
        // The runtime names the reason, or only the file of its own that it could not read; or it panics, with EMFILE's
        // number, when the main thread asks how large its stack is, for which libc reads /proc/self/maps.
        if (outcome === "ended") {
          match(log, /Too many open files|Failed reading '|Could not load '|panicked at .*\n.*\n +left: 24$/m);
        } else equal(code, 0, log);
        equal(matches(plugin.log, FAILED), outcome === "failed" ? 1 : 0, log);
      }
      // How many files lie between what the runtime needs and what a scan needs depends on the machine: none, or a few.
      ok(outcomes.includes("ended"), outcomes.join());
    },
  },
];

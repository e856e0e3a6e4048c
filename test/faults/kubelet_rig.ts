/**
 * What the rows about the kubelet's side share: kubelets, what a directory and a log hold, and a clean end.
 *
 * @module
 */
import { deepEqual, equal, match, ok, rejects } from "@std/assert";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { isDeepStrictEqual } from "node:util";
import { type FakeKubelet, type PluginProcess } from "../../sim/mod.ts";
import { RESOURCE } from "../support/kubelet.ts";
import { buildGoKubelet, ForeignKubelet } from "../support/foreign.ts";
import { openFiles } from "../support/process_figures.ts";
import { within } from "../support/temp.ts";
import type { OnHost } from "../support/plugin.ts";
import { socketName } from "../../src/kubelet/socket_file.ts";
import { eventually } from "../support/eventually.ts";

/** The host that most rows are played on, and one of its HCAs. */
export const HOST = "connectx-roce-vfs";
export const DEVICE = "mlx5_2";
export const SOCKET = socketName(RESOURCE);

/** A pod gets the device, and gives it back. */
export async function servesAPod(kubelet: FakeKubelet, id: string): Promise<void> {
  const [answer] = await kubelet.allocate(RESOURCE, [[id]]);
  ok((answer?.devices ?? []).some((device) => device.host_path?.includes("uverbs")), JSON.stringify(answer));
}

/** A kubelet in Go, as a process that can be stopped and killed. */
export interface GoKubelet {
  readonly kubelet: ForeignKubelet;
  readonly pid: number;
}

const built: { program?: Promise<string> } = {};

/** Starts one; it empties the directory as every kubelet does. */
export async function goKubelet(dir: string): Promise<GoKubelet> {
  built.program ??= buildGoKubelet();
  const kubelet = await ForeignKubelet.go(await built.program, dir);
  return { kubelet, pid: processOn(await built.program, dir) };
}

/** A plugin that is registered with a Go kubelet, and at rest. */
export async function registeredWith(go: GoKubelet, place: OnHost, ...flags: string[]): Promise<PluginProcess> {
  const plugin = place.start(...flags);
  await plugin.logged(/code=registered/);
  await go.kubelet.waitFor((event) => event.event === "list", { what: "the first list" });
  return plugin;
}

/** A Go kubelet's Allocate is answered with the node of {@link DEVICE}. */
export async function servesThe({ kubelet }: GoKubelet): Promise<void> {
  const answer = kubelet.allocate(RESOURCE, [[DEVICE]]);
  match(JSON.stringify(await within(answer, "an Allocate's answer")), /\/dev\/infiniband\/uverbs2/);
}

/** Kills one with SIGKILL and waits until it is gone. */
export async function killKubelet({ kubelet, pid }: GoKubelet): Promise<void> {
  const gone = rejects(kubelet.waitFor(() => false), /it ended \(SIGKILL\)/);
  process.kill(pid, "SIGKILL");
  await gone;
}

/** The last list that a foreign kubelet has got, as "id:health". */
export function lastList({ kubelet }: GoKubelet): readonly string[] {
  const list = kubelet.events.findLast((event) => event.event === "list");
  return list?.event === "list" ? list.devices.map(({ id, health }) => `${id}:${health}`) : [];
}

/** Waits for a list with so many healthy devices. */
export async function offeredTo({ kubelet }: GoKubelet, n: number): Promise<void> {
  await kubelet.waitFor(
    (event) => event.event === "list" && event.devices.filter((one) => one.health === "Healthy").length === n,
    { what: `${n} healthy devices` },
  );
}

function processOn(program: string, dir: string): number {
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      if (readFileSync(`/proc/${pid}/cmdline`, "utf8") === `${program}\0${dir}\0`) return Number(pid);
    } catch {
      continue; // ended in the meantime
    }
  }
  throw new Error(`no process of ${program} on ${dir}`);
}

/** Bytes that a process has written so far; `/proc/PID/io`. */
export function written(pid: number): number {
  return Number(/^wchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, "utf8"))?.[1]);
}

/** Makes a call of the Go kubelet's and waits until it is on the wire, which is as far as it gets with a stopped plugin. */
export async function inFlight({ pid }: GoKubelet, call: () => Promise<unknown>): Promise<{ failed: Promise<string> }> {
  const before = written(pid);
  const failed = call().then(() => "it was answered", (error: unknown) => (error as Error).message);
  // The least call is some 30 bytes; a runtime's own wake-ups are eight.
  await eventually(() => written(pid) - before >= 20, "the kubelet's request to be written");
  return { failed };
}

/** Stops a process until the returned function is called, also when the row fails in between. */
export async function stopped(pid: number): Promise<Disposable & { resume(): void }> {
  process.kill(pid, "SIGSTOP");
  // Every thread has to be on its way into the stop; the state of the first is set last.
  await eventually(() => /^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, "utf8")), `process ${pid} to stop`);
  let is = true;
  const resume = () => {
    // One that was killed meanwhile has nothing to resume.
    if (is && existsSync(`/proc/${pid}`)) process.kill(pid, "SIGCONT");
    is = false;
  };
  return { resume, [Symbol.dispose]: resume };
}

/** What is read once it rests: the same text, or number, for 100 ms. */
export async function atRest<T extends string | number>(read: () => T, what: string): Promise<T> {
  let last = read();
  let since = performance.now();
  await eventually(() => {
    const now = read();
    if (now !== last) since = performance.now();
    last = now;
    return performance.now() - since > 100;
  }, what);
  return last;
}

/** Open files once the process rests. */
export async function filesAtRest(pid: number): Promise<readonly string[]> {
  const files = await atRest(() => openFiles(pid).join("\n"), "the process' open files to stay the same");
  return files.split("\n");
}

/** Waits until a process has the sockets and pipes open again that it had before; caches of the runtime may have come. */
export async function filesAsBefore(pid: number, before: readonly string[]): Promise<void> {
  const own = (files: readonly string[]) => files.filter((file) => !file.startsWith("/")).join(" ");
  try {
    await eventually(() => own(openFiles(pid)) === own(before), "the same open files as before");
  } catch (cause) {
    equal(own(openFiles(pid)), own(before), "open files leaked");
    throw cause;
  }
}

/** Names in the kubelet's directory that are the plugin's: its socket, and hidden ones in the making. */
export function ours(dir: string): readonly string[] {
  return readdirSync(dir).filter((name) => /^(rdma-|\.)/.test(name)).sort();
}

/** Lines of info and above that match. */
export function said(plugin: PluginProcess, pattern: RegExp): readonly string[] {
  return plugin.log.filter((line) => /^\S+ (INFO|WARN|ERROR) /.test(line) && pattern.test(line));
}

/** Asserts that a matching line is there, and no more than `most` times. */
export function saidOnce(plugin: PluginProcess, pattern: RegExp, most = 1): void {
  const lines = said(plugin, pattern).length;
  ok(lines >= 1 && lines <= most, `${lines} lines match ${pattern} in:\n${plugin.log.join("\n")}`);
}

/** Asserts that a plugin has not flooded its log since line `since`. */
export function quiet(plugin: PluginProcess, most: number, since = 0): void {
  const lines = said(plugin, /./).filter((line) => plugin.log.indexOf(line) >= since);
  ok(lines.length <= most, `${lines.length} lines, at most ${most} wanted:\n${lines.join("\n")}`);
}

/** Ends a plugin with SIGTERM: status 0 within the promised 2 s and a little, and `left` of its names remain. */
export async function endsCleanly(plugin: PluginProcess, dir: string, left: readonly string[] = []): Promise<void> {
  plugin.kill("SIGTERM");
  const { code, signal } = await within(plugin.ended, `the plugin's end; it said\n${plugin.log.join("\n")}`);
  equal(code, 0, `it ended with ${signal ?? code}:\n${plugin.log.join("\n")}`);
  // Another plugin may be in the middle of a registration, for which its socket has a second name.
  await eventually(() => isDeepStrictEqual(ours(dir), left), "the plugin's names to be gone").catch(() => {});
  deepEqual(ours(dir), left);
}

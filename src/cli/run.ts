/**
 * `run`: the plugin as a process. Starts the agent, handles signals, and follows the configuration.
 *
 * @module
 */
import { hostname } from "node:os";
import { resolve } from "node:path";
import process from "node:process";
import { Agent } from "../agent/agent.ts";
import { kubeletRecord } from "../agent/kept.ts";
import { sentenceOf } from "../config/mistakes.ts";
import type { RegistrationMode } from "../device_plugin/session.ts";
import { parseAddress } from "../observe/address.ts";
import { type Format, type Level, type Log, openLog } from "../text/log.ts";
import { summary } from "../observe/summary.ts";
import { CollectAtRest, openCollector } from "./collect_at_rest.ts";
import { draSettings } from "./dra.ts";
import { contentOf, followConfig } from "./follow_config.ts";
import type { Values } from "./flags.ts";
import { checkMaster, machine, registryDir, wanted } from "./machine.ts";
import type { Reports } from "../report/open.ts";
import { reportsOf } from "./reports.ts";
import { eventSources } from "./sources.ts";
import { VERSION } from "./version.ts";

/** A shutdown that hangs is cut off after this time; the documented limit is 2 s. */
const SHUTDOWN_MS = 1_900;

/** Runs until SIGTERM or SIGINT; returns the exit status. */
export async function run(values: Values): Promise<number> {
  // Signal handlers come first, so that a signal during start-up also ends the process cleanly, or is remembered.
  const stopped = Promise.withResolvers<string>();
  for (const name of ["SIGTERM", "SIGINT"] as const) process.on(name, () => stopped.resolve(name));
  const hangups = new EventTarget();
  process.on("SIGHUP", () => hangups.dispatchEvent(new Event("hangup")));
  let early = false;
  const remember = () => void (early = true);
  hangups.addEventListener("hangup", remember);

  const known = values.config === undefined ? "" : contentOf(resolve(values.config));
  const { specs, rescanMs, warnings } = await wanted(values);
  if (values.master !== undefined) {
    const known = kubeletRecord(resolve(values["kubelet-dir"])).former().get(values["resource-name"])?.size ?? 0;
    checkMaster(resolve(values["sysfs-root"]), values.master, known > 0);
  }
  const log = openLog(values["log-level"] as Level, values["log-format"] as Format);
  log.info(`rdma-device-plugin ${VERSION} starts`, { pid: process.pid });
  for (const warning of warnings) log.warn(sentenceOf(warning), { code: warning.code });

  const host = machine(values);
  let reports: Reports | null = null;
  const statusServer = await openStatusServer(values, rescanMs, () => reports?.status() ?? [], log);
  const agent = await Agent.start({
    specs,
    kubeletDir: resolve(values["kubelet-dir"]),
    registryDir: registryDir(values),
    registration: values.registration as RegistrationMode,
    cdiDir: resolve(values["cdi-dir"]),
    rescanMs,
    dra: draSettings(values),
    machine: host,
    sources: eventSources(values.events, (sentence) => log.warn(sentence)),
    log,
  }, statusServer?.observer);
  statusServer?.attach(agent);
  reports = await reportsOf(values, log);
  reports?.attach(agent);
  if (agent.state.inventory !== null) log.info(summary(agent.state.inventory));
  using rest = new CollectAtRest(openCollector());
  agent.observe({ onCall: rest.worked, onScan: rest.worked });
  const stopFollowing = new AbortController();
  const { signal } = stopFollowing;
  if (values.config !== undefined) followConfig({ values, agent, log, hangups, signal, known });
  hangups.addEventListener("hangup", () => {
    log.info("SIGHUP: scanning and registering again");
    agent.reregister().catch((error: unknown) => log.error(`Cannot register again: ${error}`));
  });
  hangups.removeEventListener("hangup", remember);
  if (early) hangups.dispatchEvent(new Event("hangup"));

  const ended = await stopped.promise;
  log.info(`${ended}: completing pending calls and removing sockets`);
  stopFollowing.abort();
  const hurry = setTimeout(() => {
    log.warn("pending calls did not complete in time and were cut off");
    process.exit(0);
  }, SHUTDOWN_MS);
  await Promise.all([reports?.close(), agent.close(), statusServer?.close()]);
  host.verbs[Symbol.dispose]();
  clearTimeout(hurry);
  log.info("stopped");
  return 0;
}

/** Opens the HTTP server; its modules are not loaded without `--http`. */
async function openStatusServer(values: Values, rescanMs: number, reports: Reports["status"], log: Log) {
  const address = values.http === undefined ? null : parseAddress(values.http);
  if (address === null) return null;
  const { StatusServer } = await import("../observe/status_server.ts");
  return await StatusServer.start({
    address,
    node: process.env.NODE_NAME ?? hostname(),
    version: VERSION,
    sysfsRoot: resolve(values["sysfs-root"]),
    rescanMs,
    podResources: values["pod-resources"] ? resolve(values["pod-resources-socket"]) : null,
    draDriver: values["dra-driver-name"],
    reports,
    log,
  });
}

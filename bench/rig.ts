/**
 * What the benchmarks stand on: a network namespace of their own, a fake host and a fake kubelet in this process, and
 * the real plugin as a process of its own that listens to netlink, as on a node.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { FakeHost, type FakeKubelet, manyHcas } from "../sim/mod.ts";
import { bundle } from "../test/support/bundle.ts";
import { fakeKubelet, offered } from "../test/support/kubelet.ts";
import { plugin } from "../test/support/subject.ts";
import { run } from "../test/support/run.ts";

/** Tells the process which runs in the namespace that it is there. */
const MARK = "BENCH_IN_NETNS";

/**
 * Runs a benchmark in a network namespace of its own: links that come and go elsewhere on the machine are not heard
 * there, and those made there are gone with the last process. Starts the module once more in it; any user may do that
 * where user namespaces are allowed.
 *
 * @param module `import.meta.url` of the benchmark
 * @returns the exit status
 */
export async function inOwnNetns(module: string, main: () => Promise<void>): Promise<number> {
  if (process.env[MARK] === "1") {
    await main();
    return 0;
  }
  const namespaces = process.geteuid?.() === 0 ? ["--net"] : ["--map-root-user", "--net"];
  const again = [process.execPath, "run", "-A", "--quiet", "--no-check", fileURLToPath(module)];
  const child = spawn("unshare", [...namespaces, ...again, ...process.argv.slice(2)], {
    stdio: "inherit",
    env: { ...process.env, [MARK]: "1" },
  });
  const [status] = await once(child, "close");
  return status as number | null ?? 1;
}

/** `ip` with the arguments as one string. Throws when it fails. */
export function ip(args: string): void {
  run("ip", args.split(" "));
}

/** The plugin between a fake host and a fake kubelet. */
export interface Rig extends AsyncDisposable {
  readonly host: FakeHost;
  readonly kubelet: FakeKubelet;
  /** The plugin's process. */
  readonly pid: number;
}

/** Starts all three, the plugin as the image runs it; resolves when the kubelet has every HCA. */
export async function rig(hcas: number, ...flags: readonly string[]): Promise<Rig> {
  await using cleanup = new AsyncDisposableStack();
  const dir = mkdtempSync(join(tmpdir(), "rdma-bench-"));
  cleanup.defer(() => rmSync(dir, { recursive: true, force: true }));
  const host = FakeHost.create(FakeHost.temporaryRoot(), manyHcas(hcas));
  cleanup.defer(() => host.close());
  const kubeletDir = join(dir, "kubelet/device-plugins");
  const kubelet = await fakeKubelet(kubeletDir);
  const subject = plugin(await bundle(join(dir, "bundle")));
  const running = await subject.start({ host, kubeletDir, scratch: dir }, "--events", "auto", ...flags);
  cleanup.defer(() => running.stop());
  cleanup.defer(() => kubelet.close());
  await offered(kubelet, hcas);
  const rest = cleanup.move();
  return { host, kubelet, pid: running.pid!, [Symbol.asyncDispose]: () => rest.disposeAsync() };
}

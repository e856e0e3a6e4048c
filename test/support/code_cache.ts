/**
 * V8's code cache of the bundle: what a start compiles, compiled when the image is built. Most of a start is the
 * compiler's otherwise.
 *
 * It is taken of a plugin that has started, found HCAs on a fake host and registered with a fake kubelet, under the
 * flags that the image gives V8; with others V8 refuses it. It holds bytecode, nothing of the machine that made it.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process, { execPath } from "node:process";
import { FakeHost, FakeKubelet, pluginFlags, preset } from "../../sim/mod.ts";
import { socketParent } from "../../sim/host/temporary.ts";
import { DEFAULT_SPEC } from "../../src/pool/spec.ts";
import { CODE_CACHE, LOADER, PROGRAM } from "./bundle.ts";
import { V8_FLAGS } from "./subject.ts";

/** As what is started, and at the end the cache is written. */
const RECORDER = `${LOADER}const [program, cache] = process.argv.splice(2, 2);
const script = load(program);
process.on("exit", () => process.getBuiltinModule("node:fs").writeFileSync(cache, script.createCachedData()));
start(script, program);
`;

/**
 * Writes the code cache of the bundle in a directory beside it.
 *
 * @throws with what the plugin said when it did not start
 */
export async function writeCodeCache(directory: string): Promise<void> {
  const dir = mkdtempSync(join(socketParent(), "rdma-cache-"));
  const kubeletDir = join(dir, "device-plugins");
  mkdirSync(kubeletDir);
  const recorder = join(dir, "recorder.mjs");
  writeFileSync(recorder, RECORDER);
  const host = FakeHost.create(FakeHost.temporaryRoot(), preset("connectx-roce-vfs"));
  const kubelet = new FakeKubelet({ dir: kubeletDir });
  try {
    await kubelet.start();
    const child = spawn(execPath, [
      ...["run", "-A", "--quiet", "--no-config", `--v8-flags=${V8_FLAGS}`],
      ...[recorder, join(directory, PROGRAM), join(directory, CODE_CACHE)],
      ...[...pluginFlags(host, kubeletDir), "--cdi-dir", join(dir, "cdi")],
    ], { stdio: ["ignore", "ignore", "pipe"] });
    await ended(child, async () => {
      const resource = DEFAULT_SPEC.name;
      await kubelet.waitFor((state) => state.resources[resource]?.allocatable, { what: "devices", timeoutMs: 30_000 });
      await kubelet.allocate(resource, [["mlx5_0"]]);
      process.kill(child.pid!, "SIGTERM");
    });
  } finally {
    await kubelet.stop();
    host.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Waits for the process, while `work` makes it end. */
async function ended(child: ChildProcess, work: () => Promise<void>): Promise<void> {
  let said = "";
  child.stderr!.on("data", (chunk: Uint8Array) => said += new TextDecoder().decode(chunk));
  const end = new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    child.once(
      "close",
      (code) => code === 0 ? resolve() : reject(new Error(`the plugin ended with ${code}:\n${said}`)),
    );
  });
  await Promise.all([work(), end]);
}

/**
 * V8's code cache of the bundle: what a start compiles, compiled when the image is built. Most of a start is the
 * compiler's otherwise.
 *
 * It is taken of a plugin that has started, found HCAs on a fake host and registered with a fake kubelet, under the
 * flags that the image gives V8; with others V8 refuses it. It holds bytecode, nothing of the machine that made it.
 *
 * @module
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execPath } from "node:process";
import { FakeHost, pluginFlags, PluginProcess, preset } from "../../sim/mod.ts";
import { socketParent } from "../../sim/host/temporary.ts";
import { CODE_CACHE, LOADER, PROGRAM } from "./bundle.ts";
import { fakeKubelet, RESOURCE } from "./kubelet.ts";
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
  const kubelet = await fakeKubelet(kubeletDir);
  try {
    const plugin = new PluginProcess([
      ...[execPath, "run", "-A", "--quiet", "--no-config", `--v8-flags=${V8_FLAGS}`],
      ...[recorder, join(directory, PROGRAM), join(directory, CODE_CACHE)],
      ...[...pluginFlags(host, kubeletDir), "--cdi-dir", join(dir, "cdi")],
    ]);
    // The devices are there before the call that registered has returned.
    await plugin.logged(/code=registered/);
    await kubelet.allocate(RESOURCE, [["mlx5_0"]]);
    const { code } = await plugin.stop();
    if (code !== 0) throw new Error(`the plugin ended with ${code}:\n${plugin.log.join("\n")}`);
  } finally {
    await kubelet.stop();
    host.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

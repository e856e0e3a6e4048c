/**
 * `deno task image [--arch amd64|arm64|ppc64le] [--store DIR] [--write]`: builds the image from the Dockerfile without a
 * registry, runs it with no privilege between a fake host and a fake kubelet, and prints its figures. Needs root and
 * mmdebstrap, buildah, podman and runc; where one is missing it says so and ends with status 0, under CI_NO_SKIP=1 with 1.
 *
 * @module
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "@std/cli";
import { FakeHost, PluginProcess, preset } from "../sim/mod.ts";
import { eventually } from "../test/support/eventually.ts";
import { type Architecture, ARCHITECTURES, ImageBuilder, missingTools } from "../test/support/image_builder.ts";
import { fakeKubelet, RESOURCE } from "../test/support/kubelet.ts";
import { memoryOf } from "../test/support/process_figures.ts";
import { type Figures, figuresRow, writeFigures } from "./ship/figures.ts";

/** Milliseconds; emulated images take their time. */
const PATIENCE = { amd64: 30_000, arm64: 180_000, ppc64le: 120_000 } as const;
/** As a pod of rdma-device-plugin.yml runs: no capability, no new privilege, nothing to write. */
const UNPRIVILEGED = [
  "--cap-drop=ALL",
  "--security-opt=no-new-privileges",
  "--read-only",
  "--read-only-tmpfs=false",
  "--ulimit=nofile=20000:20000",
  "--ulimit=nproc=4096:4096",
];

class Failed extends Error {}

/** Runs the image and answers for it; throws {@link Failed} with a sentence and the container's log. */
async function tryImage(builder: ImageBuilder, architecture: Architecture): Promise<Figures> {
  const dir = mkdtempSync(join(tmpdir(), "rdma-image-"));
  const kubeletDir = join(dir, "device-plugins");
  mkdirSync(kubeletDir);
  const host = FakeHost.create(FakeHost.temporaryRoot(), preset("connectx-roce-vfs"));
  const kubelet = await fakeKubelet(kubeletDir);
  const patience = PATIENCE[architecture];
  const port = 20_000 + Math.floor(Math.random() * 10_000);
  const name = `rdma-image-${process.pid}`;
  const start = performance.now();
  const plugin = new PluginProcess([
    "podman",
    ...builder.podman,
    "run",
    "--rm",
    `--name=${name}`,
    "--network=host",
    ...UNPRIVILEGED,
    // The manifest's limit; an emulator's own memory would not fit into it.
    ...architecture === "amd64" ? ["--memory=200m"] : [],
    `--volume=${host.sysfsRoot}:/host/sys:ro`,
    `--volume=${host.devRoot}:/host/dev:ro`,
    `--volume=${kubeletDir}:/var/lib/kubelet/device-plugins`,
    ...builder.runArguments(architecture),
    "--sysfs-root=/host/sys",
    "--dev-root=/host/dev",
    "--rescan=1",
    `--http=127.0.0.1:${port}`,
  ]);
  const allocatable = (n: number, what: string) =>
    kubelet.waitFor((state) => state.resources[RESOURCE]?.allocatable === n, { what, timeoutMs: patience });
  try {
    await allocatable(10, "ten HCAs");
    const startMs = performance.now() - start;
    const [answer] = await kubelet.allocate(RESOURCE, [["mlx5_0"]]);
    check(answer?.devices?.[0]?.host_path === "/dev/infiniband/uverbs0", "Allocate answers with another node");
    await ready(port, patience);
    const pid = builder.inspect(["container", "inspect", "--format", "{{.State.Pid}}", name]);
    const idle = memoryOf(Number(pid));
    for (let i = 0; i < 1_000; i++) await kubelet.allocate(RESOURCE, [["mlx5_0"]]);
    const busy = memoryOf(Number(pid));
    await host.carrierLost("mlx5_1", 1);
    await allocatable(9, "a port that went down");
    builder.inspect(["kill", "--signal=TERM", name]);
    const { code } = await plugin.ended;
    check(code === 0, `SIGTERM ended it with status ${code}`);
    return { architecture, ...builder.size(architecture), startMs, idle, busy };
  } catch (error) {
    throw new Failed(`${error instanceof Error ? error.message : String(error)}\n${plugin.log.join("\n")}`);
  } finally {
    builder.inspect(["kill", "--signal=KILL", name], { quiet: true });
    await plugin.ended;
    await kubelet.close();
    host.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Waits as a probe does: the kubelet may know the devices a moment before the scan that found them has ended. */
async function ready(port: number, timeoutMs: number): Promise<void> {
  let said = "";
  await eventually(
    async () => {
      const answer = await fetch(`http://127.0.0.1:${port}/readyz`);
      said = `${answer.status} ${await answer.text()}`;
      return answer.ok;
    },
    () => `/readyz, which says ${said}`,
    { timeoutMs, everyMs: 200 },
  );
}

function check(good: boolean, sentence: string): void {
  if (!good) throw new Failed(sentence);
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      arch: { type: "string", multiple: true, default: ["amd64"] },
      store: { type: "string" },
      write: { type: "boolean", default: false },
    },
  });
  const wanted = values.arch as Architecture[];
  const stranger = wanted.find((one) => !ARCHITECTURES.includes(one));
  if (stranger !== undefined) {
    process.stderr.write(`--arch is ${stranger}, but takes one of ${ARCHITECTURES.join(", ")}\n`);
    return 2;
  }
  const missing = missingTools(wanted);
  if (missing.length > 0) {
    process.stderr.write(`skipping the image: ${missing.join("; ")}\n`);
    return process.env.CI_NO_SKIP === "1" ? 1 : 0;
  }
  const store = values.store ?? mkdtempSync(join(tmpdir(), "rdma-store-"));
  const rows: Figures[] = [];
  try {
    const builder = new ImageBuilder(store, (sentence) => process.stdout.write(`${sentence}\n`));
    for (const architecture of wanted) {
      builder.build(architecture);
      builder.checkContents(architecture);
      rows.push(await tryImage(builder, architecture));
      process.stdout.write(`${figuresRow(rows.at(-1)!)}\n`);
    }
  } catch (error) {
    process.stderr.write(`the image failed: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  } finally {
    if (values.store === undefined) ImageBuilder.remove(store);
  }
  if (values.write) writeFigures(rows);
  return 0;
}

if (import.meta.main) process.exit(await main());

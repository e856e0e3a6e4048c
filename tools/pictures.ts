/**
 * `deno task pictures`: the pictures of the README, of the real program on a fake host: what `list` prints, as SVG, and
 * the status page, by Debian's chromium.
 *
 * @module
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { styleText } from "@std/cli";
import { chromium } from "playwright-core";
import { preset } from "../sim/mod.ts";
import { asText } from "../src/cli/list.ts";
import { DEFAULT_SPEC } from "../src/pool/spec.ts";
import { inspected } from "../test/support/inspected.ts";
import { pod, rig } from "../test/support/rig.ts";
import { terminalPicture } from "../test/support/terminal_picture.ts";

const PICTURES = fileURLToPath(new URL("../docs/pictures/", import.meta.url));
/** Three rails of a GPU node and its storage adapter: one of each verdict. */
const HOST = { hcas: preset("gpu-rails").hcas.filter((_, i) => [0, 1, 4, 8].includes(i)) };
const SPECS = [{ ...DEFAULT_SPEC, name: "rdma/rail", select: [{ linkLayers: ["InfiniBand" as const] }] }];

async function list(): Promise<void> {
  const inventory = await inspected(HOST, SPECS, async (host) => {
    await host.carrierLost("mlx5_1", 1);
  });
  const text = asText(inventory, null, (style, words) => styleText(style, words, { validateStream: false }));
  writeFileSync(join(PICTURES, "list.svg"), terminalPicture("deno run -A mod.ts list --config rail.yaml", text));
}

async function statusPage(): Promise<void> {
  const pods = [pod("ml", "train-0", ["mlx5_0"], "rdma/rail")];
  await using plugin = await rig({ host: HOST, specs: SPECS, pods, node: "node-1" });
  await plugin.registered();
  const browser = await chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
  });
  try {
    const page = await (await browser.newContext({ viewport: { width: 900, height: 900 } })).newPage();
    await page.goto(plugin.url);
    await page.getByText("Live.").waitFor();
    await plugin.host.carrierLost("mlx5_1", 1);
    await page.getByText("Port 1 DOWN").first().waitFor();
    await page.screenshot({ path: join(PICTURES, "status.png") });
  } finally {
    await browser.close();
  }
}

mkdirSync(PICTURES, { recursive: true });
await list();
await statusPage();

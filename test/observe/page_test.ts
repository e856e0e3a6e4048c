import { equal, match, ok } from "@std/assert";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { get as httpGet, type IncomingMessage } from "node:http";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { PRESETS } from "../../sim/host/host.ts";
import { socketParent } from "../../sim/host/temporary.ts";
import { fragment, page } from "../../src/observe/page.ts";
import { statusModel } from "../../src/observe/page_model.ts";
import { DEFAULT_SPEC } from "../../src/pool/spec.ts";
import { hca, pci, port, snapshot } from "../support/hcas.ts";
import { needs } from "../support/need.ts";
import { within } from "../support/temp.ts";
import { RESOURCE } from "../support/kubelet.ts";
import { pod, type Rig, rig } from "../support/rig.ts";
import { sessionStatus } from "../support/session_status.ts";

const VFS = PRESETS["connectx-roce-vfs"];
const SHOTS = fileURLToPath(new URL("../../test-output/", import.meta.url));
/** Milliseconds: for a browser on a busy machine. Nothing is measured. */
const PATIENCE = 30_000;

const PODS = [pod("ml", "train-0", ["mlx5_0"])];

/** Text as no machine and no cluster should have it. */
const HOSTILE = `<script>alert(1)</script><img src=x onerror=alert(1)>"'&`;

Deno.test("statusModel() draws NUMA nodes, PCIe roots and HCAs, with what is left out and what is gone", async () => {
  const specs = [{ ...DEFAULT_SPEC, select: [{ vendors: ["15b3"] }] }];
  const left = hca(3, { pci: pci("0000:03:00.0", { vendor: "8086", numaNode: 1, path: ["pci0000:00"] }) });
  const soft = hca(4, { pci: null, kind: "virtual" });
  const sick = hca(2, { ports: [port(1, { state: "DOWN" })] });
  const hcas = [hca(1), sick, left, soft];
  const { select } = await import("../../src/pool/select.ts");
  const { track } = await import("../../src/pool/states.ts");
  const selection = select(specs, snapshot(hcas));
  const { states } = track(new Map(), selection, new Map(), 0);
  const { leftOut } = selection;
  const inventory = { snapshot: snapshot(hcas.slice(1)), specs, states, leftOut, ownersOf: () => [] };
  const later = { inventory, sessions: [], changes: [] };
  const holders = new Map([[RESOURCE, new Map([["mlx5_2", [{ namespace: "a", pod: "p", container: "c" }]]])]]);
  const model = statusModel(later, { ok: true, holders, claimed: [] }, { node: "n", version: "1" });
  const drawn = model.numa.flatMap(({ node, roots }) =>
    roots.flatMap(({ root, hcas }) => hcas.map((one) => `${node} ${root} ${one.name} ${one.verdict}`))
  );
  equal(
    drawn.join("\n"),
    "0 pci0000:3a mlx5_1 healthy\n0 pci0000:3a mlx5_2 unhealthy\n1 pci0000:00 mlx5_3 left out\nnull null mlx5_4 left out",
  );
  const [first] = model.resources;
  equal(`${first?.healthy} of ${first?.total}, ${first?.inUse} in use`, "1 of 2, 1 in use");
  equal(first?.devices[1]?.pods[0], "a/p (c)");
  equal(model.numa[0]?.roots[0]?.hcas[1]?.pods[0], "a/p (c)");
  match(first?.devices[1]?.reason ?? "", /port 1 is DOWN/);
  ok((model.numa[1]?.roots[0]?.hcas[0]?.leftOut[0]?.reason ?? "") !== "");
  ok(!JSON.stringify(model).includes("undefined"));
});

Deno.test("the page escapes everything from outside", async () => {
  const evil = hca(1, {
    name: HOSTILE,
    firmware: HOSTILE,
    netdevs: [HOSTILE],
    notes: [HOSTILE],
    pci: pci("0000:01:00.0", { driver: HOSTILE, path: [HOSTILE] }),
    ports: [port(1, { rate: HOSTILE, physState: HOSTILE })],
  });
  const { after } = await import("../support/hcas.ts");
  const specs = [{ ...DEFAULT_SPEC, name: HOSTILE }];
  const { states } = after(new Map(), specs, [evil], 0);
  const holders = new Map([[
    HOSTILE,
    new Map([[HOSTILE, [{ namespace: HOSTILE, pod: HOSTILE, container: HOSTILE }]]]),
  ]]);
  const change = {
    resource: HOSTILE,
    device: HOSTILE,
    hca: HOSTILE,
    port: 1,
    from: "Healthy" as const,
    to: "Unhealthy" as const,
    code: "gone" as const,
    reason: HOSTILE,
    time: 0,
  };
  const session = sessionStatus({ resource: HOSTILE, phase: "waiting", socket: HOSTILE, reason: HOSTILE });
  const state = {
    inventory: {
      snapshot: snapshot([evil], { notes: [HOSTILE], unreadable: [{ name: HOSTILE, reason: HOSTILE }] }),
      specs: [],
      states,
      leftOut: [{ hca: HOSTILE, resource: HOSTILE, code: "excluded" as const, reason: HOSTILE }],
      ownersOf: () => [],
    },
    sessions: [session],
    changes: [change],
  };
  for (const pods of [{ ok: true as const, holders, claimed: [] }, { ok: false as const, reason: HOSTILE }]) {
    const text = await page(statusModel(state, pods, { node: HOSTILE, version: HOSTILE }), "nonce");
    equal(text.match(/<script/g)?.length, 1, "the page's own script");
    equal(text.includes("<img"), false);
    equal(/="[^"]*<script/.test(text), false);
    ok(text.split("&lt;script&gt;alert(1)&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;&quot;").length > 15);
  }
});

Deno.test("the page before the first scan says so", async () => {
  const text = await fragment(statusModel(null, null, { node: "n", version: "1" }));
  match(text, /Not ready/);
  match(text, /the first scan of the machine has not finished/);
});

/** Events of `/events` as they come. */
async function* events(rig: Rig, path = "/events"): AsyncGenerator<string> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    httpGet({ host: "127.0.0.1", port: rig.port, path, agent: false }, resolve).on("error", reject);
  });
  try {
    equal(response.statusCode, 200);
    let rest = "";
    for await (const bytes of response) {
      rest += bytes;
      const frames = rest.split("\n\n");
      rest = frames.pop()!;
      for (const frame of frames) {
        const data = /^data: (.*)$/m.exec(frame)?.[1];
        if (data !== undefined) yield JSON.parse(data);
      }
    }
  } finally {
    response.destroy();
  }
}

Deno.test("/events sends the page's part at once and again when a port goes down", async () => {
  await using plugin = await rig({ host: VFS });
  await plugin.registered();
  const wanted = async () => {
    let sawUp = false;
    for await (const part of events(plugin)) {
      if (/port 1 is DOWN/.test(part)) return sawUp;
      if (!sawUp) await plugin.host.carrierLost("mlx5_0", 1);
      sawUp = true;
    }
    throw new Error("the stream ended");
  };
  ok(await within(wanted(), "the page part with the port down"));
});

Deno.test("/events is for sixteen pages; the next one is told to come again", async () => {
  await using plugin = await rig({ host: VFS });
  await plugin.registered();
  const open = Array.from({ length: 16 }, () => events(plugin));
  await within(Promise.all(open.map((one) => one.next())), "sixteen pages have their first event");
  equal((await plugin.get("/events")).status, 503);
  equal((await plugin.get("/livez")).status, 200);
  await Promise.all(open.map((one) => one.return(undefined)));
  const letIn = async () => {
    while ((await plugin.get("/state.json")).status !== 200 || (await head(plugin)) !== 200);
  };
  await within(letIn(), "there is room again");
});

/** Status of `/events` for a reader that leaves at once. */
function head(plugin: Rig): Promise<number> {
  return new Promise((resolve, reject) => {
    httpGet({ host: "127.0.0.1", port: plugin.port, path: "/events", agent: false }, (response) => {
      resolve(response.statusCode ?? 0);
      response.destroy();
    }).on("error", reject);
  });
}

/** Debian's Chromium, with a page of this kind; closed afterwards. */
async function withPage(
  context: BrowserContextOptions,
  url: string,
  use: (page: Page, browser: Browser) => Promise<void>,
): Promise<void> {
  const { chromium } = await import("playwright-core");
  const args = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"];
  // Its profile, in the temporary directory, has a socket.
  const env = { ...process.env, TMPDIR: socketParent() };
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args, env, timeout: PATIENCE });
  try {
    const one = await (await browser.newContext(context)).newPage();
    one.setDefaultTimeout(PATIENCE);
    await one.goto(url);
    await use(one, browser);
  } finally {
    await browser.close();
  }
}

async function shoot(page: Page, name: string): Promise<void> {
  mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ path: join(SHOTS, `${name}.png`), fullPage: true });
}

/** What axe-core finds, as sentences. */
async function accessibility(page: Page): Promise<readonly string[]> {
  const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  // The page's policy forbids scripts that are not its own; the debugger may evaluate all the same.
  await page.evaluate(axe);
  return await page.evaluate(async () => {
    const { axe } = globalThis as unknown as {
      axe: { run(): Promise<{ violations: { id: string; nodes: { html: string; failureSummary: string }[] }[] }> };
    };
    const { violations } = await axe.run();
    return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html}: ${node.failureSummary}`));
  });
}

const BROWSER = needs("chromium");

Deno.test({
  name: "Chromium: the page shows a port going down without a reload, and keeps the reader's place",
  ...BROWSER,
  fn: async () => {
    await using plugin = await rig({ host: VFS, pods: PODS });
    await plugin.registered();
    await withPage({}, plugin.url, async (page) => {
      const complaints: string[] = [];
      page.on("console", (message) => complaints.push(message.text()));
      page.on("pageerror", (error) => complaints.push(error.message));
      await page.getByText("Live.").waitFor();
      const card = page.locator("li.hca", { has: page.getByRole("heading", { name: "mlx5_0", exact: true }) });
      await card.getByText("Healthy", { exact: false }).first().waitFor();
      await card.getByText("ml/train-0 (main)").waitFor();
      await page.evaluate(() => Object.assign(globalThis, { stayed: true }));

      // By keyboard: the devices of the resource are opened, and stay so.
      await page.locator("summary").first().focus();
      await page.keyboard.press("Enter");
      await page.locator("details[open]").first().waitFor();

      await plugin.host.carrierLost("mlx5_0", 1);
      await card.getByText("Port 1 DOWN").waitFor();
      await card.getByText("Unhealthy").waitFor();
      await page.getByRole("region", { name: "Devices that changed" }).getByText("Unhealthy").first().waitFor();
      equal(await page.evaluate(() => "stayed" in globalThis), true, "the page was loaded again");
      equal(await page.locator("details[open]").count(), 1);
      equal(await page.evaluate("document.activeElement?.tagName"), "SUMMARY");
      await shoot(page, "status-port-down");

      await plugin.host.portUp("mlx5_0", 1);
      await card.getByText("Port 1 ACTIVE").waitFor();
      equal(complaints.join("\n"), "");
    });
  },
});

Deno.test({
  name: "Chromium: axe-core finds nothing to complain about, in light and dark, wide and narrow",
  ...BROWSER,
  fn: async () => {
    const specs = [
      { ...DEFAULT_SPEC, select: [{ pfs: [{ pf: "ens1f0np0", vfs: null }] }, { hcas: ["mlx5_0"] }] },
      {
        ...DEFAULT_SPEC,
        name: "rdma/vf",
        select: [{ kinds: ["vf" as const] }],
        health: { ...DEFAULT_SPEC.health, policy: "port-active" as const },
      },
    ];
    await using plugin = await rig({ host: VFS, specs, pods: PODS });
    await plugin.registered();
    await plugin.host.hideUverbsNode("mlx5_0");
    await plugin.host.carrierLost("mlx5_3", 1);
    await plugin.host.removeHca("mlx5_5");
    await plugin.state(
      (state) => state.changes.some((one) => one.device === "mlx5_5" && one.to === "Unhealthy"),
      "gone",
    );
    const contexts: readonly (readonly [string, BrowserContextOptions])[] = [
      ["light", { colorScheme: "light" }],
      ["dark", { colorScheme: "dark" }],
      ["narrow", { viewport: { width: 360, height: 740 } }],
    ];
    for (const [name, context] of contexts) {
      await withPage(context, plugin.url, async (page) => {
        await page.getByText("Live.").waitFor();
        await page.evaluate(`document.querySelectorAll("details").forEach((one) => one.open = true)`);
        equal((await accessibility(page)).join("\n"), "", name);
        const wide = await page.evaluate(`document.documentElement.scrollWidth > document.documentElement.clientWidth`);
        equal(wide, false, "the page itself scrolls sideways");
        await shoot(page, `status-${name}`);
        // … and it does scan: a page that is spoiled does not pass.
        await page.evaluate(`document.querySelector("main").innerHTML += "<button></button>"`);
        match((await accessibility(page)).join("\n"), /^button-name/);
      });
    }
  },
});

Deno.test({
  name: "Chromium: without JavaScript the page shows all, and a link to load it again",
  ...BROWSER,
  fn: async () => {
    await using plugin = await rig({ host: VFS });
    await plugin.registered();
    await withPage({ javaScriptEnabled: false }, plugin.url, async (page) => {
      await page.getByRole("heading", { name: "mlx5_0", exact: true }).waitFor();
      await plugin.host.carrierLost("mlx5_0", 1);
      await plugin.state((state) => state.changes.some((one) => one.to === "Unhealthy"), "the port is down");
      await page.getByRole("link", { name: "Load it again" }).click();
      await page.getByText("Port 1 DOWN").first().waitFor();
      await shoot(page, "status-no-javascript");
    });
  },
});

Deno.test({
  name: "Chromium: hostile names do not run",
  ...BROWSER,
  fn: async () => {
    await using plugin = await rig({ host: VFS, node: HOSTILE });
    await plugin.registered();
    await plugin.host.setAttribute("mlx5_0", "fw_ver", HOSTILE);
    await plugin.host.setAttribute("mlx5_0", "ports/1/rate", `100 Gb/sec ${HOSTILE}`);
    await plugin.agent.scan("SIGHUP");
    await withPage({}, plugin.url, async (page) => {
      const opened: string[] = [];
      page.on("dialog", (dialog) => {
        opened.push(dialog.message());
        return dialog.dismiss();
      });
      await page.getByText("Live.").waitFor();
      equal(await page.locator("img").count(), 0);
      equal(await page.locator("script").count(), 1);
      equal(await page.getByRole("heading", { level: 1 }).textContent(), `RDMA on ${HOSTILE}`);
      equal(opened.join(), "");
    });
  },
});

import { deepEqual, equal, ok } from "@std/assert";
import { lstatSync, mkdirSync, readdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { type FakeKubelet, type PluginProcess } from "../../sim/mod.ts";
import { socketName } from "../../src/kubelet/socket_file.ts";
import { LIMITS } from "../../src/observe/http.ts";
import { fakeKubelet, offered, RESOURCE } from "../support/kubelet.ts";
import { bundle } from "../support/bundle.ts";
import { needs } from "../support/need.ts";
import { type OnHost, onHost } from "../support/plugin.ts";
import { afterScript, startBundle, startIn } from "../support/wrapped.ts";
import { addresses, type Call, callsOf, changed, opened, traced } from "./trace.ts";

const DOCS = readFileSync(new URL("../../docs/security.md", import.meta.url), "utf8");

/** Rows of the table below a heading of docs/security.md, cells trimmed. */
function table(heading: string): readonly (readonly string[])[] {
  const [, section = ""] = DOCS.split(`## ${heading}\n`);
  const lines = section.split("\n## ")[0]!.split("\n").filter((line) => line.startsWith("|")).slice(2);
  return lines.map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
}

/** The paths that docs/security.md allows, by what for; names of flags and variables as they are in this run. */
function allowed(as: Readonly<Record<string, string>>): ReadonlyMap<string, string> {
  return new Map(
    table("What the process opens").flatMap(([paths = "", what = ""]) =>
      [...paths.matchAll(/`([^`]+)`/g)].map(([, path]) => [as[path!] ?? path!, what] as const)
    ),
  );
}

const isBelow = (path: string, dir: string) => path === dir || path.startsWith(`${dir}/`);

/** One life of the shipped bundle under strace: start, list, Allocate, a port that goes down, end. */
async function life(place: OnHost, program: string, flags: readonly string[]): Promise<readonly Call[]> {
  const trace = join(place.dir, "trace/calls");
  mkdirSync(dirname(trace));
  // What is not there cannot be written to, even by root. Libraries that a user prefers are looked for wherever that is.
  const own = ["-u", "LD_LIBRARY_PATH", "-u", "LD_PRELOAD"];
  const env = ["env", ...own, "DENO_DIR=/proc/none", `HOME=${join(place.dir, "home")}`];
  await using kubelet = await fakeKubelet(place.kubeletDir);
  const plugin = startBundle(program, [...env, ...traced(trace)], place, flags);
  await devices(kubelet, plugin, 1);
  await plugin.logged(/code=registered/);
  equal((await kubelet.allocate(RESOURCE, [["mlx5_0"]])).length, 1);
  await place.host.portDown("mlx5_0", 1);
  await devices(kubelet, plugin, 0);
  equal((await plugin.stop()).code, 0, plugin.log.join("\n"));
  return callsOf(trace);
}

function devices(kubelet: FakeKubelet, plugin: PluginProcess, count: number): Promise<unknown> {
  return offered(kubelet, count)
    .catch((error: unknown) => Promise.reject(new Error(`${error}\n${plugin.log.join("\n")}`)));
}

Deno.test({
  name: "the process opens, changes and starts nothing but what docs/security.md says",
  ...needs("strace"),
  async fn() {
    await using place = onHost("connectx-ib-dual");
    const program = await bundle(join(place.dir, "app"));
    const config = join(place.dir, "etc/config.yaml");
    mkdirSync(dirname(config));
    writeFileSync(config, `resources:\n  - name: ${RESOURCE}\n`);
    const cdiDir = join(place.dir, "cdi");
    const calls = await life(place, program, ["--cdi", "--cdi-dir", cdiDir, "--config", config]);
    const flags = {
      "--kubelet-dir": place.kubeletDir,
      "--cdi-dir": cdiDir,
      "--sysfs-root": place.host.sysfsRoot,
      "--dev-root": place.host.devRoot,
      "--config": dirname(config),
    };
    const rows = allowed({
      ...flags,
      "--events": dirname(place.host.eventsFile),
      "PROGRAM": dirname(program),
      "HOME": join(place.dir, "home"),
    });
    const writable = [...rows].filter(([, what]) => what === "writing").map(([path]) => path);
    deepEqual(writable, [place.kubeletDir, cdiDir]);

    const files = opened(calls);
    ok(files.length > 100, `only ${files.length} files were seen`);
    for (const path of Object.values(flags)) ok(files.some((file) => isBelow(file.path, path)), path);
    // Where the program is, the runtime looks for its configuration in every directory above it, too.
    const lookedFor = /^(deno\.jsonc?|package\.json|deno\.lock|tsconfig\.json|\.npmrc)$/;
    const above = (path: string) =>
      lookedFor.test(path.slice(path.lastIndexOf("/") + 1)) && isBelow(program, dirname(path).replace(/\/$/, ""));
    // The runtime reads its own file, wherever it is installed.
    const runtime = realpathSync(process.execPath);
    const strange = files.filter(({ path }) =>
      ![...rows.keys()].some((row) => isBelow(path, row)) && !above(path) && !isBelow(path, "/proc/none") &&
      path !== runtime
    );
    deepEqual([...new Set(strange.map(({ path }) => path))], [], "opened, and not in docs/security.md");
    const wroteTo = files.filter((file) => file.writing && !isBelow(file.path, "/proc/none")).map((file) => file.path);
    const touched = [...wroteTo, ...changed(calls)];
    ok(touched.length > 5, touched.join());
    deepEqual(touched.filter((path) => !writable.some((dir) => isBelow(path, dir))), [], "written to");
    const nodes = files.filter(({ path, listing }) =>
      !listing && [...rows].some(([row, what]) => what === "listing" && isBelow(path, row)) &&
      !isBelow(path, place.host.sysfsRoot)
    );
    deepEqual(nodes, [], "device nodes that were opened");

    const named = (name: RegExp) => calls.filter((call) => name.test(call.name));
    equal(named(/^execve(at)?$/).length, 1, "no program but itself");
    deepEqual(named(/^(clone3?|v?fork)$/).filter(({ args }) => !args.includes("CLONE_THREAD")), [], "no child");
    deepEqual(named(/^socket$/).filter(({ args }) => !/^AF_(UNIX|NETLINK)/.test(args)), [], "no IP socket");
    for (const one of [...addresses(calls, "bind"), ...addresses(calls, "connect")]) {
      ok(one.startsWith("netlink") || one.startsWith(`unix ${place.kubeletDir}/`), one);
    }
    // A container that was answered in the last half minute may still need the spec.
    equal(readdirSync(cdiDir).join(), "rdma-device-plugin_tencent.com_rdma.json", "nothing else is left behind");
  },
});

Deno.test({
  name: "an IP socket is there only where --http asks for one, on that address",
  ...needs("strace"),
  async fn() {
    await using place = onHost("connectx-ib-dual");
    const program = await bundle(join(place.dir, "app"));
    const calls = await life(place, program, ["--http", "127.0.0.1:0", "--rescan", "1", "--events", "auto"]);
    const ip = (addresses: readonly string[]) => addresses.filter((one) => one.startsWith("inet"));
    deepEqual(ip(addresses(calls, "bind")), ["inet 127.0.0.1:0"]);
    deepEqual(ip(addresses(calls, "connect")), []);
    const families = calls.filter(({ name }) => name === "socket").map(({ args }) => args.split(",")[0]!);
    deepEqual([...new Set(families)].sort(), ["AF_INET", "AF_NETLINK", "AF_UNIX"]);
    equal(calls.filter(({ name }) => /^execve(at)?$/.test(name)).length, 1);
  },
});

for (const umask of ["0000", "0777"]) {
  Deno.test(`the socket has the mode 0600 and a CDI spec 0644 under umask ${umask}`, async () => {
    await using place = onHost("connectx-ib-dual");
    await using kubelet = await fakeKubelet(place.kubeletDir);
    const cdiDir = join(place.dir, "cdi");
    mkdirSync(cdiDir);
    await using plugin = startIn(afterScript(`umask ${umask}`), place, ["--cdi", "--cdi-dir", cdiDir]);
    await devices(kubelet, plugin, 1);
    const mode = (path: string) => (lstatSync(path).mode & 0o7777).toString(8);
    equal(mode(join(place.kubeletDir, socketName(RESOURCE))), "600");
    deepEqual(readdirSync(cdiDir).map((name) => mode(join(cdiDir, name))), ["644"]);
  });
}

// That each limit holds is shown in test/observe/http_test.ts, with limits that do not take as long.
Deno.test("docs/security.md has the limits of the HTTP server", () => {
  const { connections, headerBytes, headMs, idleMs, readMs } = LIMITS;
  const documented = table("The status page and metrics").map(([, value]) => Number(value));
  deepEqual(documented, [connections, headerBytes, headMs, idleMs, readMs]);
});

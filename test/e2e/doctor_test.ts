/**
 * The doctor as people run it: a process, on a fake host beside the fake kubelet. What depends on the machine that runs
 * the test (its memory limit, its libraries) is left out of the comparison.
 */
import { deepEqual, equal, match, ok } from "@std/assert";
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { execPath } from "node:process";
import { count, fakeKubelet, offered, RESOURCE } from "../support/kubelet.ts";
import { ROOT } from "../support/root.ts";
import type { Finding } from "../../src/doctor/finding.ts";
import { box } from "../support/box.ts";
import { needs } from "../support/need.ts";
import { onHost } from "../support/plugin.ts";
import { temporaryDir, within } from "../support/temp.ts";

const OF_THIS_MACHINE = ["memlock", "inotify", "provider", "selinux"];

function troubles(json: string): string[] {
  return (JSON.parse(json) as Finding[])
    .filter((one) => ["problem", "warning"].includes(one.severity) && !OF_THIS_MACHINE.includes(one.id))
    .map((one) => `${one.severity} ${one.id}`);
}

type Place = ReturnType<typeof onHost>;

/** Runs the doctor beside a kubelet that runs, after `change`; gives its troubles and its exit status. */
async function ask(change: (place: Place) => Promise<readonly string[]>) {
  await using place = onHost("connectx-ib-dual");
  await using _kubelet = await fakeKubelet(place.kubeletDir);
  const doctor = place.ask("doctor", "--json", ...await change(place));
  const { code } = await doctor.ended;
  return { code, found: troubles(doctor.log.join("")) };
}

Deno.test("doctor as a process ends with 1 while the kubelet is down and with 0 when it is up, and changes nothing", async () => {
  await using place = onHost("connectx-ib-dual");
  const down = place.ask("doctor");
  equal((await down.ended).code, 1, down.log.join("\n"));
  match(down.log.join("\n"), /PROBLEM {2}.*kubelet\.sock does not exist/);
  equal(readdirSync(place.kubeletDir).length, 0);
  await using kubelet = await fakeKubelet(place.kubeletDir);
  const up = place.ask("doctor", "--json");
  equal((await up.ended).code, 0, up.log.join("\n"));
  deepEqual(troubles(up.log.join("")), []);
  equal(count(kubelet, "register"), 0);
  equal((await place.ask("doctor", "--watch").ended).code, 2);
});

interface Case {
  readonly what: string;
  readonly found: readonly string[];
  /** Gives the flags that it takes. */
  readonly change: (place: Place) => Promise<readonly string[]>;
}
const CASES: readonly Case[] = [
  {
    what: "no uverbs node in /dev",
    found: ["problem uverbs-node"],
    change: async ({ host }) => (await host.hideUverbsNode("mlx5_0"), []),
  },
  {
    what: "no rdma_cm",
    found: ["warning rdma-cm"],
    change: async ({ host }) => (await host.setRdmaCm(false), []),
  },
  {
    what: "a kubelet directory that is a file",
    found: ["problem kubelet-dir"],
    change({ dir }) {
      writeFileSync(join(dir, "file"), "");
      return Promise.resolve(["--kubelet-dir", join(dir, "file")]);
    },
  },
  {
    what: "no kubelet in its directory",
    found: ["problem kubelet-down"],
    change({ dir }) {
      mkdirSync(join(dir, "empty"));
      return Promise.resolve(["--kubelet-dir", join(dir, "empty")]);
    },
  },
  {
    what: "a master without virtual functions",
    found: ["problem no-vfs"],
    change: () => Promise.resolve(["--master", "ib0"]),
  },
  {
    what: "a configuration that selects nothing",
    found: ["problem selects-nothing"],
    change({ dir }) {
      const file = join(dir, "config.yaml");
      writeFileSync(file, "resources:\n  - name: rdma/none\n    select:\n      - vendors: ['8086']\n");
      return Promise.resolve(["--config", file]);
    },
  },
];
for (const { what, found, change } of CASES) {
  Deno.test(`doctor as a process finds exactly: ${what}`, async () => {
    const answer = await ask(change);
    deepEqual(answer, { code: found.some((one) => one.startsWith("problem")) ? 1 : 0, found });
  });
}

/** What the doctor finds wrong with a directory that a script has spoilt; the script's $1 is the directory. */
function kubeletDirAfter(script: string): readonly Finding[] {
  using dir = temporaryDir();
  const doctor = [
    execPath,
    "run",
    "-A",
    "--quiet",
    "--no-check",
    "mod.ts",
    "doctor",
    "--json",
    "--kubelet-dir",
    dir.path,
  ];
  const { stdout, stderr } = spawnSync(
    "unshare",
    ["--mount", "--propagation", "private", "sh", "-euc", script, "sh", dir.path, ...doctor],
    { cwd: ROOT, encoding: "utf8" },
  );
  if (stdout === "") throw new Error(stderr);
  return (JSON.parse(stdout) as Finding[]).filter((one) => one.id.startsWith("kubelet"));
}

Deno.test({
  name: "doctor finds a read-only mount of the kubelet's directory, as root, too",
  ...needs("root", "unshare"),
  fn() {
    const found = kubeletDirAfter(`mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; shift; exec "$@"`);
    deepEqual(found.map((one) => [one.severity, one.id]), [["problem", "kubelet-dir"]]);
    match(found[0]!.what, /mounted read-only/);
  },
});

Deno.test({
  name: "doctor finds a kubelet directory that root may not write to without its capabilities",
  ...needs("root", "unshare"),
  fn() {
    const drop = "setpriv --bounding-set=-all --inh-caps=-all --no-new-privs";
    const found = kubeletDirAfter(`chown 65534 "$1"; chmod 755 "$1"; shift; exec ${drop} "$@"`);
    deepEqual(found.map((one) => [one.severity, one.id]), [["problem", "kubelet-dir"]]);
    match(found[0]!.what, /not writable for this process/);
  },
});

Deno.test("doctor finds a plugin that runs and is registered by the plugin watcher, and raises no alarm", async () => {
  await using place = onHost("connectx-ib-dual");
  const pluginsRegistry = join(dirname(place.kubeletDir), "plugins_registry");
  mkdirSync(pluginsRegistry);
  await using kubelet = await fakeKubelet(place.kubeletDir, { pluginsRegistry });
  place.start();
  await offered(kubelet, 1);
  deepEqual(readdirSync(pluginsRegistry), ["rdma-tencent.com_rdma.sock"]);
  const doctor = place.ask("doctor", "--json");
  equal((await doctor.ended).code, 0);
  deepEqual(troubles(doctor.log.join("")), []);
});

Deno.test("doctor says that a name is taken when the kubelet has it and this plugin does not serve it", async () => {
  await using place = onHost("connectx-ib-dual");
  const data = { Data: { PodDeviceEntries: [], RegisteredDevices: { [RESOURCE]: ["x"] } }, Checksum: 0 };
  writeFileSync(join(place.kubeletDir, "kubelet_internal_checkpoint"), JSON.stringify(data));
  const server = createServer();
  await new Promise<void>((done) => server.listen(join(place.kubeletDir, "kubelet.sock"), done));
  try {
    const doctor = place.ask("doctor", "--json");
    equal((await doctor.ended).code, 0, doctor.log.join("\n"));
    deepEqual(troubles(doctor.log.join("")), ["warning name-taken"]);
  } finally {
    await new Promise<void>((done) => server.close(() => done()));
  }
});

for (const set of ["image", "no-ffi"] as const) {
  Deno.test({
    name:
      `doctor in the image, with the permission set ${set}, raises no alarm on a healthy node and names what it did not see`,
    ...needs("root", "unshare"),
    async fn() {
      await using room = await box("connectx-ib-dual");
      await using _kubelet = await fakeKubelet(room.kubeletDir);
      const run = async (...args: string[]) => {
        const plugin = room.plugin(set, args);
        const { code } = await within(plugin.ended, `the end of ${args[0]}`);
        return { code, said: plugin.log.join("\n") };
      };
      const healthy = await run("doctor", "--json", "--sysfs-root=/host/sys", "--dev-root=/host/dev");
      equal(healthy.code, 0, healthy.said);
      deepEqual(troubles(healthy.said), []);
      const findings = JSON.parse(healthy.said) as Finding[];
      match(findings.find((one) => one.id === "sandbox")!.what, /not checked/);
      ok(!findings.some((one) => one.id === "provider"), "nothing is known of the providers");
      // libc can be asked where FFI is allowed; without it nothing is claimed.
      equal(findings.some((one) => one.id === "memlock"), set === "image");
      // What a person forgets who types the command in the container.
      const bare = await run("doctor", "--json", "--dev-root=/host/dev");
      equal(bare.code, 1, bare.said);
      deepEqual(troubles(bare.said), ["problem sandbox"]);
      match((await run("list")).said, /Deno's permissions do not allow access to \/sys/);
    },
  });
}

Deno.test("doctor and list end quietly when nobody reads what they say", () => {
  for (const command of ["doctor", "list"]) {
    const script = `"$@" | true`;
    const args = ["run", "-A", "--quiet", "--no-check", "mod.ts", command];
    const { stderr } = spawnSync("sh", ["-c", script, "sh", execPath, ...args], { cwd: ROOT, encoding: "utf8" });
    equal(stderr, "");
  }
});

/**
 * Faults of what the plugin writes to and reads from: the kubelet's directory, the CDI directory, the configuration; on
 * file systems that are full or read-only, at the start or from some moment on.
 *
 * @module
 */
import { equal, match, ok, rejects } from "@std/assert";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { FakeKubelet } from "../../sim/mod.ts";
import { count, fakeKubelet, offered, RESOURCE } from "../support/kubelet.ts";
import { type OnHost, onHost } from "../support/plugin.ts";
import { within } from "../support/temp.ts";
import { boundTo, type Tmpfs, tmpfs } from "../support/tmpfs.ts";
import { eventually } from "../support/eventually.ts";
import { type Fault, matches } from "./fault.ts";
import { type Scene, underFault } from "./under_fault.ts";

/** The plugin's own view of the kubelet's directory, which can be read-only without the kubelet's being so. */
const viewOf = (place: OnHost) => join(place.dir, "view");
const cdiDirOf = (place: OnHost) => join(place.dir, "cdi");
const startInView = (place: OnHost, flags: readonly string[]) => place.start(...flags, "--kubelet-dir", viewOf(place));
const startWithCdi = (place: OnHost, flags: readonly string[]) =>
  place.start(...flags, "--cdi", "--cdi-dir", cdiDirOf(place));

/** A mount that the fault does things to after the scene was set. */
function held<T extends Disposable>(make: (place: OnHost) => T): { mount: (place: OnHost) => T; get: () => T } {
  let made: T | null = null;
  return {
    mount: (place) => made = make(place),
    get: () => {
      if (made === null) throw new Error("the scene is not set");
      return made;
    },
  };
}

/** A fake kubelet for rows that need the plugin's start or end rather than its life. */
async function withKubelet(preset: string, body: (place: OnHost, kubelet: FakeKubelet) => Promise<void>) {
  await using place = onHost(preset);
  await using kubelet = await fakeKubelet(place.kubeletDir);
  await body(place, kubelet);
}

/** Allocate is refused with the sentence, and told so once; when the disk is well the very next call is answered. */
async function refusedUntilMended({ kubelet, said }: Scene, hca: string, reason: RegExp, fix: () => void) {
  await eventually(() => matches(said(), /ERROR Cannot write the CDI spec/) === 1, "the sentence about the CDI spec");
  match(said().join("\n"), reason);
  await rejects(kubelet.allocate(RESOURCE, [[hca]]), (error: Error & { code?: number }) => {
    equal(error.code, 9);
    match(
      error.message,
      /Cannot write the CDI spec .*; pods of tencent.com\/rdma would start without their adapter\. /,
    );
    return true;
  });
  fix();
  const [answer] = await kubelet.allocate(RESOURCE, [[hca]]);
  equal(answer?.cdi_devices?.length, 1);
  await eventually(
    () => matches(said(), /INFO {2}the CDI spec has been written/) === 1,
    "the end of the fault in the log",
  );
}

/** A CDI directory that cannot be written when another spec is due. */
function cdiDirectory(
  words: Pick<Fault, "name" | "injected" | "promise">,
  spoil: (disk: Tmpfs) => void,
  reason: RegExp,
  fix: (disk: Tmpfs) => void,
): Fault {
  const run = () => {
    const disk = held((place) => tmpfs(cdiDirOf(place), { size: 1 << 16 }));
    const setting = { preset: "connectx-roce-vfs", start: startWithCdi, mount: disk.mount, lines: 12, cdi: true };
    return underFault(setting, async (scene) => {
      spoil(disk.get());
      await scene.place.host.removeVfs("mlx5_0");
      await scene.devices(6);
      await refusedUntilMended(scene, "mlx5_0", reason, () => fix(disk.get()));
      await scene.place.host.addVfs("mlx5_0", 4);
    });
  };
  return { ...words, needs: ["root"], run };
}

const config = (name: string) => `resources:\n  - name: ${name}\n`;

export const STORAGE: readonly Fault[] = [
  {
    name: "A kubelet directory without a free inode costs no pod its devices, and is logged once",
    injected: "every inode of the kubelet's directory used up and the plugin's socket removed; freed while it retries",
    promise: "the old connection serves on; one line says why; the socket is made again by itself",
    needs: ["root"],
    run: () => {
      const disk = held((place) => tmpfs(place.kubeletDir));
      const setting = { mount: disk.mount, flags: ["--log-level", "debug"], lines: 100 };
      return underFault(setting, async ({ socket, said, allocate }) => {
        disk.get().fill("inodes");
        unlinkSync(socket);
        disk.get().fill("inodes");
        const trouble = /ERROR Cannot make a socket in .*: ENOSPC: no space left on device; will be retried/;
        await eventually(() => matches(said(), trouble) === 1, "the sentence about the directory");
        equal(await allocate("mlx5_0"), "/dev/infiniband/uverbs0");
        // What fails alike is not said again to those who did not ask for every detail.
        await eventually(() => matches(said(), /DEBUG Cannot make a socket in .*; try 3/) === 1, "three tries");
        equal(matches(said(), /ERROR/), 1);
        disk.get().free();
        await eventually(
          () => matches(said(), /code=registered/) === 1,
          "the recovery",
        );
        ok(existsSync(socket));
        ok(matches(said(), /(INFO|WARN|ERROR) /) <= 4, said().join("\n"));
      });
    },
  },
  {
    name: "A kubelet directory that becomes read-only for the plugin harms nothing that is there",
    injected: "the plugin's mount of the kubelet's directory remounted read-only; SIGHUP; SIGTERM",
    promise: "lists, Allocate and a new registration go on; at the end the socket that stays is logged, status 0",
    needs: ["root"],
    run: () =>
      withKubelet("connectx-ib-dual", async (place, kubelet) => {
        using view = boundTo(place.kubeletDir, viewOf(place));
        const plugin = startInView(place, []);
        await offered(kubelet, 1);
        view.remount("ro");
        plugin.kill("SIGHUP");
        const registrations = () => count(kubelet, "registered");
        await kubelet.waitFor((state) => registrations() === 2 && state.resources[RESOURCE]?.allocatable === 1);
        equal((await kubelet.allocate(RESOURCE, [["mlx5_0"]])).length, 1);
        plugin.kill("SIGTERM");
        equal((await within(plugin.ended, "the plugin's end")).code, 0, plugin.log.join("\n"));
        equal(matches(plugin.log, /ERROR/), 1, plugin.log.join("\n"));
        match(plugin.log.join("\n"), /Cannot close .* cleanly: EROFS: read-only file system/);
        await offered(kubelet, 0);
      }),
  },
  {
    name: "A kubelet directory that is read-only at the start is waited for",
    injected: "the plugin started on a read-only kubelet directory, which becomes writable later",
    promise: "one line says what is wrong; it registers by itself when it can",
    needs: ["root"],
    run: () =>
      withKubelet("connectx-ib-dual", async (place, kubelet) => {
        using view = boundTo(place.kubeletDir, viewOf(place));
        view.remount("ro");
        const plugin = startInView(place, []);
        await plugin.logged(/ERROR Cannot make a socket in .*: EROFS: read-only file system; will be retried/);
        await plugin.logged(/found 1 HCA/);
        view.remount("rw");
        await plugin.logged(/code=registered/);
        await offered(kubelet, 1);
        equal(matches(plugin.log, /ERROR/), 1, plugin.log.join("\n"));
        equal((await plugin.stop()).code, 0);
      }),
  },
  cdiDirectory(
    {
      name: "A CDI directory that is full refuses pods in a sentence until there is room",
      injected:
        "every block of the CDI directory used up, then four VFs removed, so that another spec is due; then freed",
      promise:
        "Allocate is refused (FAILED_PRECONDITION) with what to do, no half-written spec is left, and the first " +
        "Allocate after the disk has room is answered",
    },
    (disk) => disk.fill("blocks"),
    /ENOSPC: no space left on device; .* Make room there/,
    (disk) => {
      equal(readdirSync(disk.path).filter((name) => name.startsWith(".")).join(), "");
      disk.free();
    },
  ),
  cdiDirectory(
    {
      name: "A CDI directory that becomes read-only refuses pods in a sentence until it is writable",
      injected: "the CDI directory remounted read-only, then four VFs removed; then remounted writable",
      promise: "as for a full one",
    },
    (disk) => disk.remount("ro"),
    /EROFS: read-only file system; .* Mount the directory writable/,
    (disk) => disk.remount("rw"),
  ),
  {
    name: "A read-only CDI directory keeps the plugin neither from starting nor from ending",
    injected: "a start with a dead plugin's spec in a read-only CDI directory; SIGTERM in the same",
    promise:
      "it registers, refuses pods in a sentence, ends with status 0; the dead plugin's spec goes at the next start",
    needs: ["root"],
    run: () =>
      withKubelet("connectx-ib-dual", async (place, kubelet) => {
        using disk = tmpfs(cdiDirOf(place));
        const stale = join(disk.path, "rdma-device-plugin_example.com_gone.json");
        const owner = { "rdma-device-plugin/resource": "example.com/gone", "rdma-device-plugin/socket": "/nowhere" };
        writeFileSync(stale, JSON.stringify({ annotations: owner }));
        disk.remount("ro");
        const plugin = startWithCdi(place, []);
        await offered(kubelet, 1);
        await rejects(kubelet.allocate(RESOURCE, [["mlx5_0"]]), /Cannot write the CDI spec/);
        disk.remount("rw");
        equal((await kubelet.allocate(RESOURCE, [["mlx5_0"]]))[0]?.cdi_devices?.length, 1);
        disk.remount("ro");
        equal((await plugin.stop()).code, 0, plugin.log.join("\n"));
        // Its own spec stays for the pod that was just answered, as it would on a directory that can be written.
        equal(readdirSync(disk.path).length, 2);
        disk.remount("rw");
        const next = startWithCdi(place, []);
        await next.logged(/removed .*gone\.json of an earlier plugin/);
        equal((await next.stop()).code, 0);
        equal(readdirSync(disk.path).join(), "");
      }),
  },
  {
    name: "A configuration that vanishes, is torn or cannot be read leaves the last good one in force",
    injected:
      "the file removed; a directory, a dangling link, half a file, no byte at all and 2 MB in its place; restored",
    promise: "one message each says what is wrong with it; what is offered stays; a good file is followed again",
    run: () =>
      withKubelet("connectx-ib-dual", async (place, kubelet) => {
        const dir = join(place.dir, "etc");
        const path = join(dir, "config.yaml");
        mkdirSync(dir);
        writeFileSync(path, config("rdma/one"));
        const plugin = place.start("--config", path);
        await offered(kubelet, 1, "rdma/one");
        const put = (make: (temporary: string) => void) => {
          const temporary = join(dir, ".new");
          make(temporary);
          rmSync(path, { recursive: true, force: true });
          renameSync(temporary, path);
        };
        const faults: readonly (readonly [() => void, RegExp])[] = [
          [() => rmSync(path), /code=unreadable-file/],
          [() => put((name) => mkdirSync(name)), /is a directory.*code=unreadable-file/],
          [() => put((name) => symlinkSync("nowhere", name)), /code=unreadable-file/],
          [() => put((name) => writeFileSync(name, "resources:\n  - na")), /config\.yaml:2:.*code=wrong-type/],
          [() => put((name) => writeFileSync(name, "")), /code=empty/],
          [() => put((name) => writeFileSync(name, "#".repeat(2 << 20))), /code=too-large/],
        ];
        let told = 0;
        for (const [doIt, words] of faults) {
          doIt();
          const from = plugin.log.length;
          const message = () => plugin.log.slice(from).join("\n");
          await eventually(() => words.test(message()), `${words} in the log, which reads:\n${message()}`);
          told = matches(plugin.log, /is ignored; the old one stays active/);
          equal((await kubelet.allocate("rdma/one", [["mlx5_0"]])).length, 1);
        }
        // A file that is replaced in two steps may be seen missing between them.
        ok(told >= faults.length && told <= 2 * faults.length, `${told} messages:\n${plugin.log.join("\n")}`);
        equal(count(kubelet, "registered"), 1);
        put((name) => writeFileSync(name, config("rdma/two")));
        await offered(kubelet, 1, "rdma/two");
        equal((await plugin.stop()).code, 0);
      }),
  },
];

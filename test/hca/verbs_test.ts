import { deepEqual, equal, match, ok } from "@std/assert";
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { execPath } from "node:process";
import { fileURLToPath } from "node:url";
import type { VerbsAnswer } from "../../src/hca/types.ts";
import { guidText, openVerbs } from "../../src/hca/verbs.ts";
import { FakeHost, preset } from "../../sim/mod.ts";
import { compileLibrary } from "../support/c_library.ts";
import { onFakeHost } from "../support/list_verbs.ts";
import { needs } from "../support/need.ts";
import { temporaryDir } from "../support/temp.ts";

const CHILD = fileURLToPath(new URL("../support/verbs_child.ts", import.meta.url));
const DENO = [execPath, "run", "-A", "--quiet", "--no-check", CHILD];

interface Answers {
  readonly first: VerbsAnswer;
  readonly second: VerbsAnswer;
  /** Times a 10 ms timer fired while the library was asked. */
  readonly ticks: number;
}

function ask(command: readonly string[], env: Record<string, string | undefined> = {}): Answers {
  const [program, ...args] = command;
  const text = execFileSync(program!, args, {
    env: { ...Deno.env.toObject(), ...env },
    encoding: "utf8",
    timeout: 30_000,
  });
  return JSON.parse(text) as Answers;
}

/** Runs the child where the nodes below this root are at /dev/infiniband, the path that the library looks at. */
function inside({ sysfsRoot, devRoot }: FakeHost, nodes = devRoot): Answers {
  const { file, args, env } = onFakeHost({ sysfsRoot, devRoot: nodes }, DENO);
  return ask([file, ...args], env);
}

for (const name of ["connectx-ib-dual", "connectx-roce-vfs", "gpu-rails", "broadcom-bnxt", "aws-efa"]) {
  Deno.test({
    name: `Verbs.list() gives what the real libibverbs says of the host ${name}`,
    ...needs("root", "unshare", "libibverbs", "no-rdma"),
    fn() {
      using host = FakeHost.create(FakeHost.temporaryRoot(), preset(name));
      const { first } = inside(host);
      ok(first.kind === "list", JSON.stringify(first));
      if (first.kind !== "list") return;
      const listed = first.devices.map(({ name, uverbs, guid }) => ({ name, uverbs, guid }));
      const described = host.describe().map((one) => ({
        name: one.name,
        uverbs: one.uverbs,
        guid: Deno.readTextFileSync(join(host.hcaPath(one.name), "node_guid")).trim(),
      }));
      const byName = (a: { name: string }, b: { name: string }) => a.name < b.name ? -1 : 1;
      deepEqual(listed.sort(byName), described.sort(byName));
    },
  });
}

Deno.test({
  name: "Verbs.list() tells a kernel without uverbs from an empty list",
  ...needs("libibverbs", "no-rdma"),
  fn() {
    using none = FakeHost.create(FakeHost.temporaryRoot(), preset("no-modules"));
    equal(ask(DENO, { SYSFS_PATH: none.sysfsRoot }).first.kind, "no-kernel-support");
  },
});

Deno.test({
  name: "Verbs.list() is empty where the nodes of the HCAs are not at /dev/infiniband",
  ...needs("root", "unshare", "libibverbs", "no-rdma"),
  fn() {
    using dir = temporaryDir();
    using host = FakeHost.create(FakeHost.temporaryRoot(), preset("connectx-ib-dual"));
    const nodes = join(dir.path, "dev");
    mkdirSync(join(nodes, "infiniband"), { recursive: true });
    equal(inside(host, nodes).first.kind, "empty");
  },
});

Deno.test("openVerbs() answers a missing library with its name, and can be closed", async () => {
  using verbs = openVerbs("libnosuchverbs.so.1");
  const answer = await verbs.list();
  equal(answer.kind, "no-library");
  match(answer.kind === "no-library" ? answer.detail : "", /libnosuchverbs\.so\.1/);
});

/** A library with the three functions, built from bodies for ibv_get_device_list and ibv_free_device_list. */
function library(dir: string, body: string, free = "free(list);"): string {
  return compileLibrary(
    dir,
    "fake",
    `#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
static int calls, live;
void **ibv_get_device_list(int *n) { calls++; ${body} }
void ibv_free_device_list(void **list) { ${free} }
uint64_t ibv_get_device_guid(void *device) { (void)device; return 0x5634120003a90dec; }
`,
  );
}

const withLibrary = (
  what: string,
  body: string,
  check: (answers: Answers) => void,
  deadlineMs = 5_000,
  free = "free(list);",
) =>
  Deno.test({
    name: `Verbs.list() over a library that ${what}`,
    ...needs("gcc"),
    fn() {
      using dir = temporaryDir();
      check(ask([...DENO, library(dir.path, body, free), String(deadlineMs)]));
    },
  });

withLibrary(
  "says ENOSYS",
  "*n = 0; errno = ENOSYS; return NULL;",
  ({ first }) => equal(first.kind, "no-kernel-support"),
);
withLibrary("gives NULL without an error", "*n = 0; return NULL;", ({ first }) => equal(first.kind, "empty"));
withLibrary("gives NULL with EPERM", "errno = EPERM; return NULL;", ({ first }) => {
  equal(first.kind, "failed");
  match(first.kind === "failed" ? first.detail : "", /errno 1/);
});
withLibrary("gives an empty list", "*n = 0; return calloc(1, 8);", ({ first }) => equal(first.kind, "empty"));
withLibrary(
  "counts a billion devices",
  "*n = 1000000000; return calloc(1, 8);",
  ({ first }) => equal(first.kind, "failed"),
);
withLibrary(
  "counts more devices than its list holds",
  "*n = 3; return calloc(1, 8);",
  ({ first }) => equal(first.kind, "empty"),
);
withLibrary(
  "has names without an end",
  `static char device[664]; memset(device, 'x', sizeof device); void **list = calloc(2, 8); list[0] = device; *n = 1; return list;`,
  ({ first }) => {
    deepEqual(first.kind === "list" && first.devices.map((one) => [one.name.length, one.uverbs.length, one.guid]), [
      [64, 64, "ec0d:a903:0012:3456"],
    ]);
  },
);
withLibrary(
  "takes away the memory of what is freed, and ends the process when a list is freed twice or not at all",
  `if (live++) abort();
  char *memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(memory + 4096, 'x', 664); *(void **)memory = memory + 4096; *n = 1; return (void **)memory;`,
  ({ first, second }) => {
    equal(first.kind === "list" && first.devices[0]?.name.length, 64);
    deepEqual(second, first);
  },
  5_000,
  "if (!live--) abort(); munmap(list, 8192);",
);
withLibrary(
  "sleeps while the event loop goes on",
  "usleep(300000); *n = 0; return calloc(1, 8);",
  ({ first, ticks }) => {
    equal(first.kind, "empty");
    ok(ticks >= 10, `the loop ticked ${ticks} times during two calls of 300 ms`);
  },
);
withLibrary(
  "does not come back in time",
  "if (calls == 1) usleep(1000000); *n = 0; return calloc(1, 8);",
  ({ first }) => {
    equal(first.kind, "failed");
    match(first.kind === "failed" ? first.detail : "", /has not returned for 0\.1 s/);
  },
  100,
);

Deno.test("guidText() writes a network-order integer as sysfs does", () => {
  equal(guidText(0x5634120003a90decn), "ec0d:a903:0012:3456");
});

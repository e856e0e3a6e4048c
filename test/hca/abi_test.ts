import { deepEqual, equal } from "@std/assert";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { C, OFFSET, SIZE } from "../../src/hca/abi.ts";
import { IBV_DEVICE } from "../../src/hca/verbs.ts";
import { needs } from "../support/need.ts";
import { temporaryDir } from "../support/temp.ts";
import { run } from "../support/run.ts";

/**
 * Compiles a program against this machine's headers that prints the value of every expression, and runs it.
 *
 * @throws {Error} with the compiler's words when an expression is not C
 */
function valuesInC(headers: readonly string[], expressions: readonly string[]): Record<string, number> {
  using dir = temporaryDir();
  const source = [
    "#define _GNU_SOURCE",
    ...["stddef.h", "stdio.h", ...headers].map((header) => `#include <${header}>`),
    "int main(void) {",
    ...expressions.map((expression) => `  printf("%ld\\n", (long)(${expression}));`),
    "}",
  ];
  writeFileSync(join(dir.path, "abi.c"), source.join("\n") + "\n");
  run("gcc", ["-o", "abi", "abi.c"], { cwd: dir.path });
  const values = run(join(dir.path, "abi"), []).trim().split("\n").map(Number);
  equal(values.length, expressions.length);
  return Object.fromEntries(expressions.map((expression, i) => [expression, values[i]!]));
}

/** Where the tables say that they come from; all of libc6-dev and linux-libc-dev. */
const HEADERS = [
  "elf.h",
  "errno.h",
  "poll.h",
  "sys/eventfd.h",
  "sys/mman.h",
  "sys/socket.h",
  "linux/if.h",
  "linux/if_addr.h",
  "linux/if_link.h",
  "linux/netlink.h",
  "linux/rtnetlink.h",
  "linux/sockios.h",
  "rdma/rdma_netlink.h",
];

Deno.test({
  name: "the constants are those of the C headers",
  ...needs("gcc"),
  fn() {
    deepEqual(valuesInC(HEADERS, Object.keys(C)), C);
  },
});

Deno.test({
  name: "the sizes and offsets are those of the C headers",
  ...needs("gcc"),
  fn() {
    const expected = Object.fromEntries([
      ...Object.entries(SIZE).map(([struct, size]) => [`sizeof(struct ${struct})`, size] as const),
      ...Object.entries(OFFSET).flatMap(([struct, fields]) =>
        Object.entries(fields).map(([field, offset]) => [`offsetof(struct ${struct}, ${field})`, offset] as const)
      ),
    ]);
    deepEqual(valuesInC(HEADERS, Object.keys(expected)), expected);
  },
});

Deno.test({
  name: "struct ibv_device is laid out as in the C header",
  ...needs("gcc", "libibverbs-dev"),
  fn() {
    const expected = Object.fromEntries(
      Object.entries(IBV_DEVICE).flatMap(([field, { offset, size }]) => [
        [`offsetof(struct ibv_device, ${field})`, offset],
        [`sizeof(((struct ibv_device *)0)->${field})`, size],
      ]),
    );
    deepEqual(valuesInC(["infiniband/verbs.h"], Object.keys(expected)), expected);
  },
});

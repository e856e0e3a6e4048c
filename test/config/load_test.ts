import { deepEqual, equal } from "@std/assert";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig } from "../../src/config/mod.ts";
import { codesOf } from "../support/codes.ts";

/** Runs the test in a new directory. */
async function inDirectory(test: (directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "config-"));
  try {
    await test(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function said(path: string): Promise<string> {
  return codesOf(await loadConfig(path)).join();
}

Deno.test("loadConfig() reads a file through symlinks, as a ConfigMap is mounted", async () => {
  await inDirectory(async (directory) => {
    const path = join(directory, "config.yaml");
    writeFileSync(join(directory, "real"), "resources:\n  - name: rdma/a\n");
    symlinkSync("real", path);
    const result = await loadConfig(path);
    deepEqual(result.ok && result.config.resources.map(({ name }) => name), ["rdma/a"]);
  });
});

Deno.test("loadConfig() tells why a file cannot be read", async () => {
  await inDirectory(async (directory) => {
    const file = (name: string, content: string | Uint8Array): string => {
      writeFileSync(join(directory, name), content);
      return join(directory, name);
    };
    equal(await said(join(directory, "missing")), "unreadable-file");
    equal(await said(directory), "unreadable-file");
    const latin1 = file("latin1", Uint8Array.of(0x61, 0x3a, 0x20, 0xe9));
    equal(await said(latin1), "unreadable-file");
    equal(await said(join(latin1, "x")), "unreadable-file");
    equal(await said(file("large", "#".repeat(1_048_577))), "too-large");
  });
});

Deno.test("loadConfig() does not wait for a writer when the path is a FIFO", async () => {
  await inDirectory(async (directory) => {
    const path = join(directory, "fifo");
    equal(spawnSync("mkfifo", [path]).status, 0);
    equal(await said(path), "unreadable-file");
  });
});

Deno.test("loadConfig() keeps the position of a mistake in a file with a byte order mark", async () => {
  await inDirectory(async (directory) => {
    const path = join(directory, "bom.yaml");
    writeFileSync(path, "\uFEFFresources:\n  - name: a\n");
    const result = await loadConfig(path);
    deepEqual(result.ok || result.mistakes.map(({ line, column, code }) => [line, column, code]), [
      [2, 11, "invalid-name"],
    ]);
  });
});

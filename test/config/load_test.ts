import { deepEqual, equal, ok } from "@std/assert";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatMistakes, loadConfig } from "../../src/config/mod.ts";

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
  const result = await loadConfig(path);
  return result.ok ? "accepted" : formatMistakes(result.mistakes);
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
    equal(await said(join(directory, "missing")), `${directory}/missing: the file does not exist`);
    equal(await said(directory), `${directory}: is a directory; give the path of a YAML or JSON file`);
    const latin1 = file("latin1", Uint8Array.of(0x61, 0x3a, 0x20, 0xe9));
    equal(await said(latin1), `${latin1}: is not UTF-8 text`);
    equal(await said(join(latin1, "x")), `${latin1}/x: the file does not exist: a part of the path is not a directory`);
    const large = file("large", "#".repeat(1_048_577));
    equal(await said(large), `${large}: has 1048577 bytes, more than 1048576; this is not a config file`);
  });
});

Deno.test("loadConfig() does not wait for a writer when the path is a FIFO", async () => {
  await inDirectory(async (directory) => {
    const path = join(directory, "fifo");
    equal(spawnSync("mkfifo", [path]).status, 0);
    equal(await said(path), `${path}: is not a regular file; give the path of a YAML or JSON file`);
  });
});

Deno.test("loadConfig() keeps the position of a mistake in a file with a byte order mark", async () => {
  await inDirectory(async (directory) => {
    const path = join(directory, "bom.yaml");
    writeFileSync(path, "\uFEFFresources:\n  - name: a\n");
    ok((await said(path)).startsWith(`${path}:2:11: resources[0].name: `));
  });
});

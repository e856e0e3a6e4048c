import { equal } from "@std/assert";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { execPath } from "node:process";
import { temporaryDir } from "../support/temp.ts";

const NEED = new URL("../support/need.ts", import.meta.url).href;

/** Whether a need is met where these programs, shell scripts, are all that is on the path. */
function isMet(need: string, programs: Readonly<Record<string, string>>): boolean {
  using dir = temporaryDir();
  for (const [name, script] of Object.entries(programs)) {
    writeFileSync(join(dir.path, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  const code = `import { missing } from ${JSON.stringify(NEED)}; console.log(missing("${need}").join())`;
  const { status, stdout, stderr } = spawnSync(execPath, ["eval", "--no-lock", "--quiet", code], {
    env: { PATH: dir.path, HOME: dir.path, NO_COLOR: "1", DENO_DIR: join(dir.path, "deno") },
    encoding: "utf8",
  });
  equal(status, 0, stderr);
  return stdout.trim() === "";
}

Deno.test("a Go that is too old for the tests' modules, or cannot get what they require, is no Go", () => {
  equal(isMet("go", {}), false);
  equal(isMet("go", { go: "exit 1" }), false);
  equal(isMet("go", { go: '[ "$1 $2 $GOTOOLCHAIN" = "mod download local" ]' }), true);
});

Deno.test("a compiler without the headers of the C library is no compiler", () => {
  equal(
    isMet("gcc", {
      gcc: "while read -r line; do case $line in *stdlib.h*) missing=1;; esac; done; exit ${missing:-0}",
    }),
    false,
  );
  equal(isMet("gcc", { gcc: "while read -r line; do :; done" }), true);
});

Deno.test("Python's gRPC without the compiler of its messages is not enough", () => {
  equal(isMet("python3-grpcio", {}), false);
});

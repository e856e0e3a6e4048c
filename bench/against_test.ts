import { equal, match } from "@std/assert";
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { needs } from "../test/support/need.ts";
import { temporaryDir } from "../test/support/temp.ts";
import { built } from "./against.ts";

Deno.test("built() leaves a command alone that names no sources", () => {
  const command = "./other --plugin-directory={kubelet}";
  const said: string[] = [];
  equal(built(command, "/nowhere", (sentence) => said.push(sentence)), command);
  equal(said.length, 0);
});

Deno.test("built() builds a directory with a Go module, and the command runs what came of it", {
  ...needs("go"),
}, () => {
  using dir = temporaryDir();
  const sources = join(dir.path, "sources");
  mkdirSync(sources);
  writeFileSync(join(sources, "go.mod"), "module example.com/other\n\ngo 1.21\n");
  writeFileSync(join(sources, "main.go"), 'package main\n\nimport "os"\n\nfunc main() { println(os.Args[1]) }\n');
  const said: string[] = [];
  const command = built(`${sources} {kubelet}`, dir.path, (sentence) => said.push(sentence));
  match(command, / \{kubelet\}$/);
  equal(said.length, 1);
  execFileSync("/bin/sh", ["-c", command]);
});

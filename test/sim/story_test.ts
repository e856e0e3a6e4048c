import { equal, match, ok } from "@std/assert";
import { execFile } from "node:child_process";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execPath } from "node:process";
import { ROOT } from "../support/root.ts";
import { builtIn, loadScenario } from "../../sim/mod.ts";
import { temporaryDir } from "../support/temp.ts";

interface Ended {
  readonly code: number;
  readonly out: string;
}

/** Runs the sim as a person does. */
function sim(root: string, ...args: string[]): Promise<Ended> {
  const command = [
    "run",
    "-A",
    "--no-check",
    "--quiet",
    "--config",
    join(root, "deno.json"),
    join(root, "sim/main.ts"),
    ...args,
  ];
  return new Promise((resolve) => {
    execFile(
      execPath,
      command,
      { encoding: "utf8", timeout: 90_000 },
      (error, stdout, stderr) => resolve({ code: error === null ? 0 : Number(error.code ?? 99), out: stdout + stderr }),
    );
  });
}

for (const { name, title } of builtIn()) {
  Deno.test(`sim --scenario ${name} ends well: ${title}`, async () => {
    const { code, out } = await sim(ROOT, "--json", "--scenario", name);
    equal(code, 0, out);
    const played = out.trim().split("\n").map((line) => JSON.parse(line) as { ok: boolean; say: string });
    equal(played.length, loadScenario(name).steps.length);
    ok(played.every((one) => one.ok));
  });
}

Deno.test("sim ends with status 1 at the first thing that is wrong: Allocate broken on purpose", async () => {
  using dir = temporaryDir();
  for (const part of ["src", "sim", "proto", "mod.ts", "deno.json", "deno.lock"]) {
    cpSync(join(ROOT, part), join(dir.path, part), { recursive: true });
  }
  const file = join(dir.path, "src/pool/allocate.ts");
  const source = readFileSync(file, "utf8");
  const broken = source.replace("perHca.push(node(`${DEV}/${name}`));", "");
  ok(broken !== source, "the line to break has moved");
  writeFileSync(file, broken);
  const { code, out } = await sim(dir.path);
  equal(code, 1, out);
  match(out, /✗ A pod asks for one device/);
  match(out, /got 0 uverbs nodes for 1 HCAs/);
});

Deno.test("sim refuses a scenario with mistakes and says where", async () => {
  using dir = temporaryDir();
  const file = join(dir.path, "bad.yaml");
  writeFileSync(file, "title: x\nhost: no-such-host\nsteps: [{ say: a, prot: {} }]\n");
  const { code, out } = await sim(ROOT, "--scenario", file);
  equal(code, 2);
  match(out, /host/);
  match(out, /prot/);
});

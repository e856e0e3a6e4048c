/**
 * Builds programs from Go modules, for the machines that reach a module proxy but no download site.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { run } from "../run.ts";

/** A module of its own that exists only to build commands of another module. */
export interface GoModule {
  readonly goMod: string;
  readonly sources: Readonly<Record<string, string>>;
}

/**
 * Builds one command into `target`. It appears there complete or not at all.
 *
 * @param packagePath the command's import path, or "." for the module's own
 * @param variables Go variables to set at link time
 * @throws with the end of the compiler's output
 */
export async function goBuild(
  module: GoModule,
  packagePath: string,
  variables: Readonly<Record<string, string>>,
  target: string,
): Promise<void> {
  mkdirSync(dirname(target), { recursive: true });
  const work = mkdtempSync(join(dirname(target), ".build-"));
  try {
    writeFileSync(join(work, "go.mod"), module.goMod);
    for (const [name, text] of Object.entries(module.sources)) writeFileSync(join(work, name), text);
    const ldflags = ["-s", "-w", ...Object.entries(variables).map(([name, value]) => `-X ${name}=${value}`)].join(" ");
    const built = join(work, "built");
    // Niced: a build takes minutes, and somebody may be working on this machine.
    await build("nice", ["go", "build", "-trimpath", "-ldflags", ldflags, "-o", built, packagePath], work);
    renameSync(built, target);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The go.mod of a module at that version. @throws when the proxy does not serve it */
export function goModOf(path: string, version: string): string {
  const found = run("go", ["list", "-m", "-json", `${path}@v${version}`], { cwd: "/" });
  return readFileSync((JSON.parse(found) as { GoMod: string }).GoMod, "utf8");
}

function build(command: string, args: readonly string[], cwd: string): Promise<void> {
  const env = { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-mod=mod", GOWORK: "off" };
  const child = spawn(command, args, { cwd, env, stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => said = (said + chunk).slice(-3_000));
  return new Promise((done, fail) => {
    child.once("error", fail);
    child.once("close", (code) => code === 0 ? done() : fail(new Error(`go build ended with ${code}: ${said}`)));
  });
}

/**
 * Another plugin from its sources: `--against` takes a command whose first word may be a directory with a Go module, or
 * a module's name with a version. It is built, and the command runs what came of it. Nothing of it is kept.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";

/** "github.com/squat/generic-device-plugin@latest": what `go install` takes. */
const MODULE = /^[\w-]+(\.[\w-]+)+(\/[\w.~-]+)+@[\w.+-]+$/;

/**
 * The command with its sources built; the same command when it has none.
 *
 * @param directory where to put the program
 * @param say hears what is done
 * @throws with Go's own words when it does not build
 */
export function built(command: string, directory: string, say: (sentence: string) => void): string {
  const [first = "", ...rest] = command.split(" ");
  const program = isSources(first)
    ? build(resolve(first), directory, say)
    : MODULE.test(first)
    ? install(first, directory, say)
    : first;
  return [program, ...rest].join(" ");
}

function isSources(path: string): boolean {
  return path !== "" && existsSync(join(path, "go.mod"));
}

function build(sources: string, directory: string, say: (sentence: string) => void): string {
  mkdirSync(directory, { recursive: true });
  const program = join(directory, "other");
  say(`${sources}: go build, as it stands there`);
  go(["build", "-buildvcs=false", "-o", program, "."], { cwd: sources });
  return program;
}

/** @throws when the module has no program, or several */
function install(module: string, directory: string, say: (sentence: string) => void): string {
  const bin = join(directory, "bin");
  say(`${module}: go install, into a directory that is removed at the end`);
  go(["install", module], { env: { GOBIN: bin } });
  const programs = readdirSync(bin);
  if (programs.length !== 1) throw new Error(`${module} has ${programs.length} programs: name one by its own path`);
  return join(bin, programs[0]!);
}

function go(args: readonly string[], { cwd, env = {} }: { readonly cwd?: string; readonly env?: object }): void {
  execFileSync("go", [...args], {
    ...cwd === undefined ? {} : { cwd },
    env: { ...process.env, CGO_ENABLED: "0", ...env },
    stdio: ["ignore", "inherit", "inherit"],
  });
}

import { deepEqual } from "@std/assert";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { ROOT } from "../support/root.ts";

/** Commands of which people read the first lines only: `validate FILE | head -1`. */
const COMMANDS = [["--help"], ["version"], ["validate", "deploy/kustomize/overlays/config/config.yaml"], [
  "list",
  "--sysfs-root",
  "/none",
]];

for (const args of COMMANDS) {
  Deno.test(`${args.join(" ")} ends well when its reader has gone`, async () => {
    const program = ["run", "-A", "--frozen", "--no-check", "mod.ts", ...args];
    const child = spawn(process.execPath, program, { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
    child.stdout.destroy();
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => said += text);
    const [status] = await once(child, "close");
    // What Deno says of packages is not the program's.
    const stack = said.split("\n").filter((line) => /^\s+at |EPIPE|Broken pipe/.test(line));
    deepEqual({ status, stack }, { status: 0, stack: [] });
  });
}

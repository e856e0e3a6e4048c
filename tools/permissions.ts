/**
 * `deno task permissions ADDRESS…`: the flag that narrows the permission set image-dra to the API server's addresses. For the
 * command of the container, after `-P=image-dra`.
 *
 * @module
 */
import process from "node:process";
import { denyAllBut } from "../test/support/bundle.ts";

try {
  if (process.argv.length < 3) throw new Error("which address? `kubectl get service kubernetes` shows it");
  process.stdout.write(`${denyAllBut(process.argv.slice(2))}\n`);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 2;
}

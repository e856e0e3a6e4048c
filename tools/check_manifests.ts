/**
 * `deno task check:manifests [FILE…]`: checks every YAML file of the repository, or those that are named. Ends with
 * status 1 when there is a mistake.
 *
 * @module
 */
import process from "node:process";
import { checkFile, yamlFiles } from "../test/support/manifests/files.ts";

function main(named: readonly string[]): number {
  const results = (named.length > 0 ? named : yamlFiles()).map((file) => checkFile(file));
  for (const { file, mistakes, left } of results) {
    for (const mistake of mistakes) process.stdout.write(`${file}: ${mistake}\n`);
    if (left !== null) process.stdout.write(`${file}: not checked here (${left})\n`);
  }
  const wrong = results.filter((one) => one.mistakes.length > 0).length;
  const right = results.filter((one) => one.mistakes.length === 0 && one.left === null).length;
  process.stdout.write(
    `${right} files are right, ${wrong} wrong, ${results.length - right - wrong} checked elsewhere\n`,
  );
  if (process.env.CI_NO_SKIP === "1" && results.some((one) => one.left?.includes("missing"))) return 1;
  return wrong > 0 ? 1 : 0;
}

if (import.meta.main) process.exit(main(process.argv.slice(2)));

/**
 * Asks libibverbs once and prints the answer: run as a process of its own, because the library reads SYSFS_PATH once in
 * its life.
 *
 * @module
 */
import process from "node:process";
import { openVerbs } from "../../src/hca/verbs.ts";

const [library, deadline] = process.argv.slice(2);
using verbs = openVerbs(library || undefined, deadline === undefined ? undefined : Number(deadline));
let ticks = 0;
const ticking = setInterval(() => ticks++, 10);
const first = await verbs.list();
const second = await verbs.list();
clearInterval(ticking);
process.stdout.write(`${JSON.stringify({ first, second, ticks })}\n`);

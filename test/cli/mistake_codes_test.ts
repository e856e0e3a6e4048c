/** What a wrong command line is answered with, and that every code of a mistake has a case. */
import { deepEqual, equal, match } from "@std/assert";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseCommandLine, type Values } from "../../src/cli/flags.ts";
import { fleetAccess } from "../../src/cli/fleet_access.ts";
import { checkMaster, UsageError, wanted } from "../../src/cli/machine.ts";
import { MISTAKE_CODES } from "../../src/config/mistake_codes.ts";
import { formatMistakes, type Problem } from "../../src/config/mistakes.ts";
import { loadConfig, parseConfig } from "../../src/config/mod.ts";
import { codesOf } from "../support/codes.ts";
import { MALFORMED, WARNED } from "../support/malformed.ts";
import { temporaryDir } from "../support/temp.ts";

/** Words of a command line, and the path and the code of the answer. */
const REFUSED: readonly (readonly [words: string, said: string])[] = [
  ["--log-level loud", "--log-level unknown-value"],
  ["-loglevel debug", "--loglevel unknown-flag"],
  ["--master", "--master missing"],
  ["--master --cdi", "--master missing"],
  ["--master=", "--master missing"],
  ["--master a/b", "--master invalid-format"],
  ["--help=maybe", "--help unexpected-argument"],
  ["start", "unknown-command"],
  ["run extra", "unexpected-argument"],
  ["--resource-name rdma", "--resource-name invalid-name"],
  ["--resource-name kubernetes.io/rdma", "--resource-name invalid-name"],
  ["--resource-name requests.example.com/rdma", "--resource-name invalid-name"],
  ["--resource-name Example.com/rdma", "--resource-name invalid-name"],
  ["--resource-name example.com/-rdma", "--resource-name invalid-name"],
  ["--config f --master eth0", "--master conflict"],
  ["--config f --resource-name a/b", "--resource-name conflict"],
  ["--config f --api dra", "--api conflict"],
  ["list --registration socket", "--registration unknown-flag"],
  ["--rescan soon", "--rescan invalid-format"],
  ["--http nowhere", "--http invalid-format"],
  ["--kube-api http://a", "--kube-api invalid-format"],
  ["--dra-driver-name A", "--dra-driver-name invalid-format"],
  // A DNS name, but no vendor of CDI.
  ["--dra-driver-name 3com.example", "--dra-driver-name invalid-format"],
];

function refusal(words: string, env: Record<string, string> = {}): Problem {
  const parsed = parseCommandLine(words.split(" "), env);
  if (parsed.ok) throw new Error(`accepted: ${words}`);
  return parsed;
}

function flags(words: string): Values {
  const parsed = parseCommandLine(words.split(" "), {});
  if (!parsed.ok) throw new Error(formatMistakes([parsed]));
  return parsed.values;
}

async function usage(act: () => unknown): Promise<readonly Problem[]> {
  try {
    await act();
  } catch (error) {
    if (error instanceof UsageError) return error.problems;
    throw error;
  }
  throw new Error("nothing is wrong with it");
}

Deno.test("parseCommandLine() refuses with the flag and a code", () => {
  for (const [words, said] of REFUSED) deepEqual(codesOf([refusal(words)]), [said], words);
  deepEqual(codesOf([refusal("run", { RDMA_DEVICE_PLUGIN_CDI: "yes" })]), ["--cdi wrong-type"]);
  deepEqual(codesOf([refusal("run", { RDMA_DEVICE_PLUGIN_LOG_LEVEL: "loud" })]), ["--log-level unknown-value"]);
});

Deno.test("a refused flag is one sentence that says what was meant, then the code", () => {
  const { message, hint } = refusal("-loglevel debug");
  match(message, /--loglevel/);
  match(hint!, /--log-level/);
  equal(formatMistakes([refusal("-loglevel debug")]), `${message}; ${hint} [unknown-flag]`);
});

Deno.test("every code of a mistake has a case that produces it, and is documented", async () => {
  using dir = temporaryDir();
  const files = [...MALFORMED, ...WARNED].flatMap(({ text, file }) => codesOf(parseConfig(text, file)));
  const many = parseConfig(`resources: [${"{}, ".repeat(101)}{}]`, "many.yaml");
  const config = join(dir.path, "config.yaml");
  writeFileSync(config, "rescan: 30s\nresources:\n  - name: rdma/a\n");
  mkdirSync(join(dir.path, "class/net/eth0"), { recursive: true });
  const overridden = await wanted(flags(`--config ${config} --rescan 5`));
  deepEqual(codesOf(overridden.warnings), ["no-effect"]);
  const said = [
    ...files,
    ...REFUSED.map(([, one]) => one),
    ...codesOf(many).slice(-1),
    ...codesOf(await loadConfig(join(dir.path, "missing.yaml"))),
    ...codesOf(await usage(() => checkMaster(dir.path, "eth9", false))),
    ...codesOf(await usage(() => checkMaster(dir.path, "eth0", false))),
    ...codesOf(await usage(() => fleetAccess(flags(`fleet --kubeconfig ${dir.path}/missing`)))),
  ];
  const produced = new Set(said.map((one) => one.split(" ").at(-1)));
  const codes = Object.keys(MISTAKE_CODES);
  deepEqual(codes.filter((code) => !produced.has(code)), [], "codes without a case");
  const docs = readFileSync(new URL("../../docs/troubleshooting.md", import.meta.url), "utf8");
  deepEqual(codes.filter((code) => !docs.includes(`| \`${code}\``)), [], "deno task docs writes them");
});

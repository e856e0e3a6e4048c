/**
 * Command lines and the environment: ones that are meant, and any words at all.
 *
 * @module
 */
import { deepEqual, equal } from "@std/assert";
import * as fc from "fast-check";
import { COMMANDS, type FlagName, FLAGS, parseCommandLine, type Parsed, variableOf } from "../../../src/cli/flags.ts";
import type { Prepared, Target } from "../target.ts";
import { must, sentence } from "../words.ts";

type Environment = Readonly<Record<string, string>>;

/** What of a flag the parser is told, as far as it matters here. */
interface Told {
  readonly type: "string" | "boolean";
  readonly default?: string;
  readonly oneOf?: readonly string[];
  readonly commands?: readonly string[];
}

const NAMES = Object.keys(FLAGS) as FlagName[];
const told = (name: FlagName): Told => FLAGS[name];

/** A good value of each flag that is not one of a few words. */
const GOOD: Partial<Record<FlagName, readonly string[]>> = {
  "resource-name": ["rdma/a", "tencent.com/rdma", "example.com/a_b.c-d"],
  "master": ["eth1", "ens1f0np0", "ib0.8001"],
  "rescan": ["0", "30", "0.5"],
  "dra-driver-name": ["rdma.tencent.com", "rdma.example.com"],
  "plugins-dir": ["/tmp/plugins"],
  "kube-api": ["https://127.0.0.1:6443"],
  "kube-token-file": ["/tmp/token"],
  "kube-ca-file": ["/tmp/ca.crt"],
  "http": ["127.0.0.1:9178", "[::1]:9178", ":9178"],
};

/** Words that mean something to a command line, or look as if they did. */
const WORDS = ["-", "--", "---", "-h", "--help", "-help", "--version", "=", "--=", "--no-cdi", "--cdi=maybe", "", " "]
  .concat([
    "run",
    "list",
    "doctor",
    "validate",
    "version",
    "c.yaml",
    "\u001b[2J",
    "--\u202elevel-gol",
    "a\nb",
    "é",
    "--__proto__",
    "--constructor",
  ])
  .concat(["--toString=1", "__proto__", "-1", "--http=:99999", "--http", "--http=", "--rescan=1e9", "--master=a/b"]);

const goodValue = (name: FlagName) =>
  fc.constantFrom(...told(name).oneOf ?? GOOD[name] ?? ["/tmp/x", "x y", "-x=y", "poll"]);

/** One flag as it is meant, and how it is spelt. */
const meantFlag = fc.constantFrom(...NAMES.filter((name) => name !== "help" && name !== "version")).chain((name) =>
  fc.record({
    name: fc.constant(name),
    value: told(name).type === "boolean" ? fc.constantFrom("true", "false") : goodValue(name),
    dashes: fc.constantFrom("-", "--"),
    how: fc.constantFrom("equals", "space", "variable"),
    /** What the environment says although the command line says otherwise. */
    also: fc.boolean(),
  })
);
type MeantFlag = typeof meantFlag extends fc.Arbitrary<infer T> ? T : never;

interface Meant {
  readonly command: string | null;
  readonly flags: readonly MeantFlag[];
}

const meant: fc.Arbitrary<Meant> = fc.record({
  command: fc.constantFrom(null, ...COMMANDS.filter((name) => name !== "version")),
  flags: fc.uniqueArray(meantFlag, { maxLength: 6, selector: (one) => one.name }),
});

const word = fc.oneof(
  fc.constantFrom(...WORDS),
  fc.tuple(fc.constantFrom("", "-", "--"), fc.constantFrom(...NAMES), fc.constantFrom("", "=", "=x", "=true", "s")).map(
    (
      parts,
    ) => parts.join(""),
  ),
  fc.string({ maxLength: 30, unit: "binary" }),
  fc.tuple(fc.constantFrom("-", "--"), fc.string({ maxLength: 12, unit: "binary" })).map((parts) => parts.join("")),
);
/** Arguments and variables are C strings: no system hands over a NUL. */
const cString = (text: string) => text.replaceAll("\0", "?");
const anything = fc.record({
  argv: fc.array(word.map(cString), { maxLength: 6 }),
  env: fc.dictionary(
    fc.oneof(fc.constantFrom(...NAMES).map(variableOf), fc.constantFrom("PATH", "__proto__")),
    fc.oneof(fc.constantFrom("true", "false", "", "x", "info", "-1"), fc.string({ maxLength: 10, unit: "binary" })).map(
      cString,
    ),
    { maxKeys: 3 },
  ),
});

/** The words and variables of what is meant. */
function spell({ command, flags }: Meant): { argv: string[]; env: Environment } {
  const argv: string[] = command === null ? [] : [command];
  const env: Record<string, string> = {};
  for (const { name, value, dashes, how, also } of flags) {
    const boolean = told(name).type === "boolean";
    if (how === "variable") env[variableOf(name)] = value;
    else {
      if (also && boolean) env[variableOf(name)] = value === "true" ? "false" : "true";
      if (boolean && value === "true" && how === "space") argv.push(`${dashes}${name}`);
      else if (how === "equals" || boolean) argv.push(`${dashes}${name}=${value}`);
      else argv.push(`${dashes}${name}`, value);
    }
  }
  return { argv, env };
}

/** What a meant command line must come to; null when it contradicts itself. */
function expected({ command, flags: spelt }: Meant): Record<string, string | boolean> | null {
  const takes = (name: FlagName) => told(name).commands?.includes(command ?? "run") ?? true;
  // A variable is there for every command of a pod, so that of a flag which this one does not have says nothing.
  const flags = spelt.filter(({ name, how }) => how !== "variable" || takes(name));
  const given = new Set(flags.map((one) => one.name));
  const known = flags.every(({ name }) => takes(name));
  const besidesConfig = ["master", "resource-name", "api"] as const;
  if (!known || (given.has("config") && besidesConfig.some((name) => given.has(name)))) return null;
  const values: Record<string, string | boolean> = {};
  for (const name of NAMES) {
    const { type, default: fallback } = told(name);
    if (type === "boolean") values[name] = false;
    else if (fallback !== undefined) values[name] = fallback;
  }
  for (const { name, value } of flags) values[name] = told(name).type === "boolean" ? value === "true" : value;
  return values;
}

/** What holds for every answer. */
function sound(parsed: Parsed): void {
  if (!parsed.ok) {
    sentence(parsed.message, "the refusal");
    return;
  }
  const { command, values, positionals, given } = parsed;
  must(COMMANDS.includes(command), "a command that there is");
  must(positionals.length <= (command === "validate" ? 1 : 0) || values.help, "no argument that nobody reads");
  for (const [name, value] of Object.entries(values)) {
    must(NAMES.includes(name as FlagName), `${name} is no flag`);
    const { type, oneOf } = told(name as FlagName);
    equal(typeof value, type, name);
    must(oneOf === undefined || typeof value !== "string" || oneOf.includes(value), `${name} is ${value}`);
    must(value !== "", `${name} is empty`);
  }
  for (const name of NAMES) {
    const { type, default: fallback } = told(name);
    must(name in values || (type === "string" && fallback === undefined), `${name} has no value`);
  }
  must(Object.getPrototypeOf(values) === Object.prototype, "plain values");
  // The same said plainly is the same.
  const plain = [command, ...[...given].map((name) => `--${name}=${values[name]}`), "--", ...positionals];
  const again = parseCommandLine(plain, {});
  deepEqual(again.ok && again.values, values, "said plainly it is another thing");
}

export const flags: Target = {
  name: "flags",
  promise:
    "a command line that is meant comes to exactly its values, however its flags are spelt; any other is refused " +
    "with one sentence or comes to values that every command can rely on",
  kinds: ["meant", "contradiction", "accepted", "refused"],
  prepare(): Promise<Prepared> {
    const tally = { meant: 0, contradiction: 0, accepted: 0, refused: 0 };
    return Promise.resolve({
      property: fc.property(fc.oneof(meant, anything), (one) => {
        if ("argv" in one) {
          const parsed = parseCommandLine(one.argv, one.env);
          sound(parsed);
          tally[parsed.ok ? "accepted" : "refused"]++;
          return;
        }
        const { argv, env } = spell(one);
        const parsed = parseCommandLine(argv, env);
        sound(parsed);
        const values = expected(one);
        tally[values === null ? "contradiction" : "meant"]++;
        if (values === null) return equal(parsed.ok, false, "a contradiction is refused");
        must(parsed.ok, `refused: ${parsed.ok ? "" : parsed.message}`);
        deepEqual({ ...parsed.values }, values);
        equal(parsed.command, one.command ?? "run");
      }),
      tally,
      [Symbol.asyncDispose]: () => Promise.resolve(),
    });
  },
};

import { deepEqual, equal, match, ok } from "@std/assert";
import { FLAGS, helpText, parseCommandLine } from "../../src/cli/flags.ts";
import { VERSION } from "../../src/cli/version.ts";
import config from "../../deno.json" with { type: "json" };

function values(...argv: string[]) {
  return valuesWith({}, ...argv);
}
function valuesWith(env: Record<string, string>, ...argv: string[]) {
  const parsed = parseCommandLine(argv, env);
  if (!parsed.ok) throw new Error(parsed.message);
  return parsed.values;
}
function refusal(...argv: string[]): string {
  const parsed = parseCommandLine(argv, {});
  equal(parsed.ok, false, `accepted: ${argv.join(" ")}`);
  return parsed.ok ? "" : parsed.message;
}

Deno.test("parseCommandLine() takes one dash or two, and = or a space", () => {
  for (const argv of [["-log-level", "debug"], ["--log-level", "debug"], ["-log-level=debug"], ["--log-level=debug"]]) {
    equal(values(...argv)["log-level"], "debug", argv.join(" "));
  }
});

Deno.test("parseCommandLine() has the original's defaults", () => {
  const plain = values();
  equal(plain["resource-name"], "tencent.com/rdma");
  equal(plain["kubelet-dir"], "/var/lib/kubelet/device-plugins");
  equal(plain.master, undefined);
  equal(plain.help, false);
});

Deno.test("parseCommandLine() refuses in one sentence that names the flag", () => {
  match(refusal("--log-level", "loud"), /^--log-level is "loud", but takes one of error, warn, info, debug$/);
  match(refusal("-loglevel", "debug"), /^There is no flag --loglevel, did you mean --log-level; see --help$/);
  match(refusal("--master"), /^--master needs a value: --master IFNAME$/);
  match(refusal("--master", "--cdi"), /^--master needs a value/);
  match(refusal("--master="), /^--master needs a value/);
  match(refusal("--master", "a/b"), /not a valid interface name/);
  match(refusal("--help=maybe"), /^--help takes no value/);
  match(refusal("start"), /^There is no command "start"; there are run, list/);
  match(refusal("run", "extra"), /^run takes no argument "extra"$/);
  match(refusal("--resource-name", "rdma"), /has no domain: write "domain\/name"/);
  match(refusal("--resource-name", "kubernetes.io/rdma"), /Kubernetes' own domain/);
  match(refusal("--resource-name", "requests.example.com/rdma"), /which quotas use/);
  match(refusal("--resource-name", "Example.com/rdma"), /not a DNS name/);
  match(refusal("--resource-name", "example.com/-rdma"), /not a qualified name/);
  match(refusal("--config", "f", "--master", "eth0"), /^--config and --master both define/);
  match(refusal("list", "--registration", "socket"), /is not a flag of list/);
  match(refusal("--rescan", "soon"), /number of seconds/);
});

Deno.test("parseCommandLine() reads the environment, and the command line wins", () => {
  const env = { RDMA_DEVICE_PLUGIN_LOG_LEVEL: "warn", RDMA_DEVICE_PLUGIN_CDI: "true" };
  deepEqual([valuesWith(env)["log-level"], valuesWith(env).cdi], ["warn", true]);
  equal(valuesWith(env, "-log-level=debug")["log-level"], "debug");
  const bad = parseCommandLine([], { RDMA_DEVICE_PLUGIN_LOG_LEVEL: "loud" });
  equal(bad.ok, false);
});

Deno.test("helpText() has every flag", () => {
  for (const name of Object.keys(FLAGS)) ok(helpText().includes(`--${name}`), name);
});

Deno.test("VERSION is deno.json's", () => equal(VERSION, config.version));

Deno.test("every command can be run in a pod that has the pod's UID in its environment", () => {
  for (const command of ["run", "list", "doctor", "version"]) {
    equal(parseCommandLine([command], { RDMA_DEVICE_PLUGIN_POD_UID: "u-1" }).ok, true, command);
  }
});

import { deepEqual, equal, ok } from "@std/assert";
import { FLAGS, parseCommandLine } from "../../src/cli/flags.ts";
import { helpText } from "../../src/cli/help.ts";
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

Deno.test("parseCommandLine() reads the environment, and the command line wins", () => {
  const env = { RDMA_DEVICE_PLUGIN_LOG_LEVEL: "warn", RDMA_DEVICE_PLUGIN_CDI: "true" };
  deepEqual([valuesWith(env)["log-level"], valuesWith(env).cdi], ["warn", true]);
  equal(valuesWith(env, "-log-level=debug")["log-level"], "debug");
});

Deno.test("helpText() has every flag, in lines that fit", () => {
  for (const name of Object.keys(FLAGS)) ok(helpText().includes(`--${name}`), name);
  deepEqual(helpText().split("\n").filter((line) => line.length > 100), []);
});

Deno.test("VERSION is deno.json's", () => equal(VERSION, config.version));

Deno.test("every command can be run in a pod that has the pod's UID in its environment", () => {
  for (const command of ["run", "list", "doctor", "version"]) {
    equal(parseCommandLine([command], { RDMA_DEVICE_PLUGIN_POD_UID: "u-1" }).ok, true, command);
  }
});

Deno.test("what the environment says to the plugin keeps no other command of the pod from running", () => {
  const env = {
    RDMA_DEVICE_PLUGIN_HTTP: ":9178",
    RDMA_DEVICE_PLUGIN_CDI: "true",
    RDMA_DEVICE_PLUGIN_LOG_LEVEL: "warn",
  };
  for (const command of ["list", "doctor", "fleet", "validate"]) {
    const parsed = parseCommandLine([command], env);
    deepEqual(parsed.ok && [parsed.values["log-level"], parsed.values.http], ["warn", undefined], command);
  }
  equal(parseCommandLine(["doctor", "--http", ":1"], env).ok, false);
});

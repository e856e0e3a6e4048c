/** What the program prints and logs about a configuration that is refused. */
import { deepEqual, equal, match } from "@std/assert";
import { spawnSync } from "node:child_process";
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startPlugin } from "../../sim/mod.ts";
import { codesOf } from "../support/codes.ts";
import { onHost } from "../support/plugin.ts";
import { documentedKeys } from "../support/section.ts";
import { temporaryDir } from "../support/temp.ts";

const MISTAKEN = "resources:\n  - name: rdma/a\n    mode: exclusiv\n    cdi: yes\n";

Deno.test("validate --json prints one object: the mistakes with line and code, or resources and warnings", async () => {
  using dir = temporaryDir();
  const file = join(dir.path, "c.json");
  const ask = async (text: string) => {
    writeFileSync(file, text);
    const plugin = startPlugin(["validate", file, "--json"]);
    const { code } = await plugin.ended;
    equal(plugin.log.length, 1, plugin.log.join("\n"));
    return { code, ...JSON.parse(plugin.log[0]!) };
  };
  const refused = await ask(MISTAKEN);
  deepEqual([refused.code, refused.valid, refused.resources, refused.warnings], [2, false, [], []]);
  deepEqual(codesOf(refused.mistakes), ["resources[0].mode unknown-value", "resources[0].cdi wrong-type"]);
  const { message, ...place } = refused.mistakes[0];
  match(message, /exclusiv/);
  const hint = 'did you mean "exclusive"?';
  deepEqual(place, { file, line: 3, column: 11, path: "resources[0].mode", code: "unknown-value", hint });

  const valid = await ask("resources: [{name: rdma/a}, {name: rdma/b, mode: shared, shares: 3, share: one}]");
  deepEqual([valid.code, valid.file, valid.valid, valid.format, valid.mistakes], [0, file, true, "own", []]);
  deepEqual(codesOf(valid.warnings), ["not-json"]);
  deepEqual(Object.keys(valid), ["code", ...documentedKeys("validate FILE")]);
  deepEqual(valid.resources, [
    { name: "rdma/a", mode: "exclusive" },
    { name: "rdma/b", mode: "shared", shares: 3, share: "one" },
  ]);
});

Deno.test("a refused configuration is a line a mistake: with its code at the end, or as a field where the log is JSON", async () => {
  using dir = temporaryDir();
  const file = join(dir.path, "c.yaml");
  writeFileSync(file, MISTAKEN);
  const text = startPlugin(["validate", file]);
  equal((await text.ended).code, 2);
  deepEqual(text.log.map((line) => [line.slice(0, line.indexOf(": ")), line.slice(line.lastIndexOf(" "))]), [
    [`${file}:3:11`, " [unknown-value]"],
    [`${file}:4:10`, " [wrong-type]"],
  ]);
  const json = startPlugin(["run", "--config", file, "--log-format", "json"]);
  equal((await json.ended).code, 2);
  deepEqual(json.log.map((line) => JSON.parse(line)).map(({ level, code }) => [level, code]), [
    ["error", "unknown-value"],
    ["error", "wrong-type"],
  ]);
});

Deno.test("a new configuration with mistakes is logged with their codes, and a good one with its warnings'", async () => {
  await using place = onHost("connectx-ib-dual");
  const file = join(place.dir, "config.yaml");
  const put = (text: string) => {
    writeFileSync(`${file}.new`, text);
    renameSync(`${file}.new`, file);
  };
  put("resources: [{name: rdma/a}]");
  const plugin = place.start("--config", file);
  await plugin.logged(/ starts/);
  put(MISTAKEN);
  match(await plugin.logged(/code=wrong-type/), /ERROR .*config\.yaml:4:10: resources\[0\]\.cdi: /);
  match(await plugin.logged(/code=unknown-value/), /ERROR .*config\.yaml:3:11: resources\[0\]\.mode: /);
  put("resources: [{name: rdma/a, health: {policy: present, ports: [1]}}]");
  match(await plugin.logged(/code=no-effect/), /WARN .*resources\[0\]\.health\.ports: /);
  equal((await plugin.stop()).code, 0);
});

Deno.test("run refuses a configuration that is a FIFO, and does not wait for a writer", async () => {
  using dir = temporaryDir();
  const fifo = join(dir.path, "c.yaml");
  equal(spawnSync("mkfifo", [fifo]).status, 0);
  const plugin = startPlugin(["run", "--config", fifo, "--log-format", "json"]);
  equal((await plugin.ended).code, 2);
  deepEqual(plugin.log.map((line) => JSON.parse(line).code), ["unreadable-file"]);
});

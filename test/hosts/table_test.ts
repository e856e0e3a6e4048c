/**
 * Every row of the table as it is right: through `list --json`, through a kubelet (counts, device nodes, variables), and
 * after another start of the plugin.
 *
 * @module
 */
import { deepEqual, ok } from "@std/assert";
import { kubeletCounts, listCounts, type Node, node } from "./node.ts";
import { EDGES } from "./edges.ts";
import { NEIGHBOURS } from "./neighbours.ts";
import { RELATIVES } from "./relatives.ts";
import { type Given, type Row, ROWS } from "./rows.ts";

for (const row of [...ROWS, ...EDGES, ...NEIGHBOURS, ...RELATIVES]) {
  Deno.test(`host ${row.what}`, async () => {
    await using one = await node(row);
    const json = await one.list();
    deepEqual(listCounts(json), sorted(row.devices), "list --json");
    for (const [resource, names] of Object.entries(row.members ?? {})) {
      const members = json.hcas.filter((hca) => hca.resources.some((in_) => in_.resource === resource));
      deepEqual(members.map((hca) => hca.name).join(","), names, `members of ${resource}`);
    }
    for (const [name, code] of Object.entries(row.reasons ?? {})) {
      const hca = json.hcas.find((one) => one.name === name)!;
      ok([...hca.resources, ...hca.leftOut].some((one) => one.code === code), JSON.stringify(hca));
    }
    await throughKubelet(one, row);
    await one.restart();
    await throughKubelet(one, row);
  });
}

async function throughKubelet(one: Node, row: Row): Promise<void> {
  await one.kubelet.waitFor((state) => {
    const lists = Object.keys(row.devices).every((name) => state.resources[name]?.endpoint);
    return lists && JSON.stringify(kubeletCounts(one.kubelet)) === JSON.stringify(sorted(row.devices));
  }, { what: `${JSON.stringify(row.devices)}` });
  for (const given of row.given ?? []) await compare(one, given);
}

async function compare(one: Node, given: Given): Promise<void> {
  const [answer] = await one.kubelet.allocate(given.resource, [given.ids]);
  if (given.nodes !== undefined) {
    deepEqual((answer?.devices ?? []).map((device) => device.host_path), given.nodes.map((name) => `/dev/${name}`));
  }
  const env = Object.fromEntries(Object.keys(given.env ?? {}).map((name) => [name, answer?.envs?.[name] ?? null]));
  deepEqual(env, given.env ?? {});
}

function sorted(counts: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(counts).sort());
}

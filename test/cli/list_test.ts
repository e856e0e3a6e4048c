import { deepEqual, equal, match, ok } from "@std/assert";
import { readFileSync } from "node:fs";
import { asJson, asText } from "../../src/cli/list.ts";
import type { PodsAnswer } from "../../src/kubelet/pod_resources.ts";
import { DEFAULT_SPEC, type ResourceSpec } from "../../src/pool/spec.ts";
import { PRESETS } from "../../sim/mod.ts";
import { golden } from "../support/golden.ts";
import { documentedKeys } from "../support/section.ts";
import { inspected } from "../support/inspected.ts";

const plain = (_style: string, words: string) => words;

for (const name of Object.keys(PRESETS)) {
  Deno.test(`list prints the host ${name} in 80 columns`, async () => {
    const text = asText(await inspected(name), null, plain);
    for (const line of text.split("\n")) ok(line.length <= 80, `${line.length} columns: ${line}`);
    golden(`list/${name}.txt`, text);
  });
}

Deno.test("list says why an HCA is in no resource, why a device is Unhealthy, and who holds it", async () => {
  const specs: ResourceSpec[] = [
    { ...DEFAULT_SPEC, name: "rdma/a-resource-with-a-very-long-name-indeed", select: [{ kinds: ["pf"] }] },
    {
      ...DEFAULT_SPEC,
      name: "rdma/vf",
      select: [{ pfs: [{ pf: "ens1f0np0", vfs: [0, 1] }] }],
      health: { ...DEFAULT_SPEC.health, policy: "port-active" },
    },
  ];
  const holder = { namespace: "mpi", pod: "train-0", container: "main" };
  const pods: PodsAnswer = { ok: true, holders: new Map([["rdma/vf", new Map([["mlx5_2", [holder]]])]]), claimed: [] };
  const inventory = await inspected("connectx-roce-vfs", specs, (host) => host.carrierLost("mlx5_3", 1));
  const text = asText(inventory, pods, plain);
  for (const line of text.split("\n")) ok(line.length <= 80, `${line.length} columns: ${line}`);
  golden("list/reasons.txt", text);
  const json = asJson(inventory, pods);
  deepEqual(json.hcas.find((one) => one.name === "mlx5_2")!.pods, ["mpi/train-0 (main): rdma/vf mlx5_2"]);
  const down = json.hcas.find((one) => one.name === "mlx5_3")!.resources[0]!;
  deepEqual([down.healthy, down.code], [false, "port-down"]);
  equal(json.hcas.find((one) => one.name === "mlx5_4")!.leftOut[0]!.code, "not-selected");
});

Deno.test("list stays within 80 columns with HCA names of any length", async () => {
  const host = PRESETS["connectx-ib-dual"];
  for (const length of [1, 19, 20, 26, 27, 36, 63]) {
    const name = "h".repeat(length);
    const text = asText(await inspected({ ...host, hcas: host.hcas.map((one) => ({ ...one, name })) }), null, plain);
    for (const line of text.split("\n")) ok(line.length <= 80, `${line.length} columns: ${line}`);
    match(text, new RegExp(`^${name}( |$)`, "m"));
    match(text, /tencent\.com\/rdma/);
  }
});

Deno.test("docs/troubleshooting.md names every key of list --json", async () => {
  const docs = readFileSync(new URL("../../docs/troubleshooting.md", import.meta.url), "utf8");
  const json = asJson(await inspected("connectx-ib-dual"), null);
  deepEqual(documentedKeys("list"), Object.keys(json));
  const device = json.resources[0]!.devices[0]!;
  ok(
    docs.includes(`\`devices\` (${Object.keys(device).map((key) => `\`${key}\``).join(", ")})`),
    Object.keys(device).join(),
  );
  const { resources: [offer], ...hca } = json.hcas[0]!;
  const read = Object.keys((await inspected("connectx-ib-dual")).snapshot.hcas[0]!);
  for (const key of [...Object.keys(offer!), ...Object.keys(hca).filter((one) => !read.includes(one))]) {
    ok(docs.includes(`\`${key}\``), key);
  }
});

Deno.test("list says which claim has an HCA, in words and in JSON", async () => {
  const inventory = await inspected("connectx-ib-dual");
  const claims = new Map([["mlx5_0", ["mpi/fast-hca-x7k2"]]]);
  match(asText(inventory, null, plain, claims), /^ {2}held by claim mpi\/fast-hca-x7k2$/m);
  deepEqual(asJson(inventory, null, claims).hcas[0]!.claims, ["mpi/fast-hca-x7k2"]);
});

import { deepEqual, equal, match, ok } from "@std/assert";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import process, { execPath } from "node:process";
import { stringify } from "yaml";
import { ROOT } from "../support/root.ts";
import config from "../../deno.json" with { type: "json" };
import { CLAIMS, EVENTS, FakeApiServer, NODES, PODS, SLICES } from "../../sim/api_server/server.ts";
import type { KubeObject } from "../../sim/api_server/store.ts";
import { claim, event, labels, node, pluginPod, pod, slice } from "../support/fleet_objects.ts";
import { needs } from "../support/need.ts";
import { temporaryDir, within } from "../support/temp.ts";

const RAIL = "rdma/rail";
const FLEET: readonly string[] = [execPath, "run", "-A", "--no-check", "--frozen", "mod.ts", "fleet"];
/** Where Deno and `kubectl-rdma` are found. */
const TOOLS = [dirname(execPath), join(ROOT, "deploy"), process.env.PATH].join(delimiter);

interface Finished {
  readonly status: number;
  readonly out: string;
  readonly error: string;
}

/** A cluster, and a kubeconfig that leads to it. */
class Cluster implements AsyncDisposable {
  readonly kubeconfig: string;

  private constructor(readonly dir: ReturnType<typeof temporaryDir>, readonly api: FakeApiServer) {
    this.kubeconfig = join(dir.path, "kubeconfig");
    this.write({ "certificate-authority": join(dir.path, "sa/ca.crt") }, { tokenFile: join(dir.path, "sa/token") });
  }

  static async start(): Promise<Cluster> {
    const dir = temporaryDir();
    return new Cluster(dir, await FakeApiServer.start(join(dir.path, "sa")));
  }

  write(cluster: object, user: object): void {
    const { server } = this.api.access;
    writeFileSync(
      this.kubeconfig,
      stringify({
        clusters: [{ name: "c", cluster: { server, ...cluster } }],
        users: [{ name: "u", user }],
        contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
        "current-context": "x",
      }),
    );
  }

  /** Objects of a kind; those with a namespace go into it. */
  add(collection: string, ...objects: readonly object[]): void {
    for (const one of objects as readonly KubeObject[]) {
      this.api.store.create(collection, one, one.metadata.namespace as string | undefined ?? null);
    }
  }

  /** Two nodes with the device plugin and one with DRA; all is well. */
  fill(): void {
    const own = labels({ hcas: 2, "ports-active": 2, ports: 2 });
    this.add(
      NODES,
      node("n1", { [RAIL]: [2, 2] }, { labels: { ...own, pool: "a" } }),
      node("n2", { [RAIL]: [2, 2] }),
      node("n3"),
    );
    this.add(PODS, pod("train-0", "n1", { [RAIL]: 2 }), pluginPod("n1"), pluginPod("n2"), pluginPod("n3"));
    this.add(SLICES, slice("n3", [{ hca: "mlx5_0" }, { hca: "mlx5_1" }]));
    this.add(CLAIMS, claim("train-1", "n3", ["mlx5_0"]));
  }

  start(words: readonly string[], env: Readonly<Record<string, string>> = {}, program = FLEET) {
    return spawn(program[0]!, [...program.slice(1), ...words], {
      cwd: ROOT,
      env: { ...process.env, KUBECONFIG: this.kubeconfig, KUBERNETES_SERVICE_HOST: "", NO_COLOR: "1", ...env },
    });
  }

  async run(
    words: readonly string[] = [],
    env: Readonly<Record<string, string>> = {},
    program = FLEET,
  ): Promise<Finished> {
    const child = this.start(words, env, program);
    const [out, error] = [child.stdout, child.stderr].map((stream) => {
      const parts: string[] = [];
      stream.setEncoding("utf8").on("data", (part: string) => void parts.push(part));
      return parts;
    });
    const [status] = await once(child, "close") as [number];
    return { status, out: out!.join(""), error: error!.join("") };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.api.close();
    this.dir[Symbol.dispose]();
  }
}

interface Json {
  readonly summary: { readonly nodes: number; readonly down: number };
  readonly missing: readonly { readonly what: string; readonly reason: string; readonly without: string }[];
  readonly nodes: readonly {
    readonly name: string;
    readonly state: string;
    readonly pods: readonly string[];
    readonly resources: readonly { readonly name: string; readonly used: number | null }[];
    readonly problems: readonly { readonly hca: string | null; readonly reason: string }[];
  }[];
}

const namesOf = (json: string) => (JSON.parse(json) as Json).nodes.map((one) => one.name);

Deno.test("fleet reads the kubeconfig, prints one table, and ends with 0 when nothing is down", async () => {
  await using cluster = await Cluster.start();
  cluster.fill();
  const table = await cluster.run();
  equal(table.status, 0, table.error);
  for (const name of ["n1", "n2", "n3"]) match(table.out, new RegExp(`^${name} +ok `, "m"));
  const { status, out } = await cluster.run(["--json"]);
  equal(status, 0);
  const found = JSON.parse(out) as Json;
  deepEqual(found.missing, []);
  deepEqual(found.nodes.map((one) => [one.name, one.resources[0]!.used, one.pods]), [
    ["n1", 2, ["ml/train-0"]],
    ["n2", 0, []],
    ["n3", 1, ["ml/train-1"]],
  ]);
  equal(cluster.api.writes().length, 0);
});

Deno.test("fleet ends with 1 when something is down, and says what, since when and under which pods", async () => {
  await using cluster = await Cluster.start();
  cluster.fill();
  cluster.api.store.update(NODES, "n1", node("n1", { [RAIL]: [1, 2] }) as unknown as KubeObject);
  cluster.add(EVENTS, event("n1", "mlx5_1 of rdma/rail is Unhealthy: port 1 is DOWN (Polling)"));
  const all = await cluster.run(["--json"]);
  equal(all.status, 1);
  deepEqual((JSON.parse(all.out) as Json).summary.down, 1);
  const down = await cluster.run(["--down"]);
  equal(down.status, 1);
  match(down.out, /^n1 +DOWN .*\n {2}mlx5_1: port 1 is DOWN \(Polling\), since 2026-11-30 12:00:00 UTC/m);
  ok(!/^n2/m.test(down.out));
  equal((await cluster.run(["--nodes", "n2,n3"])).status, 0);
});

Deno.test("fleet shows the nodes and resources that are asked for", async () => {
  await using cluster = await Cluster.start();
  cluster.fill();
  deepEqual(namesOf((await cluster.run(["--json", "--nodes", "n1,x*"])).out), ["n1"]);
  deepEqual(namesOf((await cluster.run(["--json", "--selector", "pool=a"])).out), ["n1"]);
  const other = await cluster.run(["--json", "--resource", "rdma/none"]);
  deepEqual(namesOf(other.out), ["n1", "n3"]);
  deepEqual((JSON.parse(other.out) as Json).nodes.flatMap((one) => one.resources), []);
});

Deno.test("fleet says which right is missing and what for, and shows the rest", async () => {
  await using cluster = await Cluster.start();
  cluster.fill();
  cluster.api.fault = { kind: "forbidden", verb: "GET", resource: "pods" };
  const partly = await cluster.run(["--json"]);
  equal(partly.status, 0);
  const found = JSON.parse(partly.out) as Json;
  deepEqual(found.missing.map((one) => one.what), ["pods"]);
  match(found.missing[0]!.reason, /forbidden/);
  deepEqual(found.nodes.find((one) => one.name === "n2")!.resources[0]!.used, null);
  match((await cluster.run()).out, /^note: pods cannot be read, so this is without what is used/m);
  cluster.api.fault = { kind: "forbidden", verb: "GET", resource: "nodes" };
  const nodeless = await cluster.run(["--json"]);
  deepEqual(namesOf(nodeless.out), ["n1", "n3"]);
  const selected = await cluster.run(["--selector", "pool=a"]);
  equal(selected.status, 2);
  match(selected.error, /cluster-role\.yaml/);
});

Deno.test("fleet works on a cluster without dynamic resource allocation and without events of ours", async () => {
  await using cluster = await Cluster.start();
  cluster.add(NODES, node("n1", { [RAIL]: [2, 2] }));
  const { status, out } = await cluster.run(["--json"]);
  equal(status, 0);
  deepEqual((JSON.parse(out) as Json).missing, []);
  ok(!cluster.api.requests.some((one) => one.path.endsWith("/resourceclaims")));
});

Deno.test("fleet ends with 2 and a sentence when nothing can be said", async () => {
  await using cluster = await Cluster.start();
  const untrusted = await (async () => {
    cluster.write({}, {});
    return await cluster.run();
  })();
  equal(untrusted.status, 2);
  match(untrusted.error, /is not trusted .*\n.*certificate-authority/);
  cluster.write({ "insecure-skip-tls-verify": true }, { token: "wrong" });
  const unauthorized = await cluster.run();
  equal(unauthorized.status, 2);
  match(unauthorized.error, /Unauthorized/);
  await cluster.api.down();
  const away = await cluster.run();
  equal(away.status, 2);
  match(away.error, /cannot be reached/);
  const none = await cluster.run([], { KUBECONFIG: join(cluster.dir.path, "none") });
  equal(none.status, 2);
  match(none.error, /No kubeconfig.*--kubeconfig FILE/);
  const context = await cluster.run(["--context", "y"]);
  equal(context.status, 2);
  match(context.error, /no context "y" \(there are: x\)/);
  equal((await cluster.run(["--kubeconfig", join(cluster.dir.path, "none")])).status, 2);
});

Deno.test("fleet takes the cluster that it runs in where there is no kubeconfig", async () => {
  await using cluster = await Cluster.start();
  cluster.fill();
  const { hostname, port } = new URL(cluster.api.access.server);
  const { caFile, tokenFile } = cluster.api.access;
  const files = ["--kube-ca-file", caFile, "--kube-token-file", tokenFile];
  const env = {
    KUBECONFIG: join(cluster.dir.path, "none"),
    KUBERNETES_SERVICE_HOST: hostname,
    KUBERNETES_SERVICE_PORT: port,
  };
  deepEqual(namesOf((await cluster.run(["--json", ...files], env)).out), ["n1", "n2", "n3"]);
  // With what the image's permission set allows, a home directory and its environment are out of reach.
  const sandboxed = FLEET.flatMap((word) =>
    word !== "-A" ? [word] : [
      "--no-prompt",
      "--allow-net",
      `--allow-read=${cluster.dir.path}`,
      `--allow-env=${[...config.permissions.image.env, "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"].join()}`,
    ]
  );
  const inside = await cluster.run(["--json", ...files], env, sandboxed);
  equal(inside.error, "");
  deepEqual(namesOf(inside.out), ["n1", "n2", "n3"]);
});

Deno.test("kubectl-rdma is fleet", async () => {
  await using cluster = await Cluster.start();
  cluster.fill();
  const found = await cluster.run(["--json", "--nodes", "n2"], { PATH: TOOLS }, [join(ROOT, "deploy/kubectl-rdma")]);
  equal(found.error, "");
  deepEqual(namesOf(found.out), ["n2"]);
  const version = await cluster.run(["version"], { PATH: TOOLS }, [join(ROOT, "deploy/kubectl-rdma")]);
  match(version.out, /^rdma-device-plugin \d/);
  // A copy has what it needs beside it, or says so.
  const alone = join(cluster.dir.path, "kubectl-rdma");
  cpSync(join(ROOT, "deploy/kubectl-rdma"), alone);
  const nothing = await cluster.run([], {}, [alone]);
  equal(nothing.status, 2);
  match(nothing.error, /no rdma-device-plugin\.mjs/);
});

Deno.test({
  name: "kubectl rdma is kubectl-rdma",
  ...needs("kubectl"),
  fn: async () => {
    await using cluster = await Cluster.start();
    cluster.fill();
    const found = await cluster.run(["rdma", "--json"], { PATH: TOOLS }, ["kubectl"]);
    equal(found.status, 0, found.error);
    deepEqual(namesOf(found.out), ["n1", "n2", "n3"]);
  },
});

Deno.test("fleet --watch follows the cluster: one JSON object a line, the status is the last one's", async () => {
  await using cluster = await Cluster.start();
  cluster.fill();
  const child = cluster.start(["--watch", "--json"]);
  const printed: string[] = [];
  let arrived = Promise.withResolvers<void>();
  child.stdout.setEncoding("utf8").on("data", (part: string) => {
    printed.push(part);
    if (part.endsWith("\n")) arrived.resolve();
  });
  const closed = once(child, "close") as Promise<[number]>;
  const last = async () => {
    await within(arrived.promise, "a line");
    arrived = Promise.withResolvers();
    return JSON.parse(printed.join("").trimEnd().split("\n").at(-1)!) as Json;
  };
  equal((await last()).summary.down, 0);
  // Nodes, pods, slices, claims and events.
  await cluster.api.waitFor(() => cluster.api.watches === 5, "the watches");
  const lists = cluster.api.requests.length;
  cluster.api.store.update(NODES, "n2", node("n2", { [RAIL]: [1, 2] }) as unknown as KubeObject);
  const then = await last();
  deepEqual(then.nodes.filter((one) => one.state === "down").map((one) => one.name), ["n2"]);
  equal(cluster.api.requests.length, lists);
  // ChildProcess.kill() of this runtime reports the signal as the end, whatever the status was.
  process.kill(child.pid!, "SIGTERM");
  deepEqual((await closed)[0], 1);
});

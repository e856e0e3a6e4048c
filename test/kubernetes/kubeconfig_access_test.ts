import { deepEqual, equal, match, ok, rejects } from "@std/assert";
import { Buffer } from "node:buffer";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { TLSSocket } from "node:tls";
import { join } from "node:path";
import { execPath } from "node:process";
import { stringify } from "yaml";
import { ApiClient } from "../../src/kubernetes/client.ts";
import { credentialOf } from "../../src/kubernetes/exec_credential.ts";
import { kubeconfigAccess, kubeconfigFiles } from "../../src/kubernetes/kubeconfig_access.ts";
import { KubeconfigError } from "../../src/kubernetes/kubeconfig.ts";
import { AUTHORITY, SERVER_CERTIFICATE, SERVER_KEY } from "../../sim/api_server/certificates.ts";
import { FakeApiServer } from "../../sim/api_server/server.ts";
import { CLIENT_CERTIFICATE, CLIENT_KEY } from "../support/client_certificate.ts";
import { temporaryDir } from "../support/temp.ts";

type Parts = Readonly<Record<string, unknown>>;
const EXEC_API = "client.authentication.k8s.io/v1";

function clientFor(server: string, cluster: Parts, user: Parts, path = "/nowhere/config"): ApiClient {
  const text = stringify({
    clusters: [{ name: "c", cluster: { server, ...cluster } }],
    users: [{ name: "u", user }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    "current-context": "x",
  });
  return new ApiClient(kubeconfigAccess([{ path, text }], null));
}

interface Greeting {
  readonly who: unknown;
  readonly headers: Readonly<Record<string, string>>;
  readonly url: string;
}

/** A server that says who it takes the client for. */
async function withMirror(run: (port: number) => Promise<void>): Promise<void> {
  const options = { key: SERVER_KEY, cert: SERVER_CERTIFICATE, requestCert: true, rejectUnauthorized: false };
  const server = createServer(options, (request, response) => {
    const who = (request.socket as TLSSocket).getPeerCertificate()?.subject ?? null;
    response.end(JSON.stringify({ who, headers: request.headers, url: request.url }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await run((server.address() as AddressInfo).port);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

async function greeting(client: ApiClient): Promise<Greeting> {
  const answer = await client.call<Greeting>("GET", "/api/v1/nodes");
  client.close();
  ok(answer.ok, JSON.stringify(answer));
  return answer.value;
}

async function reason(client: ApiClient): Promise<string> {
  const answer = await client.call("GET", "/api/v1/nodes");
  client.close();
  return answer.ok ? "none" : answer.error.reason;
}

const trusted = { "certificate-authority-data": btoa(AUTHORITY) };

Deno.test("a kubeconfig's client certificate, password and impersonation reach the server", () =>
  withMirror(async (port) => {
    const server = `https://127.0.0.1:${port}`;
    const certificate = {
      "client-certificate-data": btoa(CLIENT_CERTIFICATE),
      "client-key-data": btoa(CLIENT_KEY),
    };
    const alice = await greeting(clientFor(server, trusted, certificate));
    deepEqual({ ...alice.who as object }, { O: "ops", CN: "alice" });
    equal(alice.headers["accept-encoding"], "gzip");
    const password = await greeting(clientFor(server, trusted, { username: "a", password: "b", as: "bob" }));
    equal(password.headers.authorization, `Basic ${btoa("a:b")}`);
    equal(password.headers["impersonate-user"], "bob");
    const below = await greeting(clientFor(`${server}/k8s/clusters/c-1/`, trusted, {}));
    equal(below.url, "/k8s/clusters/c-1/api/v1/nodes");
  }));

Deno.test("the server's certificate must be trusted, unless the kubeconfig says otherwise", () =>
  withMirror(async (port) => {
    const server = `https://127.0.0.1:${port}`;
    equal(await reason(clientFor(server, {}, {})), "Untrusted");
    equal(await reason(clientFor(server, { ...trusted, "tls-server-name": "example.org" }, {})), "Untrusted");
    equal(await reason(clientFor(server, { ...trusted, "tls-server-name": "localhost" }, {})), "none");
    equal(await reason(clientFor(server, { "insecure-skip-tls-verify": true }, {})), "none");
    equal(await reason(clientFor(server, { "certificate-authority": "/nowhere/ca" }, {})), "NoCredentials");
  }));

Deno.test("files that a kubeconfig names are read beside it, for each request", async () => {
  using dir = temporaryDir();
  await using api = await FakeApiServer.start(join(dir.path, "sa"));
  const user = { tokenFile: "sa/token" };
  const client = clientFor(api.access.server, { "certificate-authority": "sa/ca.crt" }, user, join(dir.path, "config"));
  ok((await client.call("GET", "/api/v1/nodes")).ok);
  api.rotateToken();
  ok((await client.call("GET", "/api/v1/nodes")).ok);
  client.close();
});

/** A credential plugin that gives the token in the file, and counts its runs there. */
function plugin(dir: string, body: string): Parts {
  const path = join(dir, "plugin.ts");
  writeFileSync(path, body);
  return {
    apiVersion: EXEC_API,
    command: execPath,
    args: ["run", "-A", "--no-lock", "--no-config", path],
    env: [{ name: "TOKEN_FILE", value: join(dir, "sa/token") }],
    provideClusterInfo: true,
  };
}

Deno.test("a credential plugin runs once, is given the cluster, and runs again when its token is refused", async () => {
  using dir = temporaryDir();
  await using api = await FakeApiServer.start(join(dir.path, "sa"));
  const seen = join(dir.path, "seen");
  const exec = plugin(
    dir.path,
    `Deno.writeTextFileSync(${JSON.stringify(seen)}, Deno.env.get("KUBERNETES_EXEC_INFO") + "\\n", { append: true });
     const token = Deno.readTextFileSync(Deno.env.get("TOKEN_FILE")).trim();
     console.log(JSON.stringify({ apiVersion: "${EXEC_API}", kind: "ExecCredential", status: { token } }));`,
  );
  // Bundles have the names of authorities as comments, in any script.
  const authority = `# Főtanúsítvány, 根证书\n${AUTHORITY}`;
  const data = Buffer.from(authority).toString("base64");
  const client = clientFor(api.access.server, { "certificate-authority-data": data }, { exec });
  const answers = await Promise.all([0, 1, 2].map(() => client.call("GET", "/api/v1/nodes")));
  ok(answers.every((one) => one.ok), JSON.stringify(answers));
  const runs = () => readFileSync(seen, "utf8").trim().split("\n").map((line) => JSON.parse(line));
  equal(runs().length, 1);
  equal(runs()[0].spec.cluster.server, api.access.server);
  equal(runs()[0].spec.cluster["certificate-authority-data"], data);
  api.rotateToken();
  ok((await client.call("GET", "/api/v1/nodes")).ok);
  equal(runs().length, 2);
  // A login may come with each run: of several requests that are refused at the same time one asks for it.
  api.rotateToken();
  const again = await Promise.all([0, 1, 2, 3].map(() => client.call("GET", "/api/v1/nodes")));
  deepEqual([again.map((one) => one.ok), runs().length], [[true, true, true, true], 3]);
  client.close();
});

Deno.test("a credential plugin that fails, is missing, or prints something else is a reason, not a crash", async () => {
  using dir = temporaryDir();
  const failing = clientFor("https://127.0.0.1:1", {}, { exec: plugin(dir.path, "Deno.exit(3)") });
  const answer = await failing.call("GET", "/api/v1/nodes");
  failing.close();
  equal(answer.ok ? "" : answer.error.reason, "NoCredentials");
  match(answer.ok ? "" : answer.error.message, /status 3/);
  const absent = { apiVersion: EXEC_API, command: "no-such-plugin", installHint: "apt install it" };
  const missing = clientFor("https://127.0.0.1:1", {}, { exec: absent });
  const hint = await missing.call("GET", "/api/v1/nodes");
  missing.close();
  match(hint.ok ? "" : hint.error.message, /no-such-plugin.*no such program\napt install it/);
  const settings = { ...absent, args: [], env: [], interactiveMode: "Never", provideClusterInfo: false } as const;
  const wrong = ["x", "{}", `{"kind":"ExecCredential","apiVersion":"${EXEC_API}","status":{}}`];
  for (const printed of wrong) {
    await rejects(async () => void await credentialOf(printed, settings), KubeconfigError);
  }
});

Deno.test("kubeconfigFiles(): the flag, else KUBECONFIG, else the home directory's", async () => {
  using dir = temporaryDir();
  mkdirSync(join(dir.path, ".kube"));
  for (const name of [".kube/config", "a", "b"]) writeFileSync(join(dir.path, name), `# ${name}`);
  const at = (name: string) => join(dir.path, name);
  const paths = (explicit: string | undefined, env: Record<string, string>) =>
    kubeconfigFiles(explicit, env).map((one) => one.path);
  deepEqual(paths(at("a"), { KUBECONFIG: at("b") }), [at("a")]);
  deepEqual(paths(undefined, { KUBECONFIG: `${at("b")}:${at("none")}::${at("a")}` }), [at("b"), at("a")]);
  deepEqual(paths(undefined, { HOME: dir.path }), [at(".kube/config")]);
  deepEqual(paths(undefined, { HOME: at("elsewhere") }), []);
  await rejects(async () => void await paths(at("none"), {}), KubeconfigError);
});

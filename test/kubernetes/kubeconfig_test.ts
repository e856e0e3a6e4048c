import { deepEqual, equal, match, throws } from "@std/assert";
import { stringify } from "yaml";
import { contextSettings, KubeconfigError } from "../../src/kubernetes/kubeconfig.ts";
import { AUTHORITY } from "../../sim/api_server/certificates.ts";
import { CLIENT_CERTIFICATE, CLIENT_KEY } from "../support/client_certificate.ts";

type Parts = Readonly<Record<string, unknown>>;

function kubeconfig(cluster: Parts = {}, user: Parts = {}, over: Parts = {}) {
  return {
    path: "/home/alice/.kube/config",
    text: stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "prod", cluster: { server: "https://10.0.0.1:6443", ...cluster } }],
      users: [{ name: "alice", user }],
      contexts: [{ name: "here", context: { cluster: "prod", user: "alice" } }],
      "current-context": "here",
      ...over,
    }),
  };
}

const settingsOf = (cluster: Parts, user: Parts) => contextSettings([kubeconfig(cluster, user)], null);

function refusal(run: () => unknown): string {
  let message = "";
  throws(run, (error: unknown) => {
    message = (error as Error).message;
    return error instanceof KubeconfigError;
  });
  return message;
}

Deno.test("contextSettings() reads address, authority, client certificate and token, as data", () => {
  const found = settingsOf({
    "certificate-authority-data": btoa(AUTHORITY),
    "tls-server-name": "kubernetes",
    "disable-compression": true,
  }, { "client-certificate-data": btoa(CLIENT_CERTIFICATE), "client-key-data": btoa(CLIENT_KEY), token: "abc" });
  deepEqual(found, {
    context: "here",
    server: "https://10.0.0.1:6443",
    caData: AUTHORITY,
    caFile: null,
    insecure: false,
    serverName: "kubernetes",
    compressed: false,
    clusterExtension: null,
    certData: CLIENT_CERTIFICATE,
    certFile: null,
    keyData: CLIENT_KEY,
    keyFile: null,
    token: "abc",
    tokenFile: null,
    username: null,
    password: null,
    impersonation: {},
    exec: null,
  });
});

Deno.test("contextSettings() takes paths relative to the file that they are in", () => {
  const found = settingsOf({ "certificate-authority": "pki/ca.crt" }, {
    "client-certificate": "../alice.crt",
    "client-key": "/etc/alice.key",
    tokenFile: "token",
    exec: { apiVersion: "client.authentication.k8s.io/v1", command: "./bin/login" },
  });
  deepEqual(
    [found.caFile, found.certFile, found.keyFile, found.tokenFile, found.exec!.command],
    [
      "/home/alice/.kube/pki/ca.crt",
      "/home/alice/alice.crt",
      "/etc/alice.key",
      "/home/alice/.kube/token",
      "/home/alice/.kube/bin/login",
    ],
  );
});

Deno.test("contextSettings() reads the credential plugin", () => {
  const exec = {
    apiVersion: "client.authentication.k8s.io/v1beta1",
    command: "aws",
    args: ["eks", "get-token"],
    env: [{ name: "AWS_PROFILE", value: "prod" }],
    interactiveMode: "Never",
    provideClusterInfo: true,
    installHint: "install aws",
  };
  deepEqual(settingsOf({}, { exec }).exec, exec);
});

Deno.test("contextSettings() merges files: the first that sets something counts", () => {
  const first = { path: "/a", text: stringify({ users: [{ name: "alice", user: { token: "first" } }] }) };
  const empty = { path: "/b", text: "" };
  const merged = contextSettings([first, empty, kubeconfig({}, { token: "second" })], null);
  deepEqual([merged.server, merged.token], ["https://10.0.0.1:6443", "first"]);
  const current = { path: "/c", text: stringify({ "current-context": "elsewhere" }) };
  equal(contextSettings([current, kubeconfig()], "here").context, "here");
  match(refusal(() => contextSettings([current, kubeconfig()], null)), /no context "elsewhere" \(there are: here\)/);
});

Deno.test("contextSettings() reads impersonation, passwords, and that no authority is asked for", () => {
  const found = settingsOf({ "insecure-skip-tls-verify": true }, {
    username: "alice",
    password: "secret",
    as: "bob",
    "as-groups": ["ops"],
  });
  deepEqual([found.insecure, found.username, found.password], [true, "alice", "secret"]);
  deepEqual(found.impersonation, { "impersonate-user": "bob", "impersonate-group": "ops" });
});

Deno.test("contextSettings() refuses what cannot be used, and names the file", () => {
  const refused: readonly (readonly [RegExp, () => unknown])[] = [
    [
      /no current-context.*there are: here/,
      () => contextSettings([kubeconfig({}, {}, { "current-context": "" })], null),
    ],
    [/no context "else"/, () => contextSettings([kubeconfig()], "else")],
    [/no cluster "prod"/, () => contextSettings([kubeconfig({}, {}, { clusters: null })], null)],
    [/no user "alice"/, () => contextSettings([kubeconfig({}, {}, { users: [] })], null)],
    [/is no kubeconfig/, () => contextSettings([{ path: "/home/alice/.kube/config", text: "a: [" }], null)],
    [/server is "10.0.0.1"/, () => settingsOf({ server: "10.0.0.1" }, {})],
    [/proxy-url/, () => settingsOf({ "proxy-url": "http://proxy:3128" }, {})],
    [
      /authority and insecure/,
      () => settingsOf({ "insecure-skip-tls-verify": true, "certificate-authority": "ca.crt" }, {}),
    ],
    [/certificate-authority-data is not PEM/, () => settingsOf({ "certificate-authority-data": "xyz" }, {})],
    [/auth-provider/, () => settingsOf({}, { "auth-provider": { name: "gcp" } })],
    [/exec has no command/, () => settingsOf({}, { exec: { apiVersion: "client.authentication.k8s.io/v1" } })],
    [/v1alpha1/, () => settingsOf({}, { exec: { apiVersion: "client.authentication.k8s.io/v1alpha1", command: "x" } })],
    [/impersonation/, () => settingsOf({}, { as: "bob", "as-groups": ["a", "b"] })],
  ];
  for (const [expected, run] of refused) {
    const message = refusal(run);
    match(message, expected);
    match(message, /\/home\/alice\/\.kube\/config/);
  }
});

Deno.test("contextSettings() takes any document: what is no kubeconfig is refused, never a crash", () => {
  for (const text of ["", "[]", "a", "1", "clusters: x", "contexts: [1, null, {}]", "current-context: {}"]) {
    refusal(() => contextSettings([{ path: "/x", text }], null));
  }
});

import { deepEqual, equal, match, ok } from "@std/assert";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import process, { execPath } from "node:process";
import { fileURLToPath } from "node:url";
import { within } from "../support/temp.ts";

const read = (name: string) => JSON.parse(readFileSync(new URL(`../../${name}`, import.meta.url), "utf8"));
const AUDIT = fileURLToPath(new URL("../../tools/audit.ts", import.meta.url));

interface Lock {
  readonly specifiers: Readonly<Record<string, string>>;
  readonly npm: Readonly<Record<string, { integrity?: string; scripts?: boolean }>>;
}

// That the bundle holds exactly the packages of THIRD_PARTY_NOTICES.txt is shown in tools/notices_test.ts.

Deno.test("every dependency is pinned to one version in deno.json, and to one content in deno.lock", () => {
  const { imports } = read("deno.json") as { imports: Record<string, string> };
  const { specifiers, npm } = read("deno.lock") as Lock;
  const outside = Object.values(imports).filter((one) => !one.startsWith("./") && !one.startsWith("node:"));
  ok(outside.length > 10);
  deepEqual(outside.filter((one) => !/^npm:\/?(@[\w-]+\/)?[\w.-]+@\d+\.\d+\.\d+(\/.*)?$/.test(one)), []);
  for (const [specifier, version] of Object.entries(specifiers)) {
    match(specifier, /^npm:(@[\w-]+\/)?[\w.-]+@\d+\.\d+\.\d+$/);
    equal(specifier.slice(specifier.lastIndexOf("@") + 1), version);
  }
  ok(Object.keys(npm).length > 50);
  for (const [name, { integrity }] of Object.entries(npm)) match(integrity ?? "none", /^sha512-[\w+/]{86}==$/, name);
});

Deno.test("dependencies come from the npm registry and from nowhere else", () => {
  deepEqual(Object.keys(read("deno.lock")).sort(), ["npm", "specifiers", "version", "workspace"]);
});

Deno.test("no dependency runs a script when it is installed", () => {
  // Deno runs them only where deno.json allows it by name and there is a node_modules.
  const { nodeModulesDir, allowScripts, lock } = read("deno.json") as Record<string, unknown>;
  deepEqual({ nodeModulesDir, allowScripts, lock }, {
    nodeModulesDir: "none",
    allowScripts: undefined,
    lock: { frozen: true },
  });
  // Two would like to; a third is a reason to look at it. protobufjs' only warns of version ranges, esbuild builds.
  const { npm } = read("deno.lock") as Lock;
  const wishes = Object.entries(npm).filter(([, { scripts }]) => scripts).map(([name]) => name.replace(/@[^@]*$/, ""));
  deepEqual(wishes, ["esbuild", "protobufjs"]);
});

/** Runs tools/audit.ts against a registry that answers its question for advisories with this. */
async function audit(status: number, advisories: unknown): Promise<{ code: number | null; output: string }> {
  const asked: string[] = [];
  const registry = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    request.resume().on("end", () => response.writeHead(status).end(JSON.stringify(advisories)));
  });
  await new Promise<void>((resolve) => registry.listen(0, "127.0.0.1", resolve));
  try {
    const { port } = registry.address() as AddressInfo;
    const child = spawn(execPath, ["run", "-A", "--no-check", "--frozen", AUDIT], {
      env: { ...process.env, NPM_CONFIG_REGISTRY: `http://127.0.0.1:${port}` },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text) => output += text);
    child.stderr.setEncoding("utf8").on("data", (text) => output += text);
    const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
    const code = await within(ended, "the end of the audit", 30_000);
    ok(asked.includes("POST /-/npm/v1/security/advisories/bulk"), asked.join());
    return { code, output };
  } finally {
    await new Promise<void>((resolve) => {
      registry.close(() => resolve());
      registry.closeAllConnections();
    });
  }
}

const advisory = (below: string) => [{
  id: 1,
  url: "https://example.com/advisory",
  title: "an example",
  severity: "high",
  vulnerable_versions: `<${below}`,
  cwe: [],
  cvss: { score: 0, vectorString: null },
}];

Deno.test("the audit passes only when the registry knows of nothing that concerns our versions", async () => {
  const { code, output } = await audit(200, { yaml: advisory("1.0.0") });
  equal(output, "No known vulnerabilities in the packages of deno.lock.\n");
  equal(code, 0);
});

Deno.test("the audit fails on a vulnerability, and says whether it ships", async () => {
  const { code, output } = await audit(200, { yaml: advisory("99.0.0"), ajv: advisory("99.0.0") });
  match(output, /^yaml: in the bundle, so in every image$/m);
  match(output, /^ajv: used to build or test, not shipped$/m);
  equal(code, 1, output);
});

Deno.test("the audit never passes silently when the registry does not answer", async () => {
  const { code, output } = await audit(503, "no");
  match(output, /^NOT AUDITED\. The registry could not be asked/);
  equal(code, 2);
});

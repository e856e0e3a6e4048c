/**
 * Credential plugins of kubeconfigs: a program that prints an `ExecCredential`
 * (https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import process from "node:process";
import { type ContextSettings, type ExecSettings, KubeconfigError } from "./kubeconfig.ts";

/** What a plugin gave. */
export interface ExecCredential {
  readonly token: string | null;
  readonly cert: string | null;
  readonly key: string | null;
  /** Milliseconds since 1970; null when it does not expire. */
  readonly expires: number | null;
}

/**
 * Runs the plugin. What it prints on standard error goes to ours: it may ask for a login there.
 *
 * @param interactive whether a person is at the terminal
 * @throws {KubeconfigError}
 */
export async function runCredentialPlugin(
  exec: ExecSettings,
  context: ContextSettings,
  interactive: boolean,
): Promise<ExecCredential> {
  const { command, args, env, interactiveMode, installHint } = exec;
  const asks = interactive && interactiveMode !== "Never";
  if (interactiveMode === "Always" && !interactive) {
    throw new KubeconfigError(`the credential plugin ${command} needs a terminal, and there is none`);
  }
  const child = spawn(command, args, {
    stdio: [asks ? "inherit" : "ignore", "pipe", "inherit"],
    env: {
      ...process.env,
      ...Object.fromEntries(env.map(({ name, value }) => [name, value])),
      KUBERNETES_EXEC_INFO: JSON.stringify(execInfo(exec, context, asks)),
    },
  });
  const printed: string[] = [];
  child.stdout!.setEncoding("utf8").on("data", (part: string) => void printed.push(part));
  const status = await new Promise<number | null>((resolve, reject) => {
    child.on("error", (error: Error & { code?: string }) => {
      const hint = installHint === null ? "" : `\n${installHint}`;
      const reason = error.code === "ENOENT" ? "there is no such program" : error.message;
      reject(new KubeconfigError(`the credential plugin ${command} cannot be run: ${reason}${hint}`));
    });
    child.on("close", resolve);
  });
  if (status !== 0) throw new KubeconfigError(`the credential plugin ${command} ended with status ${status}`);
  return credentialOf(printed.join(""), exec);
}

function execInfo(exec: ExecSettings, context: ContextSettings, interactive: boolean): object {
  const { caData, insecure, server, serverName, clusterExtension } = context;
  const cluster = {
    server,
    ...serverName === null ? {} : { "tls-server-name": serverName },
    ...insecure ? { "insecure-skip-tls-verify": true } : {},
    ...caData === null ? {} : { "certificate-authority-data": Buffer.from(caData).toString("base64") },
    ...clusterExtension === null ? {} : { config: clusterExtension },
  };
  return {
    apiVersion: exec.apiVersion,
    kind: "ExecCredential",
    spec: { interactive, ...exec.provideClusterInfo ? { cluster } : {} },
  };
}

/** @throws {KubeconfigError} for what is no `ExecCredential` of the version that was asked for */
export function credentialOf(printed: string, { command, apiVersion }: ExecSettings): ExecCredential {
  let answer: { kind?: unknown; apiVersion?: unknown; status?: Record<string, unknown> };
  try {
    answer = JSON.parse(printed) as typeof answer;
  } catch {
    throw new KubeconfigError(`the credential plugin ${command} did not print JSON`);
  }
  if (answer.kind !== "ExecCredential" || answer.apiVersion !== apiVersion) {
    throw new KubeconfigError(
      `the credential plugin ${command} printed ${String(answer.apiVersion)} ${String(answer.kind)} instead of ` +
        `${apiVersion} ExecCredential`,
    );
  }
  const text = (name: string) => {
    const value = answer.status?.[name];
    return typeof value === "string" && value !== "" ? value : null;
  };
  const [token, cert, key] = [text("token"), text("clientCertificateData"), text("clientKeyData")];
  if (token === null && (cert === null || key === null)) {
    throw new KubeconfigError(`the credential plugin ${command} gave neither a token nor a client certificate`);
  }
  const expires = Date.parse(text("expirationTimestamp") ?? "");
  return { token, cert, key, expires: Number.isNaN(expires) ? null : expires };
}

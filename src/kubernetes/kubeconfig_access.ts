/**
 * Access to the API server from a kubeconfig: reads the files that it names, runs its credential plugin.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import process from "node:process";
import type { Credentials, CredentialSource, TlsSettings } from "./access.ts";
import { type ExecCredential, runCredentialPlugin } from "./exec_credential.ts";
import { type ContextSettings, contextSettings, KubeconfigError, type KubeconfigFile } from "./kubeconfig.ts";

/** A plugin's credential is replaced so long before it expires. */
const MARGIN_MS = 10_000;

/**
 * The kubeconfig files that count, in their order: `explicit`, else those of KUBECONFIG, else `~/.kube/config`. Of the
 * latter two, files that do not exist are left out, as kubectl does.
 *
 * @throws {KubeconfigError} for a file that cannot be read
 */
export function kubeconfigFiles(
  explicit: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): readonly KubeconfigFile[] {
  if (explicit !== undefined) return [read(explicit)];
  const listed = (env.KUBECONFIG ?? "").split(delimiter).filter((path) => path !== "");
  const paths = listed.length > 0 ? listed : [join(env.HOME || homedir(), ".kube/config")];
  return paths.filter(existsSync).map(read);
}

function read(path: string): KubeconfigFile {
  try {
    return { path, text: readFileSync(path, "utf8") };
  } catch (error) {
    throw new KubeconfigError(`the kubeconfig ${path} cannot be read: ${(error as Error).message}`);
  }
}

/**
 * @param context null for the current one
 * @throws {KubeconfigError}
 */
export function kubeconfigAccess(files: readonly KubeconfigFile[], context: string | null): CredentialSource {
  return new KubeconfigAccess(contextSettings(files, context));
}

class KubeconfigAccess implements CredentialSource {
  readonly #settings: ContextSettings;
  /** One run of the plugin serves all requests that wait for it. */
  #credential: Promise<ExecCredential> | null = null;
  #expires = Infinity;
  /** Which run of the plugin gave what was sent. */
  readonly #runs = new WeakMap<Credentials, Promise<ExecCredential>>();

  constructor(settings: ContextSettings) {
    this.#settings = settings;
  }

  get server(): string {
    return this.#settings.server;
  }

  get compressed(): boolean {
    return this.#settings.compressed;
  }

  async credentials(refused: Credentials | null): Promise<Credentials> {
    const { caData, caFile, insecure, serverName, certData, certFile, keyData, keyFile } = this.#settings;
    // Of several requests that were refused the first asks for another run, which may be a login.
    if (refused !== null && this.#runs.get(refused) === this.#credential) this.#credential = null;
    const given = await this.#plugin();
    const run = this.#credential;
    const ca = caData ?? fileText(caFile);
    const cert = given?.cert ?? certData ?? fileText(certFile);
    const key = given?.key ?? keyData ?? fileText(keyFile);
    const tls: TlsSettings = {
      ...ca === null ? {} : { ca },
      ...cert === null ? {} : { cert },
      ...key === null ? {} : { key },
      ...serverName === null ? {} : { servername: serverName },
      ...insecure ? { rejectUnauthorized: false } : {},
    };
    const credentials = { tls, headers: { ...authorization(this.#settings, given), ...this.#settings.impersonation } };
    if (run !== null) this.#runs.set(credentials, run);
    return credentials;
  }

  async #plugin(): Promise<ExecCredential | null> {
    const { exec } = this.#settings;
    if (exec === null) return null;
    if (Date.now() > this.#expires - MARGIN_MS) this.#credential = null;
    this.#expires = Infinity;
    const settings = { ...this.#settings, caData: this.#settings.caData ?? fileText(this.#settings.caFile) };
    const asked = this.#credential ??= runCredentialPlugin(exec, settings, process.stdin.isTTY === true);
    try {
      const given = await asked;
      this.#expires = given.expires ?? Infinity;
      return given;
    } catch (error) {
      if (this.#credential === asked) this.#credential = null;
      throw error;
    }
  }
}

function authorization(settings: ContextSettings, given: ExecCredential | null): Readonly<Record<string, string>> {
  // In the order of client-go: a plugin's, a file's, the token itself, a password.
  const token = given?.token ?? fileText(settings.tokenFile)?.trim() ?? settings.token;
  if (token !== null) return { authorization: `Bearer ${token}` };
  const { username, password } = settings;
  if (username === null) return {};
  return { authorization: `Basic ${Buffer.from(`${username}:${password ?? ""}`).toString("base64")}` };
}

function fileText(path: string | null): string | null {
  return path === null ? null : readFileSync(path, "utf8");
}

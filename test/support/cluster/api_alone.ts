/**
 * A real API server with its etcd and nothing else: no kubelet, no controllers, no privilege. Objects stay as they are
 * written.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { generateKeyPairSync } from "node:crypto";
import { freePort } from "../free_port.ts";
import { Api } from "./api.ts";
import type { Programs } from "./programs.ts";

/** May do everything, as `system:masters`. */
const ADMIN_TOKEN = "alone-admin";

/** A user beside the administrator. */
export interface ApiUser {
  readonly name: string;
  readonly token: string;
}

export class ApiAlone implements AsyncDisposable {
  readonly url: string;
  readonly caFile: string;
  /** Asks as the administrator. */
  readonly api: Api;
  readonly #processes: readonly ChildProcess[];

  private constructor(dir: string, port: number, processes: readonly ChildProcess[]) {
    this.url = `https://127.0.0.1:${port}`;
    this.caFile = join(dir, "pki/apiserver.crt");
    this.api = new Api({ url: this.url, caFile: this.caFile, token: ADMIN_TOKEN });
    this.#processes = processes;
  }

  /** Of the API server and etcd. */
  get pids(): readonly number[] {
    return this.#processes.map((one) => one.pid!);
  }

  /** Where the administrator's token is. */
  static tokenFile(dir: string): string {
    return join(dir, "admin-token");
  }

  /** @param dir an existing directory, for data and logs */
  static async start(programs: Pick<Programs, "etcd" | "apiserver">, dir: string, user: ApiUser): Promise<ApiAlone> {
    mkdirSync(join(dir, "pki"));
    const key = join(dir, "service-accounts.pem");
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    writeFileSync(key, privateKey.export({ type: "pkcs1", format: "pem" }));
    writeFileSync(ApiAlone.tokenFile(dir), ADMIN_TOKEN);
    const tokens = join(dir, "tokens.csv");
    writeFileSync(tokens, `${ADMIN_TOKEN},admin,admin,"system:masters"\n${user.token},${user.name},${user.name}\n`);
    const [client, peer, port] = [await freePort(), await freePort(), await freePort()];
    const [clientUrl, peerUrl] = [`http://127.0.0.1:${client}`, `http://127.0.0.1:${peer}`];
    const processes = [
      run(dir, "etcd", [
        programs.etcd,
        `--data-dir=${join(dir, "etcd")}`,
        "--unsafe-no-fsync",
        "--log-level=warn",
        `--listen-client-urls=${clientUrl}`,
        `--advertise-client-urls=${clientUrl}`,
        `--listen-peer-urls=${peerUrl}`,
        `--initial-advertise-peer-urls=${peerUrl}`,
        `--initial-cluster=default=${peerUrl}`,
      ]),
      run(dir, "apiserver", [
        programs.apiserver,
        `--etcd-servers=${clientUrl}`,
        "--bind-address=127.0.0.1",
        `--secure-port=${port}`,
        // Not used by any one, but it must not be a loopback address.
        "--advertise-address=10.213.77.1",
        "--endpoint-reconciler-type=none",
        `--cert-dir=${join(dir, "pki")}`,
        `--token-auth-file=${tokens}`,
        "--authorization-mode=RBAC",
        // Pods here have no account, which no controller would make.
        "--disable-admission-plugins=ServiceAccount",
        "--service-cluster-ip-range=10.215.0.0/24",
        "--service-account-issuer=https://kubernetes.default.svc",
        `--service-account-key-file=${key}`,
        `--service-account-signing-key-file=${key}`,
      ]),
    ];
    const api = new ApiAlone(dir, port, processes);
    try {
      await api.#ready(dir);
    } catch (error) {
      await api[Symbol.asyncDispose]();
      throw error;
    }
    return api;
  }

  async #ready(dir: string): Promise<void> {
    for (let i = 0; i < 3_000; i++) {
      const ended = this.#processes.find((one) => one.exitCode !== null);
      if (ended !== undefined) break;
      if (existsSync(this.caFile) && await this.api.isReady()) return;
      await delay(100);
    }
    const logs = ["etcd", "apiserver"].map((name) =>
      `${name}: ${readFileSync(join(dir, `${name}.log`), "utf8").slice(-1_500)}`
    );
    const statuses = this.#processes.map((one) => one.exitCode ?? one.signalCode ?? "running").join(", ");
    throw new Error(`The API server does not become ready (etcd and it: ${statuses}); ${logs.join("; ")}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.api[Symbol.dispose]();
    for (const one of [...this.#processes].reverse()) {
      if (one.exitCode !== null || one.signalCode !== null) continue;
      const ended = once(one, "exit");
      one.kill("SIGKILL");
      await ended;
    }
  }
}

function run(dir: string, name: string, [command = "", ...args]: readonly string[]): ChildProcess {
  const log = openSync(join(dir, `${name}.log`), "a");
  const child = spawn(command, args, { stdio: ["ignore", log, log] });
  closeSync(log);
  return child;
}

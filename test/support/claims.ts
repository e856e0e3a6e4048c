/**
 * A node with claims, in memory but for the files: machine, API server, kubelet's PodResources, and as many processes of the
 * driver as a test wants on the same directories.
 *
 * @module
 */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ClaimFiles, DISK, type Disk } from "../../src/dra/claim_files.ts";
import { Claims } from "../../src/dra/claims.ts";
import type { ClaimRef } from "../../src/dra/claim_record.ts";
import { draDevices } from "../../src/dra/devices.ts";
import type { Hca } from "../../src/hca/types.ts";
import type { ApiResult } from "../../src/kubernetes/client.ts";
import type { AllocationConfig, AllocationResult, ResourceClaim } from "../../src/kubernetes/resource_api.ts";
import type { ResourceSpec } from "../../src/pool/spec.ts";
import { SILENT } from "../../src/text/log.ts";
import { draSpec, DRIVER } from "./dra.ts";
import { after, HOST } from "./hcas.ts";
import { temporaryDir } from "./temp.ts";
import { socketParent } from "../../sim/host/temporary.ts";

export const POOL = "node-1";

/** One result of an allocation, as the scheduler writes it. */
export function result(device: string, over: Partial<AllocationResult> = {}): AllocationResult {
  return { request: "nic", driver: DRIVER, pool: POOL, device, ...over };
}

export function claim(
  uid: string,
  results: readonly AllocationResult[],
  config: readonly AllocationConfig[] = [],
): ResourceClaim {
  return {
    metadata: { name: `claim-${uid}`, namespace: "default", uid },
    status: { allocation: { devices: { results, config } } },
  };
}

export function ref(uid: string): ClaimRef {
  return { namespace: "default", name: `claim-${uid}`, uid };
}

/** The world around the driver; its fields are what a test changes. */
export class ClaimNode implements Disposable {
  // Thousands of small files: in memory where the machine has such a place.
  readonly #temporary = temporaryDir(existsSync("/dev/shm") ? "/dev/shm" : socketParent());
  readonly driverDir = join(this.#temporary.path, "plugins", DRIVER);
  readonly cdiDir = join(this.#temporary.path, "cdi");
  readonly sysfsRoot = join(this.#temporary.path, "sys");
  readonly api = new Map<string, ResourceClaim>();
  apiDown = false;
  /** Status with which the API server refuses everything; null when it does not. */
  apiRefuses: number | null = null;
  #answered = () => {};
  /** What an answer of the API server waits for. */
  delay: Promise<void> = Promise.resolve();
  /** Milliseconds of a monotonic clock. */
  now = 0;
  podsKnown = true;
  heldBy = new Map<string, string>();
  hcas: readonly Hca[];
  spec: ResourceSpec;
  rescans = 0;
  patienceMs = 0;
  /** What the next scan finds. */
  next: readonly Hca[] | null = null;

  constructor(hcas: readonly Hca[], spec: ResourceSpec = draSpec()) {
    this.hcas = hcas;
    this.spec = spec;
    this.writeSysfs(hcas);
  }

  /** The files by which node names are checked. */
  writeSysfs(hcas: readonly Hca[]): void {
    for (const hca of hcas) {
      const put = (group: string, name: string) => {
        const dir = join(this.sysfsRoot, "class", group, name);
        mkdirSync(dir, { recursive: true });
        writeFileSync(join(dir, "ibdev"), `${hca.name}\n`);
      };
      if (hca.uverbs !== null) put("infiniband_verbs", hca.uverbs.name);
      for (const port of hca.ports) if (port.umad !== null) put("infiniband_mad", port.umad);
    }
  }

  /** A process of the driver. */
  start(disk: Disk = DISK): Claims {
    return new Claims({
      driver: DRIVER,
      pool: POOL,
      sysfsRoot: this.sysfsRoot,
      files: this.files(disk),
      log: SILENT,
      getClaim: ({ namespace, name }) => this.delay.then(() => this.#get(namespace, name)).finally(this.#answered),
      heldBy: () =>
        Promise.resolve(
          this.podsKnown ? { ok: true, held: this.heldBy } : { ok: false, reason: "the socket is not there" },
        ),
      machine: () => ({
        devices: new Map(
          draDevices(after(new Map(), [this.spec], this.hcas, 0).states, new Map()).devices.map((
            one,
          ) => [one.name, one]),
        ),
        hcas: this.hcas,
        host: HOST,
      }),
      rescan: () => {
        this.rescans++;
        if (this.next !== null) this.hcas = this.next;
        return Promise.resolve();
      },
      onChange: () => {},
      patienceMs: this.patienceMs,
      now: () => this.now,
    });
  }

  /** Resolves with the API server's next answer. */
  get asked(): Promise<void> {
    return new Promise((resolve) => this.#answered = resolve);
  }

  files(disk: Disk = DISK): ClaimFiles {
    return new ClaimFiles(this.driverDir, this.cdiDir, DRIVER, disk);
  }

  put(one: ResourceClaim): ClaimRef {
    this.api.set(`${one.metadata.namespace}/${one.metadata.name}`, one);
    return ref(one.metadata.uid!);
  }

  get cdiNames(): readonly string[] {
    return names(this.cdiDir);
  }

  get recordNames(): readonly string[] {
    return names(join(this.driverDir, "claims"));
  }

  #get(namespace: string, name: string): ApiResult<ResourceClaim> {
    if (this.apiDown) {
      const message = "the API server https://10.0.0.1 cannot be reached (ECONNREFUSED)";
      return { ok: false, error: { status: null, reason: "Unreachable", message, retryAfterMs: null } };
    }
    if (this.apiRefuses !== null) {
      const message = "the API server refused: resourceclaims is forbidden";
      return { ok: false, error: { status: this.apiRefuses, reason: "Forbidden", message, retryAfterMs: null } };
    }
    const found = this.api.get(`${namespace}/${name}`);
    if (found !== undefined) return { ok: true, value: found };
    const message = `the API server refused: resourceclaims "${name}" not found`;
    return { ok: false, error: { status: 404, reason: "NotFound", message, retryAfterMs: null } };
  }

  [Symbol.dispose](): void {
    this.#temporary[Symbol.dispose]();
  }
}

function names(dir: string): readonly string[] {
  try {
    return readdirSync(dir).sort();
  } catch {
    return [];
  }
}

/**
 * Net devices as last seen, by the function that carries them. A net device that is moved into a pod's network namespace
 * vanishes from this machine's sysfs together with its name, while HCA and device nodes stay: the name is then not
 * another one, it is unknown, and what was known of it last goes on to count.
 *
 * @module
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";

/** One net device of a function. */
export interface OwnNetdev {
  readonly name: string;
  /** `dev_port` or `dev_id`: which port of a function with several, from 0. */
  readonly devPort: number;
}

/** More functions than a machine has; a file that says so is not ours. */
const MOST_FUNCTIONS = 65_536;
const NAME = /^[^\s/\p{C}]{1,15}$/u;

/** What was seen last, in this process and, through a file, before it. */
export class NetdevMemory {
  readonly #seen = new Map<string, readonly OwnNetdev[]>();
  /** Functions whose net devices are not here now, and what was known of them. */
  readonly #away = new Map<string, readonly OwnNetdev[]>();

  /** The function shows these net devices now. */
  see(key: string, netdevs: readonly OwnNetdev[]): void {
    this.#seen.set(key, netdevs);
    this.#away.delete(key);
  }

  /** The function shows none now: what it showed last; empty when it never did. */
  recall(key: string): readonly OwnNetdev[] {
    const known = this.#away.get(key) ?? this.#seen.get(key) ?? [];
    if (known.length > 0) this.#away.set(key, known);
    return known;
  }

  /** Takes back what another process wrote down; what this one has seen itself counts more. */
  restore(text: string | null): void {
    for (const [key, netdevs] of parse(text)) if (!this.#seen.has(key)) this.#seen.set(key, netdevs);
  }

  /** What the next process has to be told; null when nothing is away. */
  get text(): string | null {
    return this.#away.size === 0 ? null : `${JSON.stringify({ version: 1, away: Object.fromEntries(this.#away) })}\n`;
  }
}

function parse(text: string | null): ReadonlyMap<string, readonly OwnNetdev[]> {
  try {
    const { version, away } = JSON.parse(text ?? "null") as { version?: unknown; away?: unknown };
    if (version !== 1 || typeof away !== "object" || away === null) return new Map();
    const entries = Object.entries(away).slice(0, MOST_FUNCTIONS).map(([key, list]) => {
      const netdevs = (Array.isArray(list) ? list : []).filter(isNetdev).slice(0, 256)
        .map(({ name, devPort }) => ({ name, devPort }));
      return [key, netdevs] as const;
    });
    return new Map(entries.filter(([, netdevs]) => netdevs.length > 0));
  } catch {
    return new Map(); // torn, or somebody else's: as if there were none
  }
}

function isNetdev(value: unknown): value is OwnNetdev {
  if (typeof value !== "object" || value === null) return false;
  const { name, devPort } = value as Partial<Record<keyof OwnNetdev, unknown>>;
  return typeof name === "string" && NAME.test(name) && Number.isInteger(devPort) && (devPort as number) >= 0 &&
    (devPort as number) < 256;
}

/** Keeps a memory in a file, which exists only while a net device is away. */
export class NetdevFile {
  readonly #path: string;
  #written: string | null;

  constructor(path: string) {
    this.#path = path;
    this.#written = this.read();
  }

  /** The content; null when there is no such file. */
  read(): string | null {
    try {
      return readFileSync(this.#path, "utf8");
    } catch {
      return null;
    }
  }

  /**
   * Makes the file say `text`. A kubelet that starts empties its directory, so what was written may be gone.
   * @param again also when it was written already
   * @throws {Error} when it cannot be written
   */
  write(text: string | null, again = false): void {
    if (text === this.#written && !(again && text !== null && this.read() !== text)) return;
    if (text === null) rmSync(this.#path, { force: true });
    else {
      writeFileSync(`${this.#path}.new`, text, { mode: 0o644 });
      renameSync(`${this.#path}.new`, this.#path);
    }
    this.#written = text;
  }
}

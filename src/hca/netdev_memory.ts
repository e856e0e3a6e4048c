/**
 * Remembers the net devices of each PCI function. A net device that is moved into a pod's network namespace disappears
 * from this machine's sysfs, while the HCA and its device nodes stay. Its last known name then stays valid.
 *
 * @module
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";

/** One net device of a function. */
export interface OwnNetdev {
  readonly name: string;
  /** Port of the function, from 0: `dev_port` or `dev_id`. */
  readonly devPort: number;
}

/** More functions than any machine has; a file with more is not one of ours. */
const MOST_FUNCTIONS = 65_536;
const NAME = /^[^\s/\p{C}]{1,15}$/u;

/** Net devices as last seen by this process or, through a file, by the previous one. */
export class NetdevMemory {
  readonly #seen = new Map<string, readonly OwnNetdev[]>();
  /** Functions whose net devices are not here now, with their last known net devices. */
  readonly #away = new Map<string, readonly OwnNetdev[]>();

  /** Records the net devices that the function has now. */
  see(key: string, netdevs: readonly OwnNetdev[]): void {
    this.#seen.set(key, netdevs);
    this.#away.delete(key);
  }

  /** Called when the function has none now. Returns those last seen; empty when there were none. */
  recall(key: string): readonly OwnNetdev[] {
    const known = this.#away.get(key) ?? this.#seen.get(key) ?? [];
    if (known.length > 0) this.#away.set(key, known);
    return known;
  }

  /** Loads the state of a previous process; what this process has seen itself takes precedence. */
  restore(text: string | null): void {
    for (const [key, netdevs] of parse(text)) if (!this.#seen.has(key)) this.#seen.set(key, netdevs);
  }

  /** The state to save for the next process; null when no net device is away. */
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
    return new Map(); // torn, or not ours: ignored
  }
}

function isNetdev(value: unknown): value is OwnNetdev {
  if (typeof value !== "object" || value === null) return false;
  const { name, devPort } = value as Partial<Record<keyof OwnNetdev, unknown>>;
  return typeof name === "string" && NAME.test(name) && Number.isInteger(devPort) && (devPort as number) >= 0 &&
    (devPort as number) < 256;
}

/** Stores the memory in a file, which exists only while a net device is away. */
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
   * Writes `text` to the file. A kubelet that starts empties its directory, so the file may be gone.
   * @param again write even if the content was written before
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

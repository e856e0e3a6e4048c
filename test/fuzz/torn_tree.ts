/**
 * A tree on disk that is spoilt and then fixed: what was there is moved aside, so that fixing gives back the very
 * files.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";

/** What something on disk is replaced by. */
export type Spoilt =
  | { readonly kind: "torn"; readonly bytes: number }
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "huge"; readonly piece: string; readonly kib: number }
  | { readonly kind: "gone" }
  | { readonly kind: "directory"; readonly entries: readonly string[] }
  /** "self" is a link to itself, "up" to the directory that it lies in, "top" to what stands for the file system's root. */
  | { readonly kind: "link"; readonly to: string };

/** Spoils files and directories, newest undone first. */
export class TornTree {
  readonly #aside: string;
  readonly #undo: (() => void)[] = [];
  /** Where links lead that have a name of their own. */
  readonly #links: Readonly<Record<string, string>>;

  /**
   * @param root on the same file system as everything that is to be spoilt
   * @param top what stands for the file system's root
   */
  constructor(root: string, top: string) {
    this.#aside = mkdtempSync(join(root, ".aside-"));
    this.#links = { up: ".", top };
  }

  /**
   * Replaces what is at the path, or makes it; null when the directory is not what it was (it was spoilt itself).
   * Links on the way are not followed: what is changed is what the path says.
   */
  spoil(path: string, by: Spoilt): boolean {
    const dir = dirname(path);
    if (!existsSync(dir) || realpathSync(dir) !== dir || !lstatSync(dir).isDirectory()) return false;
    const before = lstatSync(path, { throwIfNoEntry: false });
    const text = before?.isFile() ? readFileSync(path) : Buffer.from("4: ACTIVE\n");
    if (before === undefined) this.#undo.push(() => rmSync(path, { recursive: true, force: true }));
    else {
      const kept = join(this.#aside, String(this.#undo.length));
      renameSync(path, kept);
      this.#undo.push(() => {
        rmSync(path, { recursive: true, force: true });
        renameSync(kept, path);
      });
    }
    if (by.kind === "torn") writeFileSync(path, text.subarray(0, by.bytes));
    if (by.kind === "bytes") writeFileSync(path, by.bytes);
    if (by.kind === "text") writeFileSync(path, by.text);
    if (by.kind === "huge") writeFileSync(path, by.piece.repeat(Math.ceil(by.kib * 1024 / by.piece.length)));
    if (by.kind === "link") symlinkSync(by.to === "self" ? basename(path) : this.#links[by.to] ?? by.to, path);
    if (by.kind === "directory") {
      mkdirSync(path);
      for (const name of by.entries) writeFileSync(join(path, name), name);
    }
    return true;
  }

  /** Everything is as it was. */
  fix(): void {
    for (const undo of this.#undo.splice(0).reverse()) undo();
  }
}

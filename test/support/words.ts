/**
 * Words that are not used here, and the field's words that are. A reader who knows the kubelet's device manager and
 * rdma-core should guess each name right the first time.
 *
 * @module
 */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./root.ts";

/** Where the words are not used: documents without their generated parts, src and sim with their comments. */
export const SCOPES: readonly string[] = ["*.md", "docs/*.md", "src/**/*.ts", "sim/**/*.ts", "sim/**/*.yaml"];

interface Word {
  readonly not: RegExp;
  readonly but: string;
  /** In TypeScript alone: as prose the word is plain English. */
  readonly code?: true;
}

export const WORDS: readonly Word[] = [
  { not: /\b(on)?[Ll]ook(s|ed|ing)?\b(?! (for|like|up)\b)|\bLOOK_/, but: "scan, RescanLoop" },
  { not: /\bledgers?\b|\bstandings?\b/i, but: "PoolStates, PoolState, DeviceState" },
  { not: /(?<!service )\baccounts?\b(?!s? for)/, but: "PoolState", code: true },
  { not: /\b(class|new|type|interface) Offer\b|: Offer\b/, but: "DevicePluginResource", code: true },
  { not: /\bobservator(y|ies)\b/i, but: "StatusServer" },
  { not: /\bsurvey(s|ed|or|ors|ing)?\b/i, but: "Inventory, inspect" },
  { not: /\bbehind\(/, but: "membersOf(deviceId)", code: true },
  { not: /\.says\b|\bsays:|#true\b|#holds\b|\bEvidence\b/, but: "SysfsCheck.expected, verify", code: true },
  { not: /\b(trouble|obstacle|remarks?)\b/i, but: "reason, notes" },
  { not: /\bwhy[:?]|\.why\b|\{ why\b|, why\b(?=[,\s]*[}),])/, but: "reason", code: true },
  { not: /\bmend(s|ed|ing)?\b/i, but: "fix" },
  { not: /\b(poke|nudge|prove)s?\(/, but: "reconcile, kubeletDirChanged, probe", code: true },
  { not: /\b(beKnown|beFound)\b|#way\b/, but: "registerWithKubelet, awaitPluginWatcher, mode" },
  { not: /\bBelow\b|\breadBelow\b/, but: "ParentDevice, readParentDevice", code: true },
  { not: /\bisRemoved\b/, but: "tryRemove" },
  { not: /\bKnots?\b|\bWish(es)?\b|\bhang\(/, but: "TreeNode, insert, PreferenceRequest", code: true },
  { not: /\bMoods?\b|\bFates?\b|\bkubelet_words\b/, but: "FaultInjector, format" },
  { not: /\b[Kk]nock(s|ed)?\b|\bspeaks\(/, but: "SocketProbe", code: true },
  { not: /\.moved\b|\bmoved[:?]/, but: "inPodNetns", code: true },
  { not: /\bWorkshops?\b/, but: "ImageBuilder" },
  { not: /\bPATIENCE\b/, but: "maxX, xTimeoutMs", code: true },
  { not: /\bstand(s|ing)? by\b|\bstood by\b/i, but: "standby" },
  { not: /\bgoodbyes?\b/i, but: "GOAWAY" },
  { not: /\btold\b/i, but: "logged, reported, notified" },
  { not: /\bnobody('s)?\b/i, but: "no one, none" },
  { not: /\banew\b/i, but: "again" },
  { not: /\bstrangers?\b/i, but: "untrusted input" },
  { not: /\bthe original\b/i, but: "the upstream Go plugin" },
];

/** One place where a word stands. */
export interface Found {
  readonly place: string;
  readonly word: string;
  readonly but: string;
}

/** Every word that should not be in a text. */
export function wordsIn(text: string, file: string): readonly Found[] {
  const code = !file.endsWith(".md");
  // Line numbers stay right.
  const own = code ? text : text.replace(/<!-- (\w+):[^]*?<!-- \/\1 -->/g, (part) => part.replace(/[^\n]/g, ""));
  return own.split("\n").flatMap((line, i) =>
    WORDS.filter((one) => code || one.code !== true).flatMap(({ not, but }) => {
      const word = not.exec(line)?.[0];
      return word === undefined ? [] : [{ place: `${file}:${i + 1}`, word, but }];
    })
  );
}

/** The same of all files of those scopes. */
export function wordsOf(scopes: readonly string[]): readonly Found[] {
  return globSync([...scopes], { cwd: ROOT }).filter((file) => !file.startsWith("src/gen/") && file !== "CHANGELOG.md")
    .toSorted().flatMap((file) => wordsIn(readFileSync(join(ROOT, file), "utf8"), file));
}

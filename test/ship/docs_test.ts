/**
 * What people copy out of the documentation: every YAML block is held against what it is for.
 *
 * @module
 */
import { deepEqual, equal, ok } from "@std/assert";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import config from "../../deno.json" with { type: "json" };
import { codesOf } from "../support/codes.ts";
import { kustomize, manifestMistakes, podOf } from "../support/manifests/files.ts";
import { ROOT } from "../support/root.ts";
import { documents, type Manifest } from "../support/manifests/schemas.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { needs } from "../support/need.ts";
import { temporaryDir } from "../support/temp.ts";

/** Documents with YAML in them; a new one is found by itself. */
const FILES = [
  ...readdirSync(ROOT).filter((name) => name.endsWith(".md")),
  ...readdirSync(join(ROOT, "docs")).filter((name) => name.endsWith(".md")).map((name) => `docs/${name}`),
];

/** The YAML blocks of a document, without the indentation of a list that one stands in. */
function blocks(file: string): readonly string[] {
  const text = readFileSync(join(ROOT, file), "utf8");
  return [...text.matchAll(/^( *)```ya?ml\n([^]*?)^ *```/gm)].map(([, indent = "", body = ""]) =>
    body.split("\n").map((line) => line.slice(indent.length)).join("\n")
  );
}

const all = FILES.flatMap((file) => blocks(file).map((text) => ({ file, text, value: parse(text) as Manifest })));
const ofKind = (kind: string) => all.filter(({ value }) => value.kind === kind);

Deno.test("every YAML block of the documentation is a right manifest, configuration or part of a pod", () => {
  const mistakes = all.filter(({ value }) => value.kind !== "Kustomization").flatMap(({ file, text, value }) => {
    if (value.kind !== undefined) return documents(text, file).flatMap(manifestMistakes);
    if (value.resources !== undefined) {
      const result = parseConfig(text, file);
      return codesOf(result).map((one) => `${file}: ${one}`);
    }
    // Some fields of a container.
    const spec = { containers: [{ name: "a", image: "b", ...value }] };
    return manifestMistakes({ apiVersion: "v1", kind: "Pod", metadata: { name: "a" }, spec });
  });
  deepEqual(mistakes, []);
  for (const kind of ["Pod", "Kustomization", "NetworkPolicy"]) ok(ofKind(kind).length > 0, `there is no ${kind}`);
});

Deno.test({
  name: "the overlays that documents show build beside the others",
  ...needs("kubectl"),
  fn() {
    using dir = temporaryDir();
    cpSync(join(ROOT, "deploy/kustomize"), dir.path, { recursive: true });
    for (const { file, text } of ofKind("Kustomization")) {
      const mine = join(dir.path, "overlays/mine");
      mkdirSync(mine, { recursive: true });
      writeFileSync(join(mine, "kustomization.yaml"), text);
      const built = kustomize(mine)!;
      deepEqual(built.flatMap(manifestMistakes), []);
      if (file !== "docs/install.md") continue;
      const [container] = podOf(built.find((one) => one.kind === "DaemonSet")!).containers;
      equal((container as unknown as { image: string }).image, "registry.example.com/rdma-device-plugin:0.1.0");
      ok(container!.args!.includes("--cdi"));
    }
  },
});

Deno.test("every file of this repository that a document links to or names is there", () => {
  const missing = FILES.flatMap((file) => {
    const text = readFileSync(join(ROOT, file), "utf8");
    const links = [...text.matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)].map(([, target = ""]) => join(file, "..", target));
    const named = [...text.matchAll(/(?<![\w/.-])(?:deploy|docs|examples|schema|src|test|tools)\/[\w./-]*\w/g)];
    return [...links, ...named.map(([path]) => path)].filter((path) => !existsSync(join(ROOT, path)))
      .map((path) => `${file}: ${path}`);
  });
  deepEqual(missing, []);
});

/** The anchors that GitHub gives a document's headings. */
function anchors(file: string): ReadonlySet<string> {
  const text = readFileSync(join(ROOT, file), "utf8").replace(/```[^]*?```/g, "");
  return new Set(
    [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
      heading.trim().toLowerCase().replace(/[^\w\- ]/g, "").replaceAll(" ", "-")
    ),
  );
}

Deno.test("every anchor that a document links to is a heading there, and every task that it names exists", () => {
  const tasks = Object.keys(config.tasks);
  const wrong = FILES.flatMap((file) => {
    const text = readFileSync(join(ROOT, file), "utf8");
    const links = [...text.matchAll(/\]\((?!https?:)([^)#\s]*\.md)?#([^)\s]+)\)/g)].filter(([, target, anchor = ""]) =>
      !anchors(target === undefined ? file : join(file, "..", target)).has(anchor)
    );
    const named = [...text.matchAll(/deno(?:@[\d.]+)? task ([a-z][\w:]*)/g)].filter(([, task = ""]) =>
      !tasks.includes(task)
    );
    return [...links, ...named].map(([words]) => `${file}: ${words}`);
  });
  deepEqual(wrong, []);
});

Deno.test("docs/install.md names every overlay", () => {
  const text = readFileSync(join(ROOT, "docs/install.md"), "utf8");
  const overlays = readdirSync(join(ROOT, "deploy/kustomize/overlays"));
  deepEqual(overlays.filter((name) => !text.includes(`\`${name}\``)), []);
});

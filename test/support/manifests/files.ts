/**
 * The checks of YAML files: Kubernetes' own kinds are held against the API's schema, kustomizations are built and what
 * comes out is checked, and the arguments of the plugin's container are parsed as the plugin parses them.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { ROOT } from "../root.ts";
import { parseCommandLine } from "../../../src/cli/flags.ts";
import { formatMistakes } from "../../../src/config/mistakes.ts";
import { chartMistakes } from "./chart.ts";
import { documents, type Manifest, mistakes } from "./schemas.ts";

/** YAML that is no manifest, and what checks it instead. */
const CHECKED_ELSEWHERE: readonly (readonly [RegExp, string])[] = [
  [/^test\/hosts\//, "files as people have them, wrong ones too; test/hosts plays them"],
  [/^examples\/config\//, "the plugin's own configuration: test/config/examples_test.ts"],
  [
    /^deploy\/kustomize\/overlays\/config\/config\.yaml$/,
    "the plugin's own configuration: test/ship/manifests_test.ts",
  ],
  [/^\.github\//, "GitHub's own formats: GitHub refuses a wrong one"],
  [/^sim\/scenarios\//, "stories: test/sim/story_test.ts plays them"],
  [/^deploy\/alerts\/|^deploy\/helm\/[^/]+\/files\/alerts\.yaml$/, "Prometheus' rules: test/alerts/rules_test.ts"],
  [/^deploy\/helm\/[^/]+\/templates\//, "templates, not YAML yet: test/ship/helm_test.ts renders them"],
];

const KUSTOMIZE = /^kustomize\.config\.k8s\.io\//;

/** One file's result. */
export interface Checked {
  readonly file: string;
  /** One sentence a mistake. */
  readonly mistakes: readonly string[];
  /** What was not looked at, and why; null when everything was. */
  readonly left: string | null;
}

/** Checks one file of the repository. Its path is relative to the root. */
export function checkFile(file: string, text = readFileSync(join(ROOT, file), "utf8")): Checked {
  const elsewhere = CHECKED_ELSEWHERE.find(([pattern]) => pattern.test(file));
  if (elsewhere !== undefined) return { file, mistakes: [], left: elsewhere[1] };
  try {
    if (/^deploy\/helm\/[^/]+\/(Chart|values)\.yaml$/.test(file)) {
      return { file, mistakes: chartMistakes(join(ROOT, file), text), left: null };
    }
    const all = documents(text, file);
    if (all.length === 0) return { file, mistakes: ["there is no document in it"], left: null };
    if (all.every((one) => KUSTOMIZE.test(String(one.apiVersion)))) return checkKustomization(file, all);
    return { file, mistakes: all.flatMap(manifestMistakes), left: null };
  } catch (error) {
    return { file, mistakes: [error instanceof Error ? error.message : String(error)], left: null };
  }
}

/** What is wrong with a manifest: its schema, and for the plugin's own DaemonSet what a schema cannot know. */
export function manifestMistakes(manifest: Manifest): readonly string[] {
  const name = `${String(manifest.kind)} ${String((manifest.metadata as { name?: unknown } | undefined)?.name)}`;
  const wrong = mistakes(manifest);
  // What the schema refuses may have any shape.
  const more = wrong.length === 0 && manifest.kind === "DaemonSet" ? pluginMistakes(podOf(manifest)) : [];
  return [...wrong, ...more].map((sentence) => `${name}: ${sentence}`);
}

/** What is read of a pod's spec here. */
interface PluginPod {
  readonly volumes?: readonly { readonly name?: unknown }[];
  readonly containers: readonly {
    readonly args?: readonly string[];
    readonly command?: readonly string[];
    readonly volumeMounts?: readonly {
      readonly name: string;
      readonly mountPath: string;
      readonly readOnly?: boolean;
    }[];
  }[];
}

/** The pod of a DaemonSet or Deployment, or a Pod's own spec. */
export function podOf(manifest: Manifest): PluginPod {
  const spec = manifest.spec as { template?: { spec: PluginPod } } & PluginPod;
  return spec.template?.spec ?? spec;
}

function pluginMistakes(pod: PluginPod): readonly string[] {
  const volumes = (pod.volumes ?? []).map((volume) => String(volume.name));
  return pod.containers.flatMap((container) => {
    const parsed = parseCommandLine(container.args ?? [], {});
    const mounted = (container.volumeMounts ?? []).map((mount) => mount.name);
    return [
      ...parsed.ok ? [] : [`the plugin would refuse its arguments: ${formatMistakes([parsed])}`],
      ...mounted.filter((name) => !volumes.includes(name)).map((name) => `mounts ${name}, which is no volume`),
      ...volumes.filter((name) => !mounted.includes(name)).map((name) => `has a volume ${name} that nothing mounts`),
    ];
  });
}

function checkKustomization(file: string, all: readonly Manifest[]): Checked {
  // A component is built as part of the overlays that use it.
  if (all.some((one) => one.kind === "Component")) return { file, mistakes: [], left: "built with the overlays" };
  const built = kustomize(dirname(file));
  if (built === null) return { file, mistakes: [], left: "kubectl is missing here, so it was not built" };
  return { file, mistakes: built.flatMap(manifestMistakes), left: null };
}

/**
 * What kustomize makes of a directory; null where there is no kubectl.
 * @throws with kustomize's own words when it cannot
 */
export function kustomize(directory: string): readonly Manifest[] | null {
  const run = spawnSync("kubectl", ["kustomize", directory], { cwd: ROOT, encoding: "utf8" });
  if (run.error !== undefined) return null;
  if (run.status !== 0) throw new Error(`kubectl kustomize ${directory}: ${run.stderr.trim()}`);
  return documents(run.stdout, directory);
}

/** Every YAML file of the repository, sorted. */
export function yamlFiles(directory = ROOT): readonly string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return /^(\.git|node_modules|test-output)$/.test(entry.name) ? [] : yamlFiles(path);
    return /\.ya?ml$/.test(entry.name) ? [relative(ROOT, path)] : [];
  }).toSorted();
}

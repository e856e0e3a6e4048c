/**
 * The programs of a cluster, each built once per version and kept: Kubernetes, etcd and containerd.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { goBuild, goModOf, type GoModule } from "./go_build.ts";
import { cacheDir, CONTAINERD, ETCD, type Versions } from "./versions.ts";

const CONTROL_PLANE = ["kube-apiserver", "kube-scheduler", "kube-controller-manager", "kubectl"] as const;
const CONTAINERD_MODULE = "github.com/containerd/containerd/v2";
/** etcd publishes its server as a library only. */
const ETCD_MAIN = `package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
`;

/** Where each program of a cluster is. */
export interface Programs {
  readonly kubelet: string;
  readonly apiserver: string;
  readonly scheduler: string;
  readonly controllerManager: string;
  readonly kubectl: string;
  readonly etcd: string;
  /** Holds containerd, its runc shim and ctr; goes in front of PATH, for containerd looks for its shim there. */
  readonly containerdDir: string;
}

interface Recipe {
  readonly target: string;
  readonly label: string;
  readonly module: () => GoModule;
  readonly packagePath: string;
  readonly variables: Readonly<Record<string, string>>;
}

/**
 * Builds what is missing of a cluster's programs, and says so as it goes.
 *
 * The first time takes about six minutes for each version of Kubernetes, afterwards nothing.
 */
export async function ensurePrograms(versions: Versions, report: (line: string) => void): Promise<Programs> {
  const recipes = [
    etcdRecipe(),
    ...["containerd", "containerd-shim-runc-v2", "ctr"].map(containerdRecipe),
    kubernetesRecipe("kubelet", versions.kubelet),
    ...CONTROL_PLANE.map((name) => kubernetesRecipe(name, versions.controlPlane)),
  ];
  await buildMissing(recipes, report);
  return programsOf(versions);
}

/** The same of an API server and its etcd alone, for what needs no node. */
export async function ensureApiPrograms(
  versions: Versions,
  report: (line: string) => void,
): Promise<Pick<Programs, "etcd" | "apiserver">> {
  await buildMissing([etcdRecipe(), kubernetesRecipe("kube-apiserver", versions.controlPlane)], report);
  return programsOf(versions);
}

async function buildMissing(recipes: readonly Recipe[], report: (line: string) => void): Promise<void> {
  const missing = recipes.filter(({ target }) => !existsSync(target));
  for (const [index, recipe] of missing.entries()) {
    const start = performance.now();
    report(`building ${recipe.label} (${index + 1} of ${missing.length}) …`);
    await goBuild(recipe.module(), recipe.packagePath, recipe.variables, recipe.target);
    report(`built ${recipe.label} in ${((performance.now() - start) / 1e3).toFixed(0)} s`);
  }
}

/** Where the client of that cluster is. */
export function kubectlPath(versions: Versions): string {
  return programsOf(versions).kubectl;
}

function programsOf(versions: Versions): Programs {
  const control = kubernetesDir(versions.controlPlane);
  return {
    kubelet: join(kubernetesDir(versions.kubelet), "kubelet"),
    apiserver: join(control, "kube-apiserver"),
    scheduler: join(control, "kube-scheduler"),
    controllerManager: join(control, "kube-controller-manager"),
    kubectl: join(control, "kubectl"),
    etcd: join(cacheDir(), `etcd-${ETCD}`, "etcd"),
    containerdDir: containerdDir(),
  };
}

function kubernetesDir(version: string): string {
  return join(cacheDir(), `kubernetes-${version}`);
}

function containerdDir(): string {
  return join(cacheDir(), `containerd-${CONTAINERD}`);
}

function kubernetesRecipe(name: string, version: string): Recipe {
  const packagePath = `k8s.io/kubernetes/cmd/${name}`;
  return {
    target: join(kubernetesDir(version), name),
    label: `${name} ${version}`,
    module: () => kubernetesModule(goModOf("k8s.io/kubernetes", version), version, packagePath),
    packagePath,
    variables: { "k8s.io/component-base/version.gitVersion": `v${version}` },
  };
}

/**
 * Kubernetes' own go.mod refers to directories of its source tree, so `go install` refuses it. The same module, renamed
 * and with the published modules in place of those directories, builds it with exactly the dependencies of the release.
 */
export function kubernetesModule(goMod: string, version: string, packagePath: string): GoModule {
  const staging = `v${version.replace(/^1\./, "0.")}`;
  const text = goMod
    .replace(/^module .*$/m, "module localhost/kubernetes")
    .replace(/=> \.\/staging\/src\/(\S+)/g, (_, path: string) => `=> ${path} ${staging}`)
    .replace(/^(\s+k8s\.io\/\S+) v0\.0\.0(?=\s|$)/gm, (_, path: string) => `${path} ${staging}`);
  return {
    goMod: `${text}\nrequire k8s.io/kubernetes v${version}\n`,
    sources: { "tools.go": toolsGo(packagePath) },
  };
}

function containerdRecipe(name: string): Recipe {
  const packagePath = `${CONTAINERD_MODULE}/cmd/${name}`;
  return {
    target: join(containerdDir(), name),
    label: `${name} ${CONTAINERD}`,
    module: () => requiring(CONTAINERD_MODULE, CONTAINERD, { "tools.go": toolsGo(packagePath) }),
    packagePath,
    variables: { [`${CONTAINERD_MODULE}/version.Version`]: `v${CONTAINERD}` },
  };
}

function etcdRecipe(): Recipe {
  return {
    target: join(cacheDir(), `etcd-${ETCD}`, "etcd"),
    label: `etcd ${ETCD}`,
    module: () => requiring("go.etcd.io/etcd/server/v3", ETCD, { "main.go": ETCD_MAIN }),
    packagePath: ".",
    variables: {},
  };
}

function requiring(path: string, version: string, sources: Readonly<Record<string, string>>): GoModule {
  return { goMod: `module localhost/build\n\ngo 1.24\n\nrequire ${path} v${version}\n`, sources };
}

/** Keeps a command in the module's requirements although nothing is compiled of this. */
function toolsGo(packagePath: string): string {
  return `//go:build tools\n\npackage tools\n\nimport _ "${packagePath}"\n`;
}

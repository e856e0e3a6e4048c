/**
 * Ways to deploy the plugin: a kustomization made of the repository's base and components, as docs/install.md shows.
 *
 * @module
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { stringify } from "yaml";
import { ROOT } from "../support/root.ts";
import { RESOURCE } from "./host.ts";

export interface Deployment {
  /** Names below deploy/kustomize/components. */
  readonly components?: readonly string[];
  /** A configuration file, or a peer's. */
  readonly config?: unknown;
  /** Further flags. */
  readonly args?: readonly string[];
  /** Without the quicker scans and probes that tests have. */
  readonly asShipped?: boolean;
}

/** The base as it is, but that it scans every second and is asked every second whether it is ready. */
export const EXCLUSIVE: Deployment = {};

/** The base as it is. */
export const SHIPPED: Deployment = { asShipped: true };

/** Every kind of resource at once. */
export const POOLS: Deployment = {
  components: ["cdi"],
  config: {
    resources: [
      { name: "rdma/exclusive", select: { hcas: ["mlx5_0"] } },
      {
        name: "rdma/one",
        mode: "shared",
        share: "one",
        shares: 2,
        select: { hcas: ["mlx5_1", "mlx5_2"] },
        overlap: true,
      },
      {
        name: "rdma/all",
        mode: "shared",
        share: "all",
        shares: 3,
        select: { hcas: ["mlx5_1", "mlx5_2"] },
        overlap: true,
      },
      { name: "rdma/cdi", select: { hcas: ["mlx5_3"] }, cdi: true },
    ],
  },
};

/** Through both APIs at once: three HCAs as devices, one as a claim's. */
export const BOTH_APIS: Deployment = {
  components: ["dra"],
  config: {
    resources: [
      { name: RESOURCE, select: { hcas: ["mlx5_0", "mlx5_1", "mlx5_2"] } },
      { name: "rdma/claims", api: "dra", select: { hcas: ["mlx5_3"] } },
    ],
  },
};

/** Writes the kustomization and gives its directory, for `kubectl apply -k`. */
export function writeKustomization(dir: string, deployment: Deployment): string {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  const { components = [], config, args = [], asShipped = false } = deployment;
  const there = (path: string) => relative(dir, join(ROOT, "deploy/kustomize", path));
  const probe = "/spec/template/spec/containers/0/readinessProbe/periodSeconds";
  const patch = [
    ...["--rescan=1", ...args].map((value) => ({ op: "add", path: "/spec/template/spec/containers/0/args/-", value })),
    { op: "replace", path: probe, value: 1 },
  ];
  if (config !== undefined) writeFileSync(join(dir, "config.yaml"), stringify(config));
  const kustomization = {
    apiVersion: "kustomize.config.k8s.io/v1beta1",
    kind: "Kustomization",
    namespace: "kube-system",
    resources: [there("base")],
    components: [...components, ...config === undefined ? [] : ["config"]].map((name) => there(`components/${name}`)),
    // With a digest in its name: another configuration is another pod.
    ...config === undefined ? {} : { configMapGenerator: [{ name: "rdma-device-plugin", files: ["config.yaml"] }] },
    patches: asShipped ? [] : [{ target: { kind: "DaemonSet" }, patch: stringify(patch) }],
  };
  writeFileSync(join(dir, "kustomization.yaml"), stringify(kustomization));
  return dir;
}

/**
 * Checks of Kubernetes manifests without a cluster: every document against the API's own schema, for wrong types, missing
 * fields and fields that do not exist.
 *
 * @module
 */
import { PodMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";
import { DaemonSet, Deployment } from "kubernetes-models/apps/v1";
import { NetworkPolicy } from "kubernetes-models/networking.k8s.io/v1";
import { ConfigMap, Pod } from "kubernetes-models/v1";
import { parseAllDocuments } from "yaml";
import * as z from "zod";
import { unknownFields } from "./unknown_fields.ts";

/** A document of a YAML file. */
export type Manifest = Readonly<Record<string, unknown>>;

/** A class of kubernetes-models. Its `validate` throws an error that lists every mistake. */
type ModelClass = new (data: never) => { validate(): unknown };

const MODELS: Readonly<Record<string, ModelClass>> = {
  "apps/v1 DaemonSet": DaemonSet,
  "apps/v1 Deployment": Deployment,
  "monitoring.coreos.com/v1 PodMonitor": PodMonitor,
  "networking.k8s.io/v1 NetworkPolicy": NetworkPolicy,
  "v1 ConfigMap": ConfigMap,
  "v1 Pod": Pod,
};

/** Kinds that no package has a schema for; these are the whole of what this project writes in them. */
const OWN_SCHEMAS: Readonly<Record<string, z.ZodType>> = {
  "k8s.cni.cncf.io/v1 NetworkAttachmentDefinition": z.strictObject({
    apiVersion: z.string(),
    kind: z.string(),
    metadata: z.strictObject({ name: z.string(), annotations: z.record(z.string(), z.string()) }),
    spec: z.strictObject({ config: z.string().refine(isJsonObject, "must be a JSON object in a string") }),
  }),
};

/** The documents of a YAML text. @throws with file, line and column of the first syntax error */
export function documents(text: string, file: string): readonly Manifest[] {
  const found: Manifest[] = [];
  for (const document of parseAllDocuments(text)) {
    const [error] = document.errors;
    if (error !== undefined) throw new Error(`${file}: ${error.message}`);
    const value: unknown = document.toJS();
    if (value === null) continue;
    if (typeof value !== "object" || Array.isArray(value)) throw new Error(`${file}: a document is no object`);
    found.push(value as Manifest);
  }
  return found;
}

/** What is wrong with a manifest, one sentence a mistake. A kind without a schema is a mistake, too. */
export function mistakes(manifest: Manifest): readonly string[] {
  const kind = `${String(manifest.apiVersion)} ${String(manifest.kind)}`;
  const own = OWN_SCHEMAS[kind];
  if (own !== undefined) {
    const result = own.safeParse(manifest);
    return result.success ? [] : result.error.issues.map((one) => `/${one.path.join("/")}: ${one.message}`);
  }
  const Model = MODELS[kind];
  if (Model === undefined) return [`no schema is known for ${kind}; test/support/manifests/schemas.ts has the list`];
  const wrong: string[] = [];
  const unknown = unknownFields(manifest, (watched) => {
    try {
      // The constructor copies the top level, so that is done first and what is watched is its result.
      const model = new Model(manifest as never);
      model.validate.call(watched);
    } catch (error) {
      wrong.push(error instanceof Error ? error.message.replaceAll("data/", "/") : String(error));
    }
  });
  return [...wrong, ...unknown.map((path) => `${path}: there is no such field in ${kind}`)];
}

function isJsonObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    return false; // no JSON
  }
}

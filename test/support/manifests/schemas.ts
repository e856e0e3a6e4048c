/**
 * Checks of Kubernetes manifests without a cluster: every document against the API's own schema, for wrong types, missing
 * fields and fields that do not exist.
 *
 * @module
 */
import { PodMonitor, PrometheusRule } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";
import {
  ValidatingAdmissionPolicy,
  ValidatingAdmissionPolicyBinding,
} from "kubernetes-models/admissionregistration.k8s.io/v1";
import { DaemonSet, Deployment } from "kubernetes-models/apps/v1";
import { NetworkPolicy } from "kubernetes-models/networking.k8s.io/v1";
import { ClusterRole, ClusterRoleBinding } from "kubernetes-models/rbac.authorization.k8s.io/v1";
import { DeviceClass, ResourceClaim, ResourceClaimTemplate } from "kubernetes-models/resource.k8s.io/v1";
import { ConfigMap, Pod, ServiceAccount } from "kubernetes-models/v1";
import { parseAllDocuments } from "yaml";
import * as z from "zod";
import { parseRdmaConfig } from "../../../src/dra/rdma_config.ts";
import { unknownFields } from "./unknown_fields.ts";

/** A document of a YAML file. */
export type Manifest = Readonly<Record<string, unknown>>;

/** A class of kubernetes-models. Its `validate` throws an error that lists every mistake. */
type ModelClass = new (data: never) => { validate(): unknown };

const MODELS: Readonly<Record<string, ModelClass>> = {
  "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy": ValidatingAdmissionPolicy,
  "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding": ValidatingAdmissionPolicyBinding,
  "rbac.authorization.k8s.io/v1 ClusterRole": ClusterRole,
  "rbac.authorization.k8s.io/v1 ClusterRoleBinding": ClusterRoleBinding,
  "resource.k8s.io/v1 DeviceClass": DeviceClass,
  "resource.k8s.io/v1 ResourceClaim": ResourceClaim,
  "resource.k8s.io/v1 ResourceClaimTemplate": ResourceClaimTemplate,
  "v1 ServiceAccount": ServiceAccount,
  "apps/v1 DaemonSet": DaemonSet,
  "apps/v1 Deployment": Deployment,
  "monitoring.coreos.com/v1 PodMonitor": PodMonitor,
  "monitoring.coreos.com/v1 PrometheusRule": PrometheusRule,
  "networking.k8s.io/v1 NetworkPolicy": NetworkPolicy,
  "v1 ConfigMap": ConfigMap,
  "v1 Pod": Pod,
};

/** Kinds that no package has a schema for; these are the whole of what this project writes in them. */
const OWN_SCHEMAS: Readonly<Record<string, z.ZodType>> = {
  "rdma.tencent.com/v1alpha1 RdmaConfig": z.unknown().superRefine((value, context) => {
    const parsed = parseRdmaConfig(value);
    if (!parsed.ok) context.addIssue({ code: "custom", message: parsed.reason });
  }),
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
  // Parameters of a driver have the driver's own form, which its reader checks.
  const fields = unknown.filter((path) => !path.includes("/opaque/parameters/"));
  return [...wrong, ...parametersIn(manifest), ...fields.map((path) => `${path}: there is no such field in ${kind}`)];
}

/** What is wrong with parameters for this project's DRA driver, wherever they are in a document. */
function parametersIn(value: unknown): readonly string[] {
  if (typeof value !== "object" || value === null) return [];
  const { driver, parameters } = value as { driver?: unknown; parameters?: unknown };
  if (driver === "rdma.tencent.com" && parameters !== undefined) {
    const parsed = parseRdmaConfig(parameters);
    return parsed.ok ? [] : [`parameters: ${parsed.reason}`];
  }
  return Object.values(value).flatMap(parametersIn);
}

function isJsonObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    return false; // no JSON
  }
}

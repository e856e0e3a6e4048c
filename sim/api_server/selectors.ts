/**
 * Field and label selectors of lists and watches: equalities and inequalities.
 *
 * @module
 */
import type { KubeObject } from "./store.ts";

/** A field and the value that it must have, or must not when the field ends with "!". */
export type Selector = readonly (readonly [string, string])[];

/** "a=b,c!=d" */
export function selectorOf(text: string | null): Selector {
  if (text === null || text === "") return [];
  return text.split(",").map((one) => {
    const [field = "", value = ""] = one.split("=");
    return [field, value] as const;
  });
}

/** Whether the object's fields are as selected. */
export function matches(object: KubeObject, fields: Selector): boolean {
  return fields.every(([wanted, value]) => {
    const found = wanted.replace(/!$/, "").split(".").reduce<unknown>(
      (at, key) => typeof at === "object" && at !== null ? (at as Record<string, unknown>)[key] : undefined,
      object,
    );
    return (found === value) !== wanted.endsWith("!");
  });
}

/** Whether the object's labels are as selected. */
export function hasLabels(object: KubeObject, labels: Selector): boolean {
  const own = object.metadata.labels as Readonly<Record<string, string>> | undefined;
  return labels.every(([wanted, value]) => (own?.[wanted.replace(/!$/, "")] === value) !== wanted.endsWith("!"));
}

/**
 * Kubernetes quantities, as far as counts of devices go.
 *
 * @module
 */
const FACTORS: Readonly<Record<string, number>> = {
  "": 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
};

/** The API server writes a thousand devices as "1k". @returns 0 for what is no count */
export function count(quantity: unknown): number {
  const text = String(quantity ?? "");
  const plain = Number(text);
  if (text !== "" && Number.isFinite(plain)) return plain;
  const [, digits = "", suffix = ""] = /^(\d+(?:\.\d+)?)([kMG]i?|Ki)$/.exec(text) ?? [];
  return digits === "" ? 0 : Number(digits) * (FACTORS[suffix] ?? 0);
}

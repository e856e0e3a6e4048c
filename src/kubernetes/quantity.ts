/**
 * Kubernetes quantities, as far as counts of devices and rates go.
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

const SUFFIXES = ["", "k", "M", "G", "T", "P", "E"];

/**
 * A whole number as the API server writes it (`Quantity.CanonicalizeBytes` in k8s.io/apimachinery): 1,000 is "1k", 400e9
 * is "400G". In any other form a stored object never equals the wanted one.
 */
export function quantity(value: number): string {
  let [rest, power] = [value, 0];
  for (; rest !== 0 && rest % 1_000 === 0 && power < SUFFIXES.length - 1; power++) rest /= 1_000;
  return `${rest}${SUFFIXES[power]}`;
}

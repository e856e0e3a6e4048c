/**
 * Prefixes of IPv4 addresses. Deno refuses addresses by prefix, and has no way to allow all unix sockets and one address.
 *
 * @module
 */

/** The shortest list of prefixes that has every IPv4 address but those of the given prefixes ("10.0.0.0/8", "10.96.0.1"). */
export function everyAddressBut(...prefixes: readonly string[]): readonly string[] {
  const spared = prefixes.map(parse);
  const found: string[] = [];
  const walk = (base: number, length: number) => {
    if (spared.some((one) => one.length <= length && sameHead(one.base, base, one.length))) return;
    if (!spared.some((one) => sameHead(one.base, base, length))) found.push(`${format(base)}/${length}`);
    else for (const bit of [0, 1]) walk((base | (bit << (31 - length))) >>> 0, length + 1);
  };
  walk(0, 0);
  return found;
}

function sameHead(a: number, b: number, length: number): boolean {
  return length === 0 || a >>> (32 - length) === b >>> (32 - length);
}

function parse(prefix: string): { readonly base: number; readonly length: number } {
  const [, address = "", length = "32"] = /^([\d.]+)(?:\/(\d+))?$/.exec(prefix) ?? [];
  const parts = address.split(".").map(Number);
  const whole = parts.length === 4 && parts.every((one) => one >= 0 && one <= 255) && Number(length) <= 32;
  if (!whole) throw new Error(`${prefix} is no IPv4 address or prefix, as 10.96.0.1 or 10.96.0.0/16`);
  return { base: parts.reduce((sum, one) => sum * 256 + one, 0), length: Number(length) };
}

function format(base: number): string {
  return [24, 16, 8, 0].map((shift) => (base >>> shift) & 255).join(".");
}

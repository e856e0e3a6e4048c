/**
 * Checks of flags' values: the problem with a value, as the end of a sentence, or null.
 *
 * @module
 */
import { nameProblem } from "../config/name.ts";
import { parseAddress } from "../observe/address.ts";

export function badResourceName(value: string): string | null {
  const problem = nameProblem(value);
  return problem === null ? null : `which ${problem}; the kubelet would reject it`;
}

export function badInterface(value: string): string | null {
  return /^[^\s/:]{1,15}$/.test(value) && value !== "." && value !== ".."
    ? null
    : "which is not a valid interface name (1 to 15 characters without slash, colon or space)";
}

export function badDriverName(value: string): string | null {
  // It is also the vendor of CDI devices, which begins with a letter.
  const good = value.length <= 63 && /^[a-z]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(value);
  return good
    ? null
    : "but takes a DNS name of at most 63 characters that begins with a letter, such as rdma.tencent.com";
}

export function badApi(value: string): string | null {
  try {
    return new URL(value).protocol === "https:" ? null : "but takes an address that begins with https://";
  } catch {
    return "but takes an address such as https://10.96.0.1:443";
  }
}

export function badPath(value: string): string | null {
  return value.includes("\0") ? "which is no path" : null;
}

export function badAddress(value: string): string | null {
  return parseAddress(value) === null ? "which is not an address such as 127.0.0.1:9178, [::1]:9178 or :9178" : null;
}

export function badSeconds(value: string): string | null {
  return /^\d{1,6}(\.\d+)?$/.test(value) ? null : "but takes a number of seconds, such as 30";
}

/**
 * Parses the address of the HTTP server given with `--http`.
 *
 * @module
 */

export interface ListenAddress {
  /** undefined to listen on all addresses of the machine. */
  readonly host: string | undefined;
  /** 0 for any free port. */
  readonly port: number;
}

/** "127.0.0.1:9178", "localhost:9178", ":9178" or "[::1]:9178"; null for anything else. */
export function parseAddress(text: string): ListenAddress | null {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]*)):(\d{1,5})$/.exec(text);
  if (match === null || Number(match[3]) > 65_535) return null;
  return { host: match[1] ?? (match[2] || undefined), port: Number(match[3]) };
}

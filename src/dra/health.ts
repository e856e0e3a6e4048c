/**
 * Health of devices for the status of pods: complete lists, sent again before the kubelet takes them for stale. Pure but
 * for the streams.
 *
 * @module
 */
import type { ServerWritableStream } from "@grpc/grpc-js";
import type { NodeWatchResourcesResponse } from "../gen/v1alpha1/NodeWatchResourcesResponse.ts";
import type { ClaimRecord } from "./claim_record.ts";
import type { DraDevice } from "./devices.ts";

/** The kubelet's own default, said so that its default does not matter. */
const TIMEOUT_SECONDS = 30;
/** Three lists may be lost before a device counts as unknown. */
const RESEND_MS = 10_000;
/** What the kubelet cuts off itself, with dots. */
const LONGEST_MESSAGE = 1_024;

type Stream = ServerWritableStream<object, NodeWatchResourcesResponse>;

/**
 * The list of all devices of a pool.
 *
 * @param claims prepared on this node: what they have and what is not on offer any more, because the HCA is gone or the
 *   configuration is another one, is reported, too; the status of their pods would say that nothing is known
 */
export function healthList(
  devices: readonly DraDevice[],
  pool: string,
  now: number,
  claims: readonly ClaimRecord[] = [],
): NodeWatchResourcesResponse {
  const report = (device_name: string, message: string | null) => ({
    device: { pool_name: pool, device_name },
    health: message === null ? "HEALTHY" as const : "UNHEALTHY" as const,
    last_updated_time: Math.floor(now / 1_000),
    health_check_timeout_seconds: TIMEOUT_SECONDS,
    message: message ?? "",
  });
  const names = new Set(devices.map((one) => one.name));
  const gone = new Map(
    claims.flatMap((one) => one.devices).filter((one) => one.pool === pool && !names.has(one.device))
      .map((one) => [one.device, one.hcas.map((hca) => hca.name)]),
  );
  return {
    devices: [
      ...devices.map(({ name, state }) =>
        report(name, state.healthy ? null : healthMessage(name, state.reason, state.member.hcas.map((hca) => hca.name)))
      ),
      ...[...gone].map(([name, hcas]) =>
        report(name, healthMessage(name, "no resource of this node offers it now", hcas))
      ),
    ],
  };
}

function healthMessage(device: string, reason: string, hcas: readonly string[]): string {
  const text = `${hcas.join("+") || device}: ${reason}`;
  return text.length <= LONGEST_MESSAGE ? text : `${text.slice(0, LONGEST_MESSAGE - 1)}…`;
}

/** The kubelet's open streams. */
export class HealthStreams {
  readonly #list: () => NodeWatchResourcesResponse;
  readonly #resendMs: number;
  readonly #open = new Set<Stream>();
  /** Streams whose reader is behind: they get the list of the moment in which they can take one. */
  readonly #full = new Set<Stream>();
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(list: () => NodeWatchResourcesResponse, resendMs = RESEND_MS) {
    this.#list = list;
    this.#resendMs = resendMs;
  }

  get size(): number {
    return this.#open.size;
  }

  add(stream: Stream): void {
    this.#open.add(stream);
    this.#timer ??= setInterval(() => this.send(), this.#resendMs);
    const end = () => {
      if (!this.#open.delete(stream)) return;
      this.#full.delete(stream);
      stream.end();
      this.#rest();
    };
    for (const event of ["cancelled", "close", "error", "finish"]) stream.on(event, end);
    stream.on("drain", () => {
      if (this.#full.delete(stream)) this.#write(stream, this.#list());
    });
    this.#write(stream, this.#list());
  }

  /** Something may have changed. */
  send(): void {
    if (this.#open.size === 0) return;
    const list = this.#list();
    for (const stream of this.#open) if (!this.#full.has(stream)) this.#write(stream, list);
  }

  /** Ends all streams; the kubelet then shows the devices as unknown until another driver's process reports. */
  close(): void {
    for (const stream of [...this.#open]) stream.end();
    this.#open.clear();
    this.#rest();
  }

  #write(stream: Stream, list: NodeWatchResourcesResponse): void {
    if (!stream.write(list)) this.#full.add(stream);
  }

  #rest(): void {
    if (this.#open.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

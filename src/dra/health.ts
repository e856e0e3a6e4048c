/**
 * Device health for the status of pods: the full list is sent after every change, and repeated before the kubelet
 * considers it stale.
 *
 * @module
 */
import type { ServerWritableStream } from "@grpc/grpc-js";
import type { NodeWatchResourcesResponse } from "../gen/v1alpha1/NodeWatchResourcesResponse.ts";
import type { ClaimRecord } from "./claim_record.ts";
import type { DraDevice } from "./devices.ts";

/** The kubelet's default, sent explicitly so as not to depend on it. */
const TIMEOUT_SECONDS = 30;
/** Two lists may be lost before the kubelet reports a device as unknown. */
const RESEND_MS = 10_000;
/** The kubelet truncates longer messages. */
const LONGEST_MESSAGE = 1_024;

type Stream = ServerWritableStream<object, NodeWatchResourcesResponse>;

/**
 * The list of all devices of a pool.
 *
 * @param claims prepared claims; their devices are reported as unhealthy when the node does not offer them any more (the HCA
 *   is missing, or the configuration changed), because the pods' status would show them as unknown
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
        report(name, healthMessage(name, "the node does not offer it any more", hcas))
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
  /** Streams with backpressure; each gets the current list once it drains. */
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

  /** Sends the current list to all streams. */
  send(): void {
    if (this.#open.size === 0) return;
    const list = this.#list();
    for (const stream of this.#open) if (!this.#full.has(stream)) this.#write(stream, list);
  }

  /**
   * Ends all streams; the kubelet then reports the devices as unknown until another process of the driver serves it.
   */
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

/**
 * Device health for the status of pods: the full list is sent after every change, and repeated before the kubelet
 * considers it stale.
 *
 * @module
 */
import type { ServerWritableStream } from "@grpc/grpc-js";
import type { NodeWatchResourcesResponse } from "../gen/v1alpha1/NodeWatchResourcesResponse.ts";
import type { DraDevice } from "./devices.ts";

/** The kubelet's default, sent explicitly so as not to depend on it. */
const TIMEOUT_SECONDS = 30;
/** Two lists may be lost before the kubelet reports a device as unknown. */
const RESEND_MS = 10_000;
/** The kubelet truncates longer messages. */
const LONGEST_MESSAGE = 1_024;

type Stream = ServerWritableStream<object, NodeWatchResourcesResponse>;

/** The list of all devices of a pool. */
export function healthList(
  devices: readonly DraDevice[],
  pool: string,
  now: number,
): NodeWatchResourcesResponse {
  return {
    devices: devices.map(({ name, state }) => ({
      device: { pool_name: pool, device_name: name },
      health: state.healthy ? "HEALTHY" : "UNHEALTHY",
      last_updated_time: Math.floor(now / 1_000),
      health_check_timeout_seconds: TIMEOUT_SECONDS,
      message: state.healthy ? "" : healthMessage(name, state.reason, state.member.hcas.map((hca) => hca.name)),
    })),
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

/**
 * Server-sent events for open status pages: each event is the latest content of the page. Slow clients have no queue;
 * when they read again they receive the current content.
 *
 * @module
 */
import type { ServerResponse } from "node:http";

export interface EventStreamsOptions {
  /** Creates the data of an event; called only while there are streams. */
  readonly render: () => Promise<string>;
  readonly onProblem: (sentence: string) => void;
  /** Maximum number of streams. */
  readonly most?: number;
  /** Minimum time between two events, in milliseconds. */
  readonly pauseMs?: number;
  /** Milliseconds between heartbeats; a client that reads nothing during two of them is disconnected. */
  readonly beatMs?: number;
}

interface Reader {
  readonly response: ServerResponse;
  /** The last frame that was written. */
  sent: string;
  /** Time since which the socket buffer is full; null while it is not. */
  fullSince: number | null;
}

/** All open streams. */
export class EventStreams {
  readonly #render: () => Promise<string>;
  readonly #onProblem: (sentence: string) => void;
  readonly #most: number;
  readonly #pauseMs: number;
  readonly #beatMs: number;
  readonly #readers = new Set<Reader>();
  #frame = "";
  #serial = 0;
  #beat: ReturnType<typeof setInterval> | undefined;
  #pause: ReturnType<typeof setTimeout> | undefined;
  #due = false;
  #rendering: Promise<void> | null = null;
  #closed = false;

  constructor({ render, onProblem, most = 16, pauseMs = 200, beatMs = 10_000 }: EventStreamsOptions) {
    this.#render = render;
    this.#onProblem = onProblem;
    this.#most = most;
    this.#pauseMs = pauseMs;
    this.#beatMs = beatMs;
  }

  get size(): number {
    return this.#readers.size;
  }

  get full(): boolean {
    return this.#closed || this.#readers.size >= this.#most;
  }

  /** Sends the current and all later events to `response` until it closes. The header must have been written. */
  add(response: ServerResponse): void {
    const reader: Reader = { response, sent: "", fullSince: null };
    this.#readers.add(reader);
    response.on("drain", () => {
      reader.fullSince = null;
      if (reader.sent !== this.#frame) this.#give(reader);
    });
    response.on("close", () => {
      this.#readers.delete(reader);
      if (this.#readers.size === 0) this.#rest();
    });
    // Two lines are sent at once, so that the client sees an open stream before the first event exists.
    response.write("retry: 2000\n\n");
    this.#beat ??= setInterval(() => this.#tick(), this.#beatMs);
    this.changed();
  }

  /** Sends an event: at once when the last one was long enough ago, otherwise after the pause. */
  changed(): void {
    if (this.#readers.size === 0 || this.#closed) return;
    this.#due = true;
    if (this.#pause !== undefined || this.#rendering !== null) return;
    this.#rendering = this.#send().catch((error: unknown) => {
      this.#onProblem(`Cannot render the status page: ${error instanceof Error ? error.message : String(error)}`);
    }).finally(() => {
      this.#rendering = null;
      if (this.#due && this.#pause === undefined) this.changed();
    });
    this.#pause = setTimeout(() => {
      this.#pause = undefined;
      if (this.#due) this.changed();
    }, this.#pauseMs);
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const { response } of this.#readers) response.destroy();
    this.#rest();
    await this.#rendering;
  }

  async #send(): Promise<void> {
    this.#due = false;
    const data = await this.#render();
    // JSON contains no line breaks, which would end the field.
    const body = `data: ${JSON.stringify(data)}\n\n`;
    if (!this.#frame.endsWith(body)) this.#frame = `id: ${++this.#serial}\n${body}`;
    for (const reader of this.#readers) {
      if (reader.sent !== this.#frame && reader.fullSince === null) this.#give(reader);
    }
  }

  #give(reader: Reader): void {
    reader.sent = this.#frame;
    if (!reader.response.write(this.#frame)) reader.fullSince = performance.now();
  }

  #tick(): void {
    const patience = performance.now() - 2 * this.#beatMs;
    for (const { response, fullSince } of this.#readers) {
      if (fullSince !== null && fullSince < patience) response.destroy();
      else if (fullSince === null) response.write(": still here\n\n");
    }
    // Changes of pods cause no event here; an event with unchanged content is not sent.
    this.changed();
  }

  #rest(): void {
    clearInterval(this.#beat);
    clearTimeout(this.#pause);
    this.#beat = undefined;
    this.#pause = undefined;
  }
}

/**
 * Server-sent events to the status pages that are open: the latest page part, and nothing else. A reader that does not
 * read gets no queue; when it reads again it gets what is true then.
 *
 * @module
 */
import type { ServerResponse } from "node:http";

export interface EventStreamsOptions {
  /** Makes the data of an event; asked only while somebody listens. */
  readonly render: () => Promise<string>;
  readonly onProblem: (sentence: string) => void;
  /** Streams at the same time. */
  readonly most?: number;
  /** Milliseconds between two events at the least. */
  readonly pauseMs?: number;
  /** Milliseconds between heartbeats; a reader that takes nothing for two of them is cut off. */
  readonly beatMs?: number;
}

interface Reader {
  readonly response: ServerResponse;
  /** The last frame that was given to the transport. */
  sent: string;
  /** Since when the transport has been full; null while it is not. */
  fullSince: number | null;
}

/** Everybody who listens. */
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

  /** Sends the latest event to `response`, and each later one, until it closes. The head must have been written. */
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
    // Two lines at once, so that the reader's side sees the stream as open before the first event is made.
    response.write("retry: 2000\n\n");
    this.#beat ??= setInterval(() => this.#tick(), this.#beatMs);
    this.changed();
  }

  /** Something is another than before: at once when nothing was sent lately, else when the pause is over. */
  changed(): void {
    if (this.#readers.size === 0 || this.#closed) return;
    this.#due = true;
    if (this.#pause !== undefined || this.#rendering !== null) return;
    this.#rendering = this.#send().catch((error: unknown) => {
      this.#onProblem(`the status page cannot be made: ${error instanceof Error ? error.message : String(error)}`);
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
    // JSON has no line breaks of its own, which would end the field.
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
    // Pods come and go without an event for us; an event that says the same as the last is not sent.
    this.changed();
  }

  #rest(): void {
    clearInterval(this.#beat);
    clearTimeout(this.#pause);
    this.#beat = undefined;
    this.#pause = undefined;
  }
}

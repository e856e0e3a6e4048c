/**
 * The log: one line an event on standard error, as text for people or JSON for machines.
 *
 * The library does levels, categories and context; lines are written here, synchronously, because a log line that is
 * still in a queue when the process dies is the one that was needed.
 *
 * @module
 */
import { writeSync } from "node:fs";
import { stderr } from "node:process";
import { configureSync, getLogger, type Logger, type LogRecord, resetSync } from "@std/log";
import { escapeUnprintable } from "./printable.ts";

/** What `--log-level` takes, in order of silence. */
export const LEVELS = ["error", "warn", "info", "debug"] as const;
export type Level = typeof LEVELS[number];
export const FORMATS = ["text", "json"] as const;
export type Format = typeof FORMATS[number];

/** Facts beside the sentence: resource, hca, port, pod, … */
export type Fields = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** Writes lines about one thing. */
export interface Log {
  readonly debug: (message: string, fields?: Fields) => void;
  readonly info: (message: string, fields?: Fields) => void;
  readonly warn: (message: string, fields?: Fields) => void;
  readonly error: (message: string, fields?: Fields) => void;
}

const CATEGORY = "rdma";

/** Sets the log up for the process and returns it. */
export function openLog(level: Level, format: Format, write: (line: string) => void = toStderr): Log {
  const line = format === "json" ? jsonLine : textLine;
  configureSync({
    reset: true,
    sinks: { out: (record) => write(line(record)) },
    loggers: [
      { category: CATEGORY, sinks: ["out"], lowestLevel: level === "warn" ? "warning" : level },
      { category: ["logtape", "meta"], sinks: ["out"], lowestLevel: "error" },
    ],
  });
  return wrap(getLogger(CATEGORY));
}

/** Ends what {@link openLog} began; for tests that open one after another. */
export function closeLog(): void {
  resetSync();
}

/** A log that writes nothing. */
export const SILENT: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

function wrap(logger: Logger): Log {
  // `{*}` free messages: the sentence may hold braces from the outside world, so it goes in as a property.
  const at = (level: "debug" | "info" | "warn" | "error") => (message: string, fields: Fields = {}) =>
    logger[level]("{message}", { ...fields, message });
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

function parts(record: LogRecord): { message: string; fields: [string, unknown][] } {
  const { message, ...fields } = record.properties;
  return {
    message: typeof message === "string" ? message : record.message.join(""),
    fields: Object.entries(fields).filter(([, value]) => value !== undefined && value !== null),
  };
}

function levelName(record: LogRecord): string {
  return record.level === "warning" ? "warn" : record.level;
}

/** `2026-01-31T09:30:00.000Z INFO  mlx5_0 is Unhealthy: port 1 is DOWN resource=tencent.com/rdma` */
export function textLine(record: LogRecord): string {
  const { message, fields } = parts(record);
  const tail = fields.map(([key, value]) => {
    const text = String(value);
    return ` ${key}=${/^[^\s"=]+$/.test(text) ? text : JSON.stringify(text)}`;
  });
  const level = levelName(record).toUpperCase().padEnd(5);
  const sentence = `${message.replaceAll("\n", "\n    ")}${tail.join("")}`;
  return `${new Date(record.timestamp).toISOString()} ${level} ${escapeUnprintable(sentence)}\n`;
}

/** `{"time":…,"level":…,"message":…,"resource":…}` */
export function jsonLine(record: LogRecord): string {
  const { message, fields } = parts(record);
  const time = new Date(record.timestamp).toISOString();
  return `${
    escapeUnprintable(JSON.stringify({ time, level: levelName(record), message, ...Object.fromEntries(fields) }))
  }\n`;
}

function toStderr(line: string): void {
  try {
    writeSync(stderr.fd, line);
  } catch {
    // Nobody reads standard error any more, or its pipe is full: the plugin's work goes on without its log.
  }
}

/**
 * Logging: one line per event on standard error, as text for people or JSON for machines.
 *
 * The library provides levels, categories and context. Lines are written here, synchronously, so that the last lines
 * before a crash are not lost in a queue.
 *
 * @module
 */
import { writeSync } from "node:fs";
import { stderr } from "node:process";
import { configureSync, getLogger, type Logger, type LogRecord } from "@std/log";
import { escapeUnprintable } from "./printable.ts";

/** Values of `--log-level`, from the quietest to the most verbose. */
export const LEVELS = ["error", "warn", "info", "debug"] as const;
export type Level = typeof LEVELS[number];
export const FORMATS = ["text", "json"] as const;
export type Format = typeof FORMATS[number];

/** Structured fields beside the message: resource, hca, port, pod, … */
export type Fields = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** Writes log lines. */
export interface Log {
  readonly debug: (message: string, fields?: Fields) => void;
  readonly info: (message: string, fields?: Fields) => void;
  readonly warn: (message: string, fields?: Fields) => void;
  readonly error: (message: string, fields?: Fields) => void;
}

const CATEGORY = "rdma";

/** Configures the log of the process and returns it. */
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

/** A log that writes nothing. */
export const SILENT: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

function wrap(logger: Logger): Log {
  // The message is passed as a property, not as a template, because it may contain braces from untrusted input.
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
    // Standard error is closed or its pipe is full. The plugin continues without its log.
  }
}

/**
 * The kernel's counters as Prometheus text. An adapter has dozens of counters per port, so the text is generated in
 * pieces with pauses in between: a scrape of a big machine must not delay an Allocate.
 *
 * @module
 */
import { setImmediate } from "node:timers/promises";
import { Counter, Registry } from "prom-client";
import { type Family, HARDWARE_FAMILIES, KERNEL_COUNTERS } from "./metrics_table.ts";
import type { CounterReadings, Reading } from "../hca/port_counters.ts";

/** Series generated between two pauses, which takes about half a millisecond. */
const PIECE = 150;

type Hcas = CounterReadings["hcas"];

/** Prometheus text of the readings; families without series are omitted. */
export async function portCounterText(hcas: Hcas): Promise<string> {
  const families = new Map<string, { readonly head: string; readonly lines: string[] }>();
  for (const piece of pieces(hcas)) {
    // Each piece has its own registry, because prom-client formats a family in one step.
    const registry = new Registry();
    const counters = new Map<string, Counter>();
    for (const { hca, readings } of piece) {
      for (const reading of readings) count(registry, counters, hca, reading);
    }
    for (const name of counters.keys()) {
      const text = await registry.getSingleMetricAsString(name);
      const series = text.indexOf("\n", text.indexOf("\n# TYPE") + 1) + 1;
      const family = families.get(name) ?? { head: text.slice(0, series), lines: [] };
      families.set(name, family);
      family.lines.push(text.slice(series).trimEnd());
    }
    await setImmediate();
  }
  return [...families.values()].map(({ head, lines }) => `${head}${lines.join("\n")}\n`).join("\n");
}

function count(registry: Registry, counters: Map<string, Counter>, hca: string, reading: Reading): void {
  const { group, name, value } = reading;
  const port = String(reading.port);
  if (group === "port") {
    const known = Object.hasOwn(KERNEL_COUNTERS, name) ? KERNEL_COUNTERS[name] : undefined;
    if (known !== undefined) of(registry, counters, known).inc({ hca, port }, value * known.factor);
  } else if (group === "port-hw") {
    of(registry, counters, HARDWARE_FAMILIES.port).inc({ hca, port, counter: name }, value);
  } else of(registry, counters, HARDWARE_FAMILIES.hca).inc({ hca, counter: name }, value);
}

function of(registry: Registry, counters: Map<string, Counter>, { name, help, labels }: Family): Counter {
  const there = counters.get(name);
  if (there !== undefined) return there;
  const made = new Counter({ name, help, labelNames: [...labels], registers: [registry] });
  counters.set(name, made);
  return made;
}

/** Splits the HCAs into pieces. */
function* pieces(hcas: Hcas): Generator<Hcas> {
  let piece: Hcas[number][] = [];
  let size = 0;
  for (const one of hcas) {
    piece.push(one);
    size += one.readings.length;
    if (size < PIECE) continue;
    yield piece;
    piece = [];
    size = 0;
  }
  if (piece.length > 0) yield piece;
}

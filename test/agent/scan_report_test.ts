import { equal, ok } from "@std/assert";
import { Observers } from "../../src/agent/observer.ts";
import { ScanReport } from "../../src/agent/scan_report.ts";
import { PortCounters } from "../../src/hca/port_counters.ts";
import { trigger } from "../../src/hca/events/trigger.ts";
import { Metrics } from "../../src/observe/metrics.ts";
import type { Change } from "../../src/pool/states.ts";
import { snapshot } from "../support/hcas.ts";
import { LogLines } from "../support/log_lines.ts";

Deno.test("every change of a scan is counted, though only the last ones are kept for the status page", async () => {
  const counters = new PortCounters({ sysfs: "/no/such/sysfs" });
  const metrics = new Metrics({ version: "0", counters, pods: null, watchers: () => 0 });
  const observers = new Observers();
  observers.add(metrics.observer);
  const report = new ScanReport(new LogLines().log, observers);
  // A driver of two adapters with many VFs is unloaded.
  const changes = Array.from({ length: 512 }, (_, i): Change => ({
    ...{ resource: "rdma/vfs", device: `mlx5_${i}`, hca: `mlx5_${i}`, port: null },
    ...{ from: "Healthy", to: "Unhealthy", code: "gone", reason: "it disappeared from the machine" },
  }));
  const scan = { snapshot: snapshot([]), triggers: [trigger("test", "test")], depth: "quick", seconds: 0 } as const;
  report.scanned(scan, changes, false, true);
  report.scanned(scan, [], false, false);
  ok(report.changes.length < changes.length);
  const text = await metrics.text(null);
  const line = text.split("\n").find((one) => one.startsWith("rdma_device_plugin_device_changes_total{"));
  equal(line, 'rdma_device_plugin_device_changes_total{resource="rdma/vfs",to="Unhealthy"} 512');
});

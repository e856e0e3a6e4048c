import { deepEqual, equal, match, ok } from "@std/assert";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { FAMILIES } from "../../src/observe/metrics_table.ts";
import { DRIVER_ERROR_COUNTERS } from "../../src/hca/counter_facts.ts";
import { UNHEALTHY_CODES } from "../../src/pool/reasons.ts";
import { goldenFile } from "../support/golden.ts";
import { ROOT } from "../support/root.ts";
import { needs } from "../support/need.ts";
import { temporaryDir } from "../support/temp.ts";
import { type Case, CASES } from "./cases.ts";

const FILE = "deploy/alerts/rules.yaml";
const TEXT = readFileSync(join(ROOT, FILE), "utf8");
const DOCS = readFileSync(join(ROOT, "docs/alerts.md"), "utf8");

interface Rule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels?: { readonly severity?: string };
  readonly annotations?: { readonly summary?: string; readonly description?: string; readonly runbook_url?: string };
}
const { groups: GROUPS } = parse(TEXT) as { groups: { name: string; rules: Rule[] }[] };
const RULES = GROUPS.flatMap((group) => group.rules);
const ALERTS = RULES.filter((rule): rule is Rule & { alert: string } => rule.alert !== undefined);

/** The text of an annotation with these labels and this value, as Prometheus renders it. */
function rendered(text: string, { labels, value }: Case["fires"][number]): string {
  return text
    .replaceAll(/\{\{ \$labels\.(\w+) \}\}/g, (_, name: string) => labels[name] ?? "")
    .replaceAll(/\{\{ \$value [^}]*\}\}/g, () => value ?? "no value is given in the case");
}

/**
 * A file of rules with this alert alone, and with the series that rules record: promtool evaluates every rule of its file
 * at every minute of every case, and is asked for one of them. JSON is YAML.
 */
function ruleFile(alert: string): string {
  const groups = GROUPS.map((one) => ({ ...one, rules: one.rules.filter((rule) => (rule.alert ?? alert) === alert) }));
  return JSON.stringify({ groups: groups.filter((one) => one.rules.length > 0) });
}

/** A file for `promtool test rules`. */
function promtoolTest(rules: string, rule: Rule & { alert: string }, { series, at, fires }: Case): string {
  return JSON.stringify({
    rule_files: [rules],
    evaluation_interval: "1m",
    tests: [{
      interval: "1m",
      input_series: Object.entries(series).map(([series, values]) => ({ series, values })),
      alert_rule_test: [{
        eval_time: at,
        alertname: rule.alert,
        exp_alerts: fires.map((one) => ({
          exp_labels: { ...one.labels, severity: rule.labels!.severity },
          exp_annotations: {
            summary: rendered(rule.annotations!.summary!, one),
            description: rendered(rule.annotations!.description!, one),
            runbook_url: rule.annotations!.runbook_url,
          },
        })),
      }],
    }],
  });
}

Deno.test({
  name: "every alert fires with what it is about, and with nothing else",
  ...needs("promtool"),
  fn() {
    using dir = temporaryDir();
    // One promtool for all: it names the file of each mistake.
    const files = ALERTS.flatMap((rule) => {
      const rules = join(dir.path, `${rule.alert}.yaml`);
      writeFileSync(rules, ruleFile(rule.alert));
      return (CASES[rule.alert] ?? []).map((one, n) => {
        const file = join(dir.path, `${rule.alert}, case ${n}: ${one.what.replaceAll("/", " ")}.yaml`);
        writeFileSync(file, promtoolTest(rules, rule, one));
        return file;
      });
    });
    const { status, stdout, stderr } = spawnSync("promtool", ["test", "rules", ...files], { encoding: "utf8" });
    equal(status, 0, `${stdout}${stderr}`);
    equal(stdout.match(/^ {2}SUCCESS$/gm)?.length, files.length);
  },
});

Deno.test("every alert has cases in which it fires and cases in which it does not", () => {
  deepEqual(Object.keys(CASES).toSorted(), ALERTS.map((rule) => rule.alert).toSorted());
  for (const [alert, cases] of Object.entries(CASES)) {
    ok(cases.some((one) => one.fires.length > 0), `${alert} never fires`);
    ok(cases.some((one) => one.fires.length === 0), `${alert} always fires`);
  }
});

Deno.test({
  name: "promtool finds nothing wrong with the rules",
  ...needs("promtool"),
  fn() {
    const { status, stdout, stderr } = spawnSync("promtool", ["check", "rules", join(ROOT, FILE)], {
      encoding: "utf8",
    });
    equal(status, 0, `${stdout}${stderr}`);
  },
});

Deno.test("every alert has a severity, a time, words for people and a section of docs/alerts.md", () => {
  const headings = [...DOCS.matchAll(/^## (Rdma\w+)$/gm)].map(([, name]) => name!);
  deepEqual(headings.toSorted(), ALERTS.map((rule) => rule.alert).toSorted());
  const sections = new Map(DOCS.split(/^## /m).map((text) => [text.split("\n", 1)[0]!, text]));
  for (const { alert, for: time, labels, annotations } of ALERTS) {
    match(alert, /^Rdma[A-Z]\w+$/);
    ok(["critical", "warning", "info"].includes(labels?.severity ?? ""), `${alert} has no severity`);
    match(time ?? "", /^\d+[mhd]$/, `${alert} has no time`);
    match(annotations?.summary ?? "", /[^.]$/, `${alert} has no summary`);
    match(annotations?.description ?? "", /\.$/, `${alert} has no description`);
    // The anchor that Markdown makes of a heading of one word.
    equal(annotations?.runbook_url, `docs/alerts.md#${alert.toLowerCase()}`);
    for (const part of ["**Means**", "**Check**", "**Do**"]) {
      ok(sections.get(alert)!.includes(part), `${alert}: ${part}`);
    }
  }
});

Deno.test("the rules ask only for metrics, labels, codes and counters that exist", () => {
  const known = new Map(FAMILIES.map(({ name, labels }) => [name, new Set(labels)]));
  const recorded = new Set(RULES.flatMap((rule) => rule.record ?? []));
  const target = new Set(["job", "instance"]);
  for (const { expr } of RULES) {
    const names = expr.match(/\b(?:rdma|process)_[a-z0-9_]+/g) ?? [];
    for (const name of names) ok(known.has(name), `the rules ask for ${name}`);
    for (const name of expr.match(/\brdma:[a-z:_]+/g) ?? []) ok(recorded.has(name), `no rule records ${name}`);
    const labels = [...expr.matchAll(/(\w+)(?:=~|!~|!=|=)"/g)].map(([, label]) => label!);
    const grouped = [...expr.matchAll(/(?:by|on|group_left) \(([\w, ]*)\)/g)].flatMap(([, list]) =>
      list!.match(/\w+/g) ?? []
    );
    for (const label of [...labels, ...grouped]) {
      const has = target.has(label) || [...known.values()].some((all) => all.has(label));
      ok(has, `no metric has a label ${label}`);
    }
    for (const [, codes] of expr.matchAll(/hca_unhealthy\{code[=!]~"([^"]+)"/g)) {
      for (const code of codes!.split("|")) {
        ok(Object.hasOwn(UNHEALTHY_CODES, code), `no device is Unhealthy for ${code}`);
      }
    }
    const counters = new Set(Object.values(DRIVER_ERROR_COUNTERS).flat());
    for (const [, list] of expr.matchAll(/counter=~"([^"]+)"/g)) {
      for (const counter of list!.split("|")) ok(counters.has(counter), `no driver is known to have ${counter}`);
    }
  }
});

Deno.test("the labels that the words of an alert use are those of the alert", () => {
  for (const { alert, annotations } of ALERTS) {
    const used = [...`${annotations?.summary} ${annotations?.description}`.matchAll(/\$labels\.(\w+)/g)].map((
      [, name],
    ) => name!);
    const fires = CASES[alert]!.flatMap((one) => one.fires);
    for (const name of used) for (const { labels } of fires) ok(name in labels, `${alert} has no label ${name}`);
  }
});

Deno.test("the component and the chart have the same rules, word for word", () => {
  const indented = TEXT.replaceAll(/^(?=.)/gm, "  ");
  const head = "# Made of deploy/alerts/rules.yaml by `deno task manifests`.\napiVersion: monitoring.coreos.com/v1\n" +
    "kind: PrometheusRule\nmetadata:\n  name: rdma-device-plugin\n  namespace: kube-system\n  labels:\n" +
    "    app.kubernetes.io/name: rdma-device-plugin\nspec:\n";
  goldenFile("deploy/kustomize/components/alerts/prometheusrule.yaml", `${head}${indented}`);
  goldenFile("deploy/helm/rdma-device-plugin/files/alerts.yaml", TEXT);
});

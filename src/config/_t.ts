import { parseConfig } from "./mod.ts";
const N = 1_048_000;
const fill = (s: string) => s.repeat(Math.floor(N / s.length));
const keys = (f: (i:number)=>string) => { let s = ""; for (let i = 0; s.length < N - 100; i++) s += f(i); return s; };
const cases: Record<string, string> = {
  dashes: fill("- "), quests: fill("? "), colons: fill("a: "), indent: keys(i => i < 1400 ? " ".repeat(i) + "a:\n" : "#".repeat(1e6)),
  manykeys: keys(i => `k${i}: 1\n`), dupkeys: fill("a: 1\n"), flowkeys: "{" + keys(i => `k${i}: 1, `) + "}", 
  unknownInRes: "resources:\n- name: rdma/a\n" + keys(i => `  k${i}: 1\n`),
  badres: "resources:\n" + keys(i => `- nam: rdma/a${i}\n`), res: "resources:\n" + keys(i => `- name: rdma/a${i}\n`),
  badhcas: "resources:\n- name: rdma/a\n  select: {hcas: [" + keys(i => `"a ${i}", `) + "]}", 
  extra: "resources:\n- name: rdma/a\n  env:\n    extra:\n" + keys(i => `      1k${i}: 1\n`),
  longstr: "resources:\n- name: " + "a".repeat(N-100), longq: 'resources: "' + "\\".repeat(N-100), comment: fill("#"), quotes: fill('"'), squotes: fill("'"), pipes: fill("|"), amps: fill("&a "), stars: fill("*a "), tags: fill("!a "), percent: fill("%a\n"), docs: fill("---\n"), commas: "[" + fill(","), nl: fill("\n"), sp: fill(" "), cr: fill("\r"), bs: fill("{a: [}]"),
  anchors: "resources:\n" + keys(i => `- &a${i} x\n`), aliases: "a: &a x\nresources:\n" + keys(() => `- *a\n`),
  unresolved: "resources:\n" + keys(i => `- *a${i}\n`), opens: fill("[\n"), pcis: "resources:\n- name: rdma/a\n  select: {pciAddresses: [\"" + "*".repeat(N-200) + "\"]}", pfs: "resources:\n- name: rdma/a\n  select: {pfs: [\"a#" + fill("1,").slice(0, N-100) + "1\"]}",
  pathdots: "resources:\n- name: rdma/a\n  expose: {devices: [\"" + fill("/..") + "\"]}", prefixed: "resources:\n- name: " + fill("a.").slice(0,N-100)+"a/b", cl: '{"configList": [' + keys(i => `{"k${i}": 1},`) + "{}]}", cl2: '{"configList": [{' + keys(i => `"k${i}": 1,`) + '"a":1}]}', tabs: fill("\t"), multiflow: "a: " + fill("[a,\n b], "),  keyflow: fill("{a: {b: [x]}}: "), longkey: "a".repeat(2000)+": 1\n", nulls: "\0".repeat(N), plainml: "a: " + fill("x\n  "), block: "a: |\n" + fill("  x\n"), seqmap: keys(i => "- a: 1\n  b: 2\n"),
};
for (const [n, t] of Object.entries(cases)) { const s = performance.now(); let r; try { r = parseConfig(t, "c.yaml"); } catch (e) { r = { ok: "THROW " + e }; } const ms = performance.now() - s; console.log(n.padEnd(14), ms.toFixed(0).padStart(7), r.ok, "mistakes" in r ? r.mistakes.length + " " + r.mistakes[0].message.slice(0, 80) : ""); }

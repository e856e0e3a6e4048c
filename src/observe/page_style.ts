/**
 * The style and the only script of the status page. Both are inlined: the page loads nothing.
 *
 * @module
 */

/** Colours have a contrast of at least 4.5:1 in both schemes; each has a word and a shape beside it. */
export const STYLE = `
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #4d5661; --paper: #fff; --panel: #f3f5f7; --line: #c6ccd3;
  --good: #0b6b33; --bad: #b3151b; --warn: #8a4b00; --idle: #4d5661; --link: #0a55c4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --soft: #b1b9c2; --paper: #14171a; --panel: #1e2327;
  --line: #454d55; --good: #63d68c; --bad: #ff9a94; --warn: #f3b35c; --idle: #b1b9c2; --link: #8ab8ff; } }
* { box-sizing: border-box; }
body { margin: 0; font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
header, main, footer { max-width: 90rem; margin: 0 auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 1rem 0 .2rem; } h2 { font-size: 1.15rem; margin: 1.8rem 0 .5rem; }
h3 { font-size: 1rem; margin: 0 0 .5rem; } h4 { font-size: .95rem; margin: .4rem 0; color: var(--soft); }
h5 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
a { color: var(--link); } :focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
p { margin: .3rem 0; } ul { margin: .3rem 0; padding-left: 1.2rem; }
.soft, footer { color: var(--soft); }
.verdict { font-weight: 600; white-space: nowrap; }
.good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); } .idle { color: var(--idle); }
.numa { border: 2px solid var(--line); border-radius: .5rem; padding: .8rem; margin-bottom: 1rem; }
.root { border-left: 3px solid var(--line); padding-left: .8rem; margin: .6rem 0; }
.hcas { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: .7rem; padding: 0; margin: 0;
  list-style: none; }
.hca { background: var(--panel); border: 1px solid var(--line); border-left: .4rem solid var(--idle);
  border-radius: .4rem; padding: .6rem .8rem; overflow-wrap: anywhere; }
.hca.is-good { border-left-color: var(--good); } .hca.is-bad { border-left-color: var(--bad); border-left-style: double; }
.hca.is-warn { border-left-color: var(--warn); border-left-style: dashed; }
.ports { list-style: none; padding: 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; } caption { text-align: left; color: var(--soft); padding: .2rem 0; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .8rem; margin: .3rem 0; } dd { margin: 0; }
summary { cursor: pointer; } #live { min-height: 1.5em; }
`;

/**
 * Replaces the content with what the server sends, and keeps the focus and the open details. Without the script the
 * page shows the state at the time of loading.
 */
export const SCRIPT = `
const main = document.querySelector("main"), live = document.getElementById("live");
const source = new EventSource("events");
const say = (text) => { if (live.textContent !== text) live.textContent = text; };
source.onmessage = ({ data }) => {
  const open = new Set(Array.from(main.querySelectorAll("details[open]"), (one) => one.id));
  const focus = document.activeElement?.id;
  main.innerHTML = JSON.parse(data);
  for (const one of main.querySelectorAll("details")) one.open = open.has(one.id);
  if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
  say("Live.");
};
source.onopen = () => say("Live.");
source.onerror = () => say("Lost the connection to the plugin; this page may be out of date. Reconnecting.");
`;

/**
 * Renders the status page as HTML on the server; every external value is escaped by the library.
 *
 * @module
 */
import { html, raw } from "hono/html";
import type { DeviceView, HcaView, NumaView, ResourceView, StatusModel, Verdict } from "./page_model.ts";
import { SCRIPT, STYLE } from "./page_style.ts";

type Html = ReturnType<typeof html>;
type Tone = "good" | "bad" | "warn" | "idle";

/** Each verdict has a shape, a word and a colour; any one of them is sufficient. */
const VERDICTS: Readonly<Record<Verdict, readonly [shape: string, word: string, tone: Tone]>> = {
  "healthy": ["●", "Healthy", "good"],
  "mixed": ["◐", "Healthy in part", "warn"],
  "unhealthy": ["✖", "Unhealthy", "bad"],
  "left out": ["○", "Left out", "idle"],
  "gone": ["✖", "Gone", "bad"],
  "in a pod": ["◆", "In a pod", "good"],
};

/** Devices shown in a resource's table; a shared resource can have thousands. state.json has all of them. */
const DEVICES_SHOWN = 256;
const PODS_SHOWN = 8;
const CHANGES_SHOWN = 50;

/** Renders the whole page. The Content-Security-Policy allows `nonce`. */
export async function page(model: StatusModel, nonce: string): Promise<string> {
  return String(
    await html`
      <!doctype html>
      <html lang="en">
        <head>
          <meta charset="utf-8">
          <meta name="viewport" content="width=device-width, initial-scale=1">
          <title>RDMA on ${model.node}</title>
          <link rel="icon" href="data:,">
          <style nonce="${nonce}">${raw(STYLE)}</style>
        </head>
        <body>
          <header>
            <h1>RDMA on ${model.node}</h1>
            <p id="live" class="soft" role="status"></p>
            <noscript><p>This page is as of the moment it was loaded. <a href="./">Load it again</a></p></noscript>
          </header>
          <main>${raw(await fragment(model))}</main>
          <footer>
            <p>rdma-device-plugin ${model.version} · <a href="metrics">metrics</a> · <a href="readyz">readyz</a> ·
      <a href="livez">livez</a> · <a href="state.json">state.json</a></p>
          </footer>
          <script nonce="${nonce}">${raw(SCRIPT)}</script>
        </body>
      </html>
    `,
  );
}

/** Renders the content of `<main>`, which is sent again after changes. */
export async function fragment(model: StatusModel): Promise<string> {
  return String(
    await html`${readiness(model)}
<section aria-labelledby="resources"><h2 id="resources">Resources</h2>
${model.podsReason === null ? "" : html`<p class="warn">&#9650; Pods are not known: ${model.podsReason}</p>`}
${model.resources.length === 0 ? html`<p>No resource is offered yet.</p>` : resourceTable(model.resources)}
${model.resources.map(deviceTable)}</section>
<section aria-labelledby="machine"><h2 id="machine">Machine</h2>
${model.notes.map((note) => html`<p class="warn">&#9650; ${note}</p>`)}
${model.numa.length === 0 ? html`<p>No HCA was found.</p>` : model.numa.map(numaNode)}</section>
<section aria-labelledby="changes"><h2 id="changes">Last changes</h2>${changeTable(model.changes)}</section>`,
  );
}

function readiness({ unready }: StatusModel): Html {
  if (unready.length === 0) return html`<p>${mark("●", "Ready", "good")}: every resource is registered.</p>`;
  return html`<div>${mark("✖", "Not ready", "bad")}<ul>${unready.map((reason) => html`<li>${reason}</li>`)}</ul></div>`;
}

function mark(shape: string, word: string, tone: Tone): Html {
  return html`<span class="verdict ${tone}"><span aria-hidden="true">${shape}</span> ${word}</span>`;
}

function health(healthy: boolean): Html {
  const [shape, word, tone] = VERDICTS[healthy ? "healthy" : "unhealthy"];
  return mark(shape, word, tone);
}

/** A table that scrolls horizontally on narrow screens, also by keyboard. */
function table(id: string, caption: string, columns: readonly string[], rows: readonly Html[]): Html {
  return html`
    <div class="scroll" tabindex="0" role="region" id="${id}" aria-label="${caption}">
      <table>
        <caption>${caption}</caption>
        <thead>
          <tr>${columns.map((column) => html`<th scope="col">${column}</th>`)}</tr>
        </thead>
        <tbody>${rows}</tbody>
      </table>
    </div>
  `;
}

function resourceTable(resources: readonly ResourceView[]): Html {
  const columns = ["Resource", "Mode", "Kubelet", "Healthy", "In use"];
  return table(
    "table-resources",
    "Extended resources of this node",
    columns,
    resources.map((one) => {
      const { session } = one;
      const fine = session?.phase === "registered";
      return html`
        <tr>
          <th scope="row">${one.name}</th>
          <td>${one.mode}</td>
          <td>${mark(fine ? "●" : "▲", session?.phase ?? "not served", fine ? "good" : "warn")}
        ${session?.reason ? html`<br>${session.reason}` : ""}</td>
          <td>${one.healthy} of ${one.total}</td>
          <td>${one.inUse ?? "not known"}</td>
        </tr>
      `;
    }),
  );
}

function deviceTable({ name, devices }: ResourceView): Html {
  const shown = devices.slice(0, DEVICES_SHOWN);
  const hidden = devices.length - shown.length;
  return html`<details id="details-${name}"><summary id="summary-${name}">Devices of ${name}</summary>
${table(`table-${name}`, `Devices of ${name}`, ["Device", "Health", "NUMA", "Pods", "Reason"], shown.map(deviceRow))}${
    hidden > 0 ? html`<p>&hellip; and ${hidden} more, in <a href="state.json">state.json</a></p>` : ""
  }</details>`;
}

function deviceRow(device: DeviceView): Html {
  return html`
    <tr>
      <th scope="row">${device.id}</th>
      <td>${health(device.healthy)}</td>
      <td>${device.numaNodes.join(", ") || "any"}</td>
      <td>${device.pods.join(", ")}</td>
      <td>${device.reason}</td>
    </tr>
  `;
}

function numaNode({ node, roots }: NumaView): Html {
  return html`<section class="numa"><h3>${node === null ? "No NUMA node known" : `NUMA node ${node}`}</h3>
${
    roots.map(({ root, hcas }) =>
      html`
        <div class="root">
          <h4>${root === null ? "No PCI device (software)" : `PCIe root ${root}`}</h4>
          <ul class="hcas">${hcas.map(hcaCard)}</ul>
        </div>
      `
    )
  }</section>`;
}

function hcaCard(hca: HcaView): Html {
  const [shape, word, tone] = VERDICTS[hca.verdict];
  const what = [hca.kind.toUpperCase(), hca.transport, hca.driver, ...hca.netdevs].filter((one) => one !== null);
  const pods = hca.pods.slice(0, PODS_SHOWN);
  return html`<li class="hca is-${tone}"><h5>${hca.name}</h5>
<p>${mark(shape, word, tone)}</p>
<p class="soft">${what.join(" · ")}</p>
${hca.reasons.map((reason) => html`<p>${reason}</p>`)}
${hca.verdict === "gone" ? "" : html`<ul class="ports">${hca.ports.map(portLine)}</ul>`}
${hca.errors.map(errorLine)}
${hca.resources.length === 0 ? "" : html`<p>In ${hca.resources.join(", ")}</p>`}
${hca.resources.length === 0 ? notIn(hca) : ""}
${hca.notes.map((note) => html`<p class="warn">&#9650; ${note}</p>`)}
${
    pods.length === 0
      ? ""
      : html`<p>Held by</p><ul>${pods.map((pod) => html`<li>${pod}</li>`)}</ul>${
        hca.pods.length > pods.length ? html`<p>&hellip; and ${hca.pods.length - pods.length} more</p>` : ""
      }`
  }
<details id="details-hca-${hca.name}"><summary id="summary-hca-${hca.name}">More about ${hca.name}</summary>
<dl>${
    facts({
      "PCI function": hca.pci,
      "VF of": hca.physfn,
      "uverbs node": hca.uverbs,
      "Firmware": hca.firmware,
      "Node GUID": hca.nodeGuid,
    })
  }</dl>${hca.resources.length === 0 ? "" : notIn(hca)}</details></li>`;
}

/** The resources that the HCA is not in, with reasons; shown first when it is in no resource, otherwise as a detail. */
function notIn(hca: HcaView): Html[] {
  return hca.leftOut.map(({ resource, reason }) => html`<p class="soft">Not in ${resource}: ${reason}</p>`);
}

function facts(all: Readonly<Record<string, string | null>>): Html[] {
  return Object.entries(all).map(([name, value]) =>
    html`
      <dt>${name}</dt>
      <dd>${value ?? "none"}</dd>
    `
  );
}

function portLine({ number, state, physState, linkLayer, rate }: HcaView["ports"][number]): Html {
  const up = state === "ACTIVE" || state === "ACTIVE_DEFER";
  const rest = [physState, linkLayer, rate].filter((one) => one !== null).join(", ");
  return html`<li>${mark(up ? "▲" : "▼", `Port ${number} ${state}`, up ? "good" : "bad")} ${rest}</li>`;
}

function errorLine({ counter, port, count, rule, exceeded }: HcaView["errors"][number]): Html {
  const text = `${port === null ? "" : `Port ${port} `}${counter}: ${count}, limit ${rule}`;
  return exceeded ? html`<p class="warn">▲ ${text}</p>` : html`<p class="soft">${text}</p>`;
}

function changeTable(changes: StatusModel["changes"]): Html {
  if (changes.length === 0) return html`<p>Nothing has changed since the start.</p>`;
  const columns = ["When", "Device", "From", "To", "Resource", "Why"];
  return table(
    "table-changes",
    "Devices that changed, newest first",
    columns,
    changes.slice(0, CHANGES_SHOWN).map(
      (one) =>
        html`
          <tr>
            <td><time datetime="${one.time}">${one.time}</time></td>
            <th scope="row">${one.device}</th>
            <td>${one.from}</td>
            <td>${one.to}</td>
            <td>${one.resource}</td>
            <td>${one.reason}</td>
          </tr>
        `,
    ),
  );
}

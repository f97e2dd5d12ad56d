// How hub and nodes fare, asked every two seconds while the page is seen.
import { ask, at, icon, make, plural, setText, span } from "/static/hub.js";
import { plot } from "/static/plot.js";

const EVERY_MS = 2000;
const STANDING = {
  live: ["good", "Live"], opening: ["warn", "Starting"], lost: ["bad", "Camera lost"], failed: ["bad", "Camera cannot be opened"],
  ended: ["plain", "Clip ended"], silent: ["bad", "No reports"], away: ["bad", "Not connected"],
};

async function load() {
  try {
    if (!document.hidden) show(await ask("/api/system"));
  } catch (problem) {
    setText(at("summary"), problem.message);
  }
  setTimeout(load, EVERY_MS);
}

function show(state) {
  const { hub, nodes, pace, keys, health } = state;
  const live = nodes.filter((node) => node.standing === "live").length;
  setText(at("summary"), health.length ? `${plural(health.length, "thing needs", "things need")} a look.` : "All is well.");
  at("health").replaceChildren(...health.map((one) => make(`li.banner.${one.level}`, {}, icon("warn"), make("span", {}, one.text))));
  const minute = pace.filter(([at]) => at > -60);
  const mean = minute.length ? minute.reduce((sum, [, questions]) => sum + questions, 0) / minute.length : 0;
  setText(at("stat-questions"), mean.toFixed(1));
  setText(at("stat-people"), String(hub.people));
  setText(at("stat-consented"), `${hub.consented} with a live consent, ${hub.shown_now} shown now`);
  setText(at("stat-up"), span(hub.uptime_s));
  setText(at("stat-version"), `Veilcast ${hub.software} · ${live} of ${plural(nodes.length, "node")} live`);
  at("pace").replaceChildren(plot({
    series: [pace.map(([at, questions]) => [at, questions]), pace.map(([at, , reveals]) => [at, reveals])],
    from: -300, height: 150, unit: "/s", label: "Questions and shown faces a second, over the last five minutes",
  }));
  at("nodes").replaceChildren(...nodes.map(row));
  if (!nodes.length) at("nodes").replaceChildren(make("li.node", {}, make("span.quiet", {}, "No node has a key yet.")));
  facts("model", {
    Model: hub.model, Threshold: `${hub.threshold} (margin ${hub.margin})`, "People enrolled": String(hub.people),
    "Gallery version": String(hub.gallery_version), "Nodes connect to": hub.address,
  });
  facts("keys", {
    "Signing key": make("code", {}, keys.signing), "Public half (ticket_key)": make("code", {}, keys.signing_key),
    "Line to nodes": make("code", {}, keys.line),
    "Let in": keys.let_in.map((peer) => `${peer.name} (${peer.role})`).join(", ") || "nobody",
  });
}

function facts(id, values) {
  const key = JSON.stringify(Object.entries(values).map(([name, value]) => [name, value.textContent || value]));
  if (at(id).dataset.key === key) return;
  at(id).dataset.key = key;
  at(id).replaceChildren(...Object.entries(values).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

function row(node) {
  const [level, words] = STANDING[node.standing] || ["plain", node.standing];
  const { report } = node;
  const spark = (place, label, value) => make("div.spark", {}, make("span", {}, label, " ", make("b", {}, value)),
    plot({ series: [node.history.map((sample) => [sample[0], sample[place]])], from: -600, height: 44, label: `${label} of ${node.name}`, isBare: true }));
  return make("li.node", {},
    make("div", {}, make("h3", {}, node.name), make(`span.chip.${level}`, {}, words)),
    spark(1, "Pictures a second", report ? report.fps.toFixed(0) : "–"),
    spark(2, "Veiling delay, p95", report ? `${report.p95_ms} ms` : "–"),
    make("dl.facts", {}, make("dt", {}, "Software"), make("dd", {}, node.software || "unknown"),
      make("dt", {}, "Mode"), make("dd", {}, node.mode),
      make("dt", {}, "Veiled in full"), make("dd", {}, report ? `${(report.fully_veiled * 100).toFixed(1)} %` : "–"),
      make("dt", {}, node.standing === "away" ? "Away for" : "Connected for"), make("dd", {}, node.since_s === undefined ? "never seen" : span(node.since_s))));
}

load();

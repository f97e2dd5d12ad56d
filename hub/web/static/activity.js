// What the audit log tells, newest first, a page at a time.
import { ask, at, clock, day, icon, make, plural, setText, span } from "/static/hub.js";

const ACTS = {
  "add-person": "enrolled", "remove-person": "erased", "grant-consent": "recorded a consent of",
  "withdraw-consent": "withdrew the consent of", "export-person": "exported what is kept about",
  "show-person": "looked at", "list-people": "looked at the list of people", "show-receipt": "looked at the receipt of erasure of",
  "start-visitors": "began to group visitors", "list-visitors": "looked at visitors", "stop-visitors": "forgot the visitors",
  "forget-visitors": "forgot the visitors", "enrol-visitor": "enrolled a visitor:", login: "signed in", logout: "signed out",
  "let-in": "let a key in", "shut-out": "shut a key out", "set-threshold": "set the threshold", "show-likeness": "measured how alike photos are",
  "add-user": "added a user", "remove-user": "removed a user", "set-role": "changed a role", "set-password": "set a password",
  "reset-link": "made a one-time link", "change-password": "changed a password",
};
const SYSTEM = {
  "hub-start": "The hub started", "hub-stop": "The hub stopped", retention: "Old entries were dropped",
  recovered: "The log could be written again",
};
const ICONS = { shown: "eye", people: "people", access: "key", system: "system" };
let sort = "";
let before = null;
let lastDay = "";
let asked = 0;

for (const name of Object.keys(ACTS)) at("act").append(make("option", { value: name }, name));

function query() {
  const wanted = new URLSearchParams();
  if (sort) wanted.set("sort", sort);
  for (const id of ["person", "camera", "act", "since", "until"]) if (at(id).value.trim()) wanted.set(id, at(id).value.trim());
  if (before) wanted.set("before", String(before));
  return wanted;
}

async function load(isMore) {
  if (!isMore) { before = null; lastDay = ""; }
  const mine = ++asked;
  let page;
  try {
    page = await ask(`/api/activity?${query()}`);
  } catch (problem) {
    setText(at("trouble"), problem.message);
    at("trouble").hidden = false;
    return;
  }
  if (mine !== asked) return;
  at("trouble").hidden = true;
  if (!isMore) at("entries").replaceChildren();
  for (const entry of page.entries) show(entry);
  before = page.before;
  at("more-row").hidden = before === null;
  at("nothing").hidden = at("entries").childElementCount > 0;
  setText(at("summary"), page.unknown_person ? "Nobody of that name is enrolled." : `${plural(page.total, "entry", "entries")} in the log, the newest first.`);
}

function show(entry) {
  const today = day(entry.at);
  if (today !== lastDay) {
    lastDay = today;
    at("entries").append(make("h2.day", {}, today), make("ul.rows"));
  }
  const [words, more] = told(entry);
  at("entries").lastElementChild.append(make("li.entry", {},
    make("time", { datetime: new Date(entry.at * 1000).toISOString() }, clock(entry.at)),
    make(`span.dot.${entry.sort}`, { "aria-hidden": "true" }, icon(ICONS[entry.sort])),
    make("div.words", {}, make("p", {}, ...words), more ? make("p.more", {}, more) : null),
    make("span.n", { title: "Number of the record" }, `#${entry.n}`)));
}

const strong = (text) => make("b", {}, text);

function who(entry) {
  if (entry.person) return strong(entry.person);
  if (entry.identity) return make("span", { title: entry.identity }, `somebody no longer enrolled (${entry.identity.slice(0, 8)})`);
  return strong("Somebody who is not on the list");
}

function told(entry) {
  if (entry.sort === "shown") {
    const alike = entry.similarity ? `similarity ${entry.similarity.toFixed(2)}` : "";
    if (entry.end === null) return [[who(entry), " is being shown on ", strong(entry.camera)], [`since ${clock(entry.start)}`, alike].filter(Boolean).join(" · ")];
    return [[who(entry), " was shown on ", strong(entry.camera), ` for ${span(Math.max(1, entry.end - entry.start))}`],
      [`from ${clock(entry.start)} to ${clock(entry.end)}`, entry.cause, alike].filter(Boolean).join(" · ")];
  }
  if (SYSTEM[entry.what]) return [[SYSTEM[entry.what]], facts(entry)];
  const by = entry.by.startsWith("user ") ? entry.by.slice(5) : entry.by;
  const words = [strong(by || "Somebody"), ` ${ACTS[entry.what] || entry.what}`];
  if (entry.person || entry.identity) words.push(" ", who(entry));
  if (entry.camera) words.push(" at ", strong(entry.camera));
  const isRefused = entry.result && entry.result !== "done";
  if (isRefused) words.push(" ", make("span.chip.bad", {}, entry.result));
  return [words, facts(entry)];
}

function facts(entry) {
  const { facts: all } = entry;
  const parts = [];
  if (all.user && !entry.by.endsWith(all.user)) parts.push(`user ${all.user}`);
  if (all.name) parts.push(`${all.role || ""} ${all.name}`.trim());
  else if (all.role) parts.push(`role ${all.role}`);
  if (all.photos) parts.push(plural(all.photos, "photo"));
  if (all.cameras) parts.push(`for ${all.cameras.join(", ")}`);
  if (all.until) parts.push(`until ${day(all.until)}`);
  if (all.duration_s) parts.push(`for ${span(all.duration_s)}`);
  if (all.people !== undefined) parts.push(plural(all.people, "person", "people"));
  if (all.address) parts.push(`from ${all.address}`);
  if (all.by_link) parts.push("by a one-time link");
  if (all.model) parts.push(`model ${all.model}`);
  if (all.threshold !== undefined) parts.push(`threshold ${Number(all.threshold).toFixed(3)}`);
  if (all.reveals_refused) parts.push(`${plural(all.reveals_refused, "face")} veiled meanwhile`);
  return parts.join(" · ");
}

at("filter").addEventListener("submit", (event) => { event.preventDefault(); load(false); });
at("filter").addEventListener("reset", () => { choose(""); setTimeout(() => load(false)); });
at("more").addEventListener("click", () => load(true));
function choose(wanted) {
  sort = wanted;
  for (const tab of document.querySelectorAll("[data-sort]")) tab.setAttribute("aria-pressed", String(tab.dataset.sort === wanted));
}
for (const tab of document.querySelectorAll("[data-sort]")) {
  tab.addEventListener("click", () => { choose(tab.dataset.sort); load(false); });
}
load(false);

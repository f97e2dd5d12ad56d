// Who is enrolled: list, consent, withdraw, erase. Adding is add.js's part.
import { ask, at, busy, day, dialog, icon, make, plural, send, setText, toast } from "/static/hub.js";
import { Adding } from "/static/add.js";

const STATE = {
  consented: ["good", "Consented"], soon: ["warn", "Expiring soon"], withdrawn: ["plain", "Withdrawn"],
  expired: ["plain", "Expired"], none: ["plain", "No consent"],
};
let people = [];
let more = false;
let cameras = [];
let filter = "";

const adding = new Adding({ cameras: () => cameras, done: (person) => { put(person); show(); } });

async function load(after = "") {
  try {
    const page = await ask(`/api/people?after=${encodeURIComponent(after)}`);
    people = after ? [...people, ...page.people] : page.people;
    ({ more, cameras } = page);
    show();
  } catch (problem) {
    setText(at("summary"), problem.message);
  }
}

function put(person) {
  people = [...people.filter((other) => other.identity !== person.identity), person]
    .sort((a, b) => a.name.localeCompare(b.name));
}

function fits(person) {
  const isOver = !["consented", "soon"].includes(person.state);
  if (filter === "consented" && isOver) return false;
  if (filter === "soon" && person.state !== "soon") return false;
  if (filter === "over" && !isOver) return false;
  return person.name.toLowerCase().includes(at("search").value.trim().toLowerCase());
}

function show() {
  const count = (states) => people.filter((person) => states.includes(person.state)).length;
  const soon = count(["soon"]);
  setText(at("summary"), `${plural(people.length, "person", "people")}${more ? " so far" : ""} · ${count(["consented", "soon"])} with a live consent${soon ? ` · ${soon} expiring soon` : ""}`);
  const fitting = people.filter(fits);
  at("people").replaceChildren(...fitting.map(row));
  at("nobody").hidden = fitting.length > 0;
  setText(at("nobody-title"), people.length ? "Nobody like that" : "Nobody is enrolled");
  setText(at("nobody-words"), people.length ? "Search for another name, or show all." : "Everyone is veiled. Add the people who agreed to be seen.");
  at("more-row").hidden = !more;
}

function row(person) {
  const [level, words] = STATE[person.state];
  const consent = person.consent;
  const where = consent && (consent.cameras.length ? consent.cameras.join(", ") : "every camera");
  const last = person.history[0];
  const when = consent ? (consent.until ? `until ${day(consent.until)}` : "until withdrawn")
    : last && last.withdrawn_at ? `on ${day(last.withdrawn_at)}` : last && last.until ? `on ${day(last.until)}` : "";
  const initials = person.name.split(/\s+/).map((word) => word[0]).slice(0, 2).join("").toUpperCase();
  return make("li.person", { "data-person": person.name },
    make("span.avatar", { "aria-hidden": "true" }, initials),
    make("div", {}, make("h3", {}, person.name),
      make("p.sub", {}, `${plural(person.photos, "photo")} · since ${day(person.added_at)}`)),
    make("div.consent", {}, make(`span.chip.${level}`, {}, words), make("span", {}, [where, when].filter(Boolean).join(", ")),
      consent && consent.note ? make("span.note-line", {}, consent.note) : null),
    make("div.buttons", {},
      make("button.button.small", { type: "button", onclick: () => adding.photos(person) }, "Add photos"),
      consent
        ? make("button.button.small", { type: "button", onclick: (event) => withdraw(person, event.currentTarget) }, "Withdraw")
        : make("button.button.small", { type: "button", onclick: () => adding.consent(person) }, "New consent"),
      make("a.button.small", { href: `/api/people/export?name=${encodeURIComponent(person.name)}`, download: true, title: "Everything that is kept about this person, for this person" }, icon("down"), make("span", {}, "Export")),
      make("button.button.small.danger", { type: "button", onclick: () => askErase(person) }, "Erase")));
}

async function withdraw(person, button) {
  busy(button, true);
  try {
    put((await send("/api/people/withdraw", { name: person.name })).person);
    toast(`${person.name} is veiled everywhere from now on.`);
    show();
  } catch (problem) {
    toast(problem.message, "bad");
    busy(button, false);
  }
}

const eraseDialog = dialog(at("erase-dialog"));
let erasing = null;

function askErase(person) {
  erasing = person;
  setText(at("erase-title"), "Erase");
  setText(at("erase-name"), person.name);
  at("erase-ask").hidden = false;
  at("erase-done").hidden = true;
  at("erase-problem").hidden = true;
  at("erase-send").hidden = false;
  at("erase-receipt").hidden = true;
  setText(at("erase-cancel"), "Cancel");
  busy(at("erase-send"), false);
  eraseDialog.showModal();
  at("erase-cancel").focus();
}

at("erase-send").addEventListener("click", async () => {
  busy(at("erase-send"), true);
  try {
    const done = await send("/api/people/erase", { name: erasing.name });
    people = people.filter((person) => person.identity !== done.identity);
    show();
    const { receipt } = done;
    setText(at("erase-title"), "Erased");
    setText(at("erase-words"), receipt.is_unknown ? "Nothing is left, and none of the erased faces is found any more." : "Erased, but the check afterwards was not clean: see the receipt.");
    const facts = { Identity: receipt.identity, Templates: receipt.templates, Consents: receipt.consents, "Kept photos": receipt.photos, "Rows left": receipt.rows_left, "Signed by": receipt.signed_by };
    at("erase-facts").replaceChildren(...Object.entries(facts).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, String(value))]));
    at("erase-ask").hidden = true;
    at("erase-done").hidden = false;
    at("erase-send").hidden = true;
    setText(at("erase-cancel"), "Close");
    at("erase-receipt").href = done.url;
    at("erase-receipt").hidden = false;
    at("erase-receipt").focus();
  } catch (problem) {
    setText(at("erase-problem"), problem.message);
    at("erase-problem").hidden = false;
    busy(at("erase-send"), false);
  }
});

at("search").addEventListener("input", show);
at("more").addEventListener("click", () => load(people[people.length - 1].name));
for (const tab of document.querySelectorAll("[data-filter]")) {
  tab.addEventListener("click", () => {
    filter = tab.dataset.filter;
    for (const other of document.querySelectorAll("[data-filter]")) other.setAttribute("aria-pressed", String(other === tab));
    show();
  });
}
load();

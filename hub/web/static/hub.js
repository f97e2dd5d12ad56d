// What the pages share: asking the hub, making elements, times in words, a sentence at the corner.
// Text from the hub reaches a page as text nodes only.

const token = document.querySelector('meta[name="csrf-token"]').content;

export class Refused extends Error {
  constructor(status, body) {
    super(body.error || "The hub did not answer as expected.");
    this.status = status;
    this.body = body;
  }
}

export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { Accept: "application/json", ...(options.headers || {}) } });
  } catch {
    throw new Refused(0, { error: "The hub cannot be reached." });
  }
  if (answer.status === 401) {
    location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
    return new Promise(() => {});
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, body);
  return body;
}

export function send(path, body) {
  const isForm = body instanceof FormData;
  const headers = { "X-CSRF-Token": token };
  if (!isForm) headers["Content-Type"] = "application/json";
  return ask(path, { method: "POST", headers, body: isForm ? body : JSON.stringify(body) });
}

export const at = (id) => document.getElementById(id);

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// make("p.note", {title: "…"}, "text", element, …)
export function make(what, attributes = {}, ...inside) {
  const [tag, ...classes] = what.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...inside.filter((part) => part !== null && part !== undefined && part !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function draw(tag, attributes = {}, ...inside) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...inside);
  return element;
}

export function icon(name) {
  const svg = draw("svg", { "aria-hidden": "true", class: "icon" });
  svg.append(draw("use", { href: `/static/icons.svg#${name}` }));
  return svg;
}

export function toast(text, level = "good") {
  const note = make(`p.toast.${level}`, {}, icon(level === "good" ? "check" : "warn"), make("span", {}, text));
  at("toasts").append(note);
  setTimeout(() => note.remove(), level === "good" ? 5000 : 9000);
}

export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return plural(Math.floor(s / 86400), "day");
}

const DAY = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", year: "numeric" });
const CLOCK = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
export const day = (epoch) => DAY.format(new Date(epoch * 1000));
export const clock = (epoch) => CLOCK.format(new Date(epoch * 1000));

export function busy(button, isBusy) {
  button.disabled = isBusy;
  button.toggleAttribute("aria-busy", isBusy);
}

// A dialog of the page: closes by Escape, its close button, or a click beside it.
export function dialog(element) {
  for (const button of element.querySelectorAll("[data-close]")) {
    button.addEventListener("click", () => element.close());
  }
  element.addEventListener("click", (event) => { if (event.target === element) element.close(); });
  return element;
}

// Adding people: by photos, by another consent, or by walking past a camera.
import { ask, at, busy, dialog, make, plural, send, setText, span, toast } from "/static/hub.js";

const POLL_MS = 2000;
const MAX_PHOTOS = 16;

export class Adding {
  // `cameras()` names the cameras there are; `done(person)` is told of everyone who was added or changed.
  constructor({ cameras, done }) {
    this.cameras = cameras;
    this.done = done;
    this.dialog = dialog(at("add-dialog"));
    this.files = [];
    this.mode = "add";
    this.person = null;
    this.visitor = null;
    at("add").addEventListener("click", () => this.open("add", "Add a person", "Only somebody who has agreed to be seen."));
    at("files").addEventListener("change", () => { this.take([...at("files").files]); at("files").value = ""; });
    at("add-form").addEventListener("submit", (event) => { event.preventDefault(); this.submit(); });
    const drop = at("drop");
    for (const kind of ["dragover", "dragleave", "drop"]) {
      drop.addEventListener(kind, (event) => {
        event.preventDefault();
        drop.classList.toggle("is-over", kind === "dragover");
        if (kind === "drop") this.take([...event.dataTransfer.files]);
      });
    }
    new Walking(cameras, (visitor) => this.walked(visitor), (tell) => { this.forgetVisitors = tell; });
  }

  photos(person) { this.open("photos", `More photos of ${person.name}`, "The consent stays as it is.", person); }

  consent(person) { this.open("consent", `A new consent of ${person.name}`, "From now on, in place of the one that ended.", person); }

  walked(visitor) {
    this.visitor = visitor;
    this.open("visitor", `Enroll visitor ${visitor.id}`, "Make sure that it is who you think: there is no picture of them.");
  }

  open(mode, title, hint, person = null) {
    [this.mode, this.person] = [mode, person];
    this.files = [];
    setText(at("add-title"), title);
    setText(at("add-hint"), hint);
    at("name").value = person ? person.name : "";
    at("name").readOnly = Boolean(person);
    const terms = person && person.consent;
    at("until").value = terms && terms.until ? new Date(terms.until * 1000).toLocaleDateString("sv") : "";
    at("note").value = terms ? terms.note : "";
    at("keep").checked = false;
    at("photo-part").hidden = mode === "consent" || mode === "visitor";
    at("keep-part").hidden = at("photo-part").hidden;
    for (const id of ["until", "note"]) at(id).readOnly = mode === "photos";
    at("cameras-part").disabled = mode === "photos";
    const chosen = new Set(terms ? terms.cameras : []);
    at("cameras").replaceChildren(...this.cameras().map((name) => make("label.choice", {},
      make("input", { type: "checkbox", value: name, checked: chosen.has(name) }), make("span", {}, name))));
    setText(at("add-send"), mode === "photos" ? "Add photos" : mode === "consent" ? "Record the consent" : "Enroll");
    this.problem("");
    this.showFiles();
    this.dialog.showModal();
    (person ? (mode === "consent" ? at("until") : at("files")) : at("name")).focus();
  }

  take(files) {
    for (const file of files) if (this.files.length < MAX_PHOTOS) this.files.push({ file, verdict: null });
    this.showFiles();
  }

  showFiles() {
    at("photos").replaceChildren(...this.files.map(({ file, verdict }) => {
      const picture = make("img", { alt: "" });
      const address = URL.createObjectURL(file);
      picture.addEventListener("load", () => URL.revokeObjectURL(address), { once: true });
      picture.src = address;
      return make("li", {}, picture, verdict
        ? make(verdict.text ? "span.why" : "span.ok", {}, verdict.text || "accepted")
        : make("span.quiet", {}, file.name));
    }));
  }

  problem(text) {
    setText(at("add-problem"), text);
    at("add-problem").hidden = !text;
  }

  terms() {
    return {
      name: at("name").value, until: at("until").value, note: at("note").value, keep_photos: at("keep").checked,
      cameras: [...at("cameras").querySelectorAll(":checked")].map((box) => box.value),
    };
  }

  async submit() {
    const terms = this.terms();
    if (!terms.name.trim()) { this.problem("A name is needed."); at("name").focus(); return; }
    const needsPhotos = this.mode === "add" || this.mode === "photos";
    if (needsPhotos && !this.files.length) { this.problem("At least one photo is needed."); at("files").focus(); return; }
    busy(at("add-send"), true);
    this.problem("");
    try {
      const answer = await this.ask(terms, needsPhotos);
      this.done(answer.person);
      const refused = answer.refused || [];
      this.dialog.close();
      toast(`${answer.person.name}: ${this.mode === "consent" ? "the consent is recorded" : "enrolled"}${refused.length ? `; ${plural(refused.length, "photo")} not used` : ""}.`);
      for (const one of refused) toast(`${one.file}: ${one.text}`, "bad");
      if (this.mode === "visitor" && this.forgetVisitors) this.forgetVisitors();
    } catch (problem) {
      this.judge(problem.body ? problem.body.refused || [] : []);
      this.problem(problem.message);
    } finally {
      busy(at("add-send"), false);
    }
  }

  ask(terms, needsPhotos) {
    if (this.mode === "consent") return send("/api/people/consent", terms);
    if (!needsPhotos) return send("/api/visitors/enrol", { ...terms, visitor: this.visitor.id });
    const form = new FormData();
    form.append("terms", JSON.stringify(terms));
    for (const { file } of this.files) form.append("photo", file, file.name);
    return send("/api/people", form);
  }

  judge(refused) {
    for (const one of this.files) {
      const found = refused.find((other) => other.file === one.file.name);
      if (found) one.verdict = found;
    }
    this.showFiles();
  }
}

class Walking {
  // The visitors of one camera while they are grouped; `chosen(visitor)` when one is to be enrolled.
  constructor(cameras, chosen, give) {
    this.chosen = chosen;
    this.dialog = dialog(at("walk-dialog"));
    at("walk-past").addEventListener("click", () => {
      at("walk-camera").replaceChildren(...cameras().map((name) => make("option", { value: name }, name)));
      at("walk-problem").hidden = true;
      this.dialog.showModal();
    });
    at("walk-form").addEventListener("submit", (event) => { event.preventDefault(); this.start(); });
    at("visitors-stop").addEventListener("click", () => this.tell("/api/visitors/stop", {}));
    give(() => this.look());
    this.isOn = false;
    this.look();
  }

  async start() {
    try {
      this.show(await send("/api/visitors/start", { camera: at("walk-camera").value, minutes: Number(at("walk-minutes").value) }));
      this.dialog.close();
    } catch (problem) {
      setText(at("walk-problem"), problem.message);
      at("walk-problem").hidden = false;
    }
  }

  async tell(path, body) {
    try { this.show(await send(path, body)); } catch (problem) { toast(problem.message, "bad"); }
  }

  async look() {
    clearTimeout(this.timer);
    try { this.show(await ask("/api/visitors")); } catch { this.again(); }
  }

  again() {
    clearTimeout(this.timer);
    if (this.isOn) this.timer = setTimeout(() => this.look(), POLL_MS);
  }

  show(state) {
    this.isOn = Boolean(state.camera);
    at("visitors").hidden = !this.isOn;
    setText(at("visitors-words"), this.isOn ? `Camera ${state.camera} shows nobody for another ${span(state.left_s)}. Ask them to walk past slowly, looking at it.` : "");
    at("visitors-list").replaceChildren(...state.visitors.map((visitor) => make("li.person", {},
      make("span.avatar", { "aria-hidden": "true" }, String(visitor.id)),
      make("div", {}, make("h3", {}, `Visitor ${visitor.id}`), make("p.sub", {}, `seen ${span(visitor.last_seen_s)} ago`)),
      make("div.consent", {}, make(visitor.ready ? "span.chip.good" : "span.chip.plain", {}, visitor.ready ? "Ready" : "More looks needed"), make("span", {}, plural(visitor.looks, "good look"))),
      make("div.buttons", {}, make("button.button.small.main", { type: "button", disabled: !visitor.ready, onclick: () => this.chosen(visitor) }, "Enroll")))));
    this.again();
  }
}

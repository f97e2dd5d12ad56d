// The wall: a tile for each camera, its video straight from the node, its state from the hub's events.
import { ask, at, icon, make, plural, setText } from "/static/hub.js";
import { LiveVideo, RENEW_AFTER } from "/static/live_video.js";

const RETRY_MS = 4000;
const VIDEO_RETRY_MS = 30000;
const QUIET_MS = 12000;
const wall = at("wall");
const tiles = new Map();
const isVideoUsable = Boolean(window.RTCPeerConnection) && !new URLSearchParams(location.search).has("mjpeg");

const STANDING = {
  live: ["good", "Live"], opening: ["wait", "Starting"], lost: ["bad", "Camera lost"],
  failed: ["bad", "Camera cannot be opened"], ended: ["wait", "Clip ended"],
  silent: ["bad", "Node does not report"], away: ["bad", "No hub: everyone veiled"],
};
const WHY = {
  lost: "The camera gives no picture. The node tries again by itself.",
  failed: "The node cannot open its camera. Its log says why.",
  ended: "The clip is at its end.",
  away: "This node has no connection to the hub. It veils everyone until it is back.",
  silent: "The node is connected but says nothing. It may be overloaded.",
  opening: "The node is opening its camera.",
};

const delay = (ms) => (ms < 10000 ? `${ms} ms` : `${Math.round(ms / 1000)} s`);

class Tile {
  constructor(name) {
    this.name = name;
    this.isPlaying = false;
    this.wantsPictures = false;
    this.camera = null;
    this.video = make("video", { muted: true, autoplay: true, playsinline: true, disablepictureinpicture: true, tabindex: "-1", hidden: true });
    this.video.muted = true;
    this.picture = make("img", { alt: "", hidden: true });
    this.words = make("p.blank", {}, "Connecting…");
    this.state = make("span.pill", {}, "…");
    this.age = make("span.pill.latency", { hidden: true, title: "From the camera to this screen" });
    this.shown = make("span.count", {}, icon("eye"), make("b", {}, "–"), make("span.word", {}, "shown"));
    this.veiled = make("span.count", {}, icon("veil"), make("b", {}, "–"), make("span.word", {}, "veiled"));
    this.names = make("p.names", { hidden: true });
    this.note = make("p.note", { hidden: true });
    this.detail = make("p.detail", {}, "");
    this.open = make("button.cover", { type: "button", onclick: () => this.toggleFull() });
    this.element = make("article.tile", { "aria-label": `Camera ${name}`, "data-camera": name },
      make("div.stage", {}, this.words, this.picture, this.video, this.open,
        make("div.top", {}, this.state, this.age), this.note,
        make("div.bottom", {}, make("h2", {}, name), make("div.counts", {}, this.shown, this.veiled))),
      make("div.foot", {}, this.names, this.detail));
    this.live = new LiveVideo(this.video, () => this.ticket(), {
      onPlaying: () => this.playing(), onFailed: (isFinal, status) => this.failed(isFinal, status), onAge: (ms) => this.aged(ms),
    });
    this.picture.addEventListener("load", () => { this.picture.hidden = false; this.words.hidden = true; });
    this.picture.addEventListener("error", () => {
      if (!this.wantsPictures) return;
      this.picture.hidden = true;
      this.picturesAgain(RETRY_MS);
    });
  }

  ticket() { return ask(`/api/tickets/${encodeURIComponent(this.name)}`); }

  play() {
    if (this.isPlaying || document.hidden) return;
    this.isPlaying = true;
    if (isVideoUsable && !this.isFinal) this.live.start(); else this.pictures();
  }

  stop() {
    this.isPlaying = false;
    this.wantsPictures = false;
    clearTimeout(this.retry);
    clearTimeout(this.videoRetry);
    this.live.stop();
    this.video.hidden = true;
    this.picture.hidden = true;
    this.picture.removeAttribute("src");
    this.age.hidden = true;
    this.words.hidden = false;
  }

  playing() {
    this.wantsPictures = false;
    this.picture.removeAttribute("src");
    this.picture.hidden = true;
    this.video.hidden = false;
    this.words.hidden = true;
  }

  failed(isFinal, status) {
    // This camera writes names into its picture, and they are not for this user.
    this.isForbidden = status === 403;
    this.video.hidden = true;
    this.age.hidden = true;
    this.words.hidden = false;
    if (isFinal) this.isFinal = true;
    if (!this.isPlaying || document.hidden || this.isForbidden) return;
    if (!isFinal) this.videoRetry = setTimeout(() => { if (this.isPlaying) this.live.start(); }, VIDEO_RETRY_MS);
    this.pictures();
  }

  async pictures() {
    // Pictures go on while video is tried again: it takes over when it plays.
    this.wantsPictures = true;
    try {
      const { url, ticket, lasts_s: lastsS } = await this.ticket();
      const address = new URL("stream.mjpg", url);
      address.searchParams.set("ticket", ticket);
      if (!this.wantsPictures) return;
      this.picture.src = address;
      this.picturesAgain(lastsS * RENEW_AFTER * 1000); // the node ends them with their ticket
    } catch {
      this.picturesAgain(RETRY_MS);
    }
  }

  picturesAgain(ms) {
    clearTimeout(this.retry);
    this.retry = setTimeout(() => { if (this.wantsPictures) this.pictures(); }, ms);
  }

  aged(ms) {
    setText(this.age, delay(Math.round(ms)));
    this.age.hidden = false;
  }

  tell(camera, seesNames) {
    this.camera = camera;
    const report = camera.report;
    let [level, words] = STANDING[camera.standing] || ["wait", camera.standing];
    if (camera.standing === "away" && !camera.has_pictures) words = "Not connected";
    if (camera.standing === "live" && report && report.fully_veiled > 0.9) [level, words] = ["wait", "Live, veiled in full"];
    this.element.dataset.standing = camera.standing;
    this.state.dataset.level = level;
    setText(this.state, words);
    setText(this.shown.querySelector("b"), report ? String(report.shown) : "–");
    setText(this.veiled.querySelector("b"), report ? String(report.veiled) : "–");
    this.showNames(seesNames ? camera.names || [] : []);
    setText(this.detail, report
      ? `${report.fps.toFixed(0)} fps · ${delay(report.p95_ms)} veiling${camera.mode === "reveal-consented" ? "" : ` · ${camera.mode}`} · ${plural(report.viewers, "viewer")}`
      : "No numbers from this node");
    const note = camera.notice || (camera.standing === "live" || camera.standing === "opening" ? "" : WHY[camera.standing] || "");
    setText(this.note, note);
    this.note.hidden = !note;
    const counts = report ? `${plural(report.shown, "person", "people")} shown, ${plural(report.veiled, "face")} veiled` : "no numbers";
    const label = `${camera.name}: ${words}, ${counts}. ${this.isFull() ? "Leave" : "Open"} full screen`;
    if (this.open.getAttribute("aria-label") !== label) this.open.setAttribute("aria-label", label);
    setText(this.words, this.isForbidden ? "This camera writes names into its picture, and you may not see names." : camera.has_pictures ? "Connecting…" : "");
    if (camera.has_pictures && camera.standing !== "failed") this.play();
    else if (this.isPlaying) this.stop();
  }

  // What the hub said last may no longer hold, and is not shown as if it did.
  forget() {
    this.element.dataset.standing = "unheard";
    this.state.dataset.level = "bad";
    setText(this.state, "Hub unreachable");
    for (const count of [this.shown, this.veiled]) setText(count.querySelector("b"), "–");
    this.showNames([]);
    setText(this.detail, "No numbers without the hub");
    setText(this.note, "The picture comes from the node, which veils everyone without the hub.");
    this.note.hidden = false;
    this.open.setAttribute("aria-label", `${this.name}: hub unreachable, no numbers. ${this.isFull() ? "Leave" : "Open"} full screen`);
  }

  showNames(names) {
    this.names.hidden = !names.length;
    const key = JSON.stringify(names);
    if (this.key === key) return;
    this.key = key;
    this.names.replaceChildren(...names.map((name) => make("span.chip", {}, name)));
  }

  isFull() { return document.fullscreenElement === this.element || this.element.classList.contains("is-full"); }

  toggleFull() {
    if (document.fullscreenElement) document.exitFullscreen();
    else if (this.element.classList.contains("is-full")) this.element.classList.remove("is-full");
    else if (this.element.requestFullscreen) this.element.requestFullscreen().catch(() => this.element.classList.add("is-full"));
    else this.element.classList.add("is-full"); // a phone that lets only its own player fill the screen
  }
}

// A page may load from those nodes alone that were known when it was made.
const origins = new Set(document.querySelector('meta[name="origins"]').content.split(" "));
let isOutdated = false;

function meetOrigins(state) {
  if (isOutdated || document.fullscreenElement || state.origins.every((origin) => origins.has(origin))) return;
  isOutdated = true;
  location.reload();
}

function tell(state) {
  meetOrigins(state);
  const names = new Set(state.cameras.map((camera) => camera.name));
  for (const [name, tile] of tiles) {
    if (names.has(name)) continue;
    tile.stop();
    tile.element.remove();
    tiles.delete(name);
  }
  state.cameras.forEach((camera, place) => {
    let tile = tiles.get(camera.name);
    if (!tile) {
      tile = new Tile(camera.name);
      tiles.set(camera.name, tile);
    }
    if (wall.children[place] !== tile.element) wall.insertBefore(tile.element, wall.children[place] || null);
    tile.tell(camera, state.sees_names);
  });
  wall.dataset.count = String(Math.min(state.cameras.length, 5));
  at("none").hidden = state.cameras.length > 0;
  summarize(state.cameras);
}

function summarize(cameras) {
  const live = cameras.filter((camera) => camera.standing === "live");
  const sum = (key) => cameras.reduce((total, camera) => total + (camera.report ? camera.report[key] : 0), 0);
  setText(at("sum-live"), `${live.length}/${cameras.length}`);
  setText(at("sum-shown"), String(sum("shown")));
  setText(at("sum-veiled"), String(sum("veiled")));
  const gone = cameras.length - live.length;
  setText(at("summary"), !cameras.length ? "No camera has been set up for you."
    : gone ? `${plural(gone, "camera needs", "cameras need")} a look.`
      : "Everyone is veiled, except those who agreed to be seen.");
}

let heardAt = Date.now();
function trouble(text) {
  setText(at("trouble"), text);
  at("trouble").hidden = !text;
  wall.classList.toggle("is-stale", Boolean(text));
}

function loseHub() {
  if (!at("trouble").hidden) return;
  trouble("The hub cannot be reached. The pictures come from the nodes, which veil everyone without it.");
  for (const tile of tiles.values()) tile.forget();
  for (const id of ["sum-live", "sum-shown", "sum-veiled"]) setText(at(id), "–");
  setText(at("summary"), "How the cameras fare is not known.");
}

function listen() {
  const events = new EventSource("/api/wall/events");
  events.onmessage = (event) => {
    heardAt = Date.now();
    trouble("");
    tell(JSON.parse(event.data));
  };
  events.onerror = () => {
    if (events.readyState !== EventSource.CLOSED) return;
    events.close();
    // Signed out, or the hub is gone: asking says which.
    ask("/api/wall").catch(() => {});
    setTimeout(listen, RETRY_MS);
  };
}

setInterval(() => {
  if (Date.now() - heardAt > QUIET_MS) loseHub();
}, 1000);

wall.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (event.key === "Escape") for (const tile of tiles.values()) tile.element.classList.remove("is-full");
  if (!step) return;
  const covers = [...wall.querySelectorAll(".cover")];
  const here = covers.indexOf(document.activeElement);
  if (here < 0) return;
  event.preventDefault();
  covers[(here + step + covers.length) % covers.length].focus();
});
document.addEventListener("visibilitychange", () => {
  for (const tile of tiles.values()) {
    if (document.hidden) tile.stop();
    else if (tile.camera && tile.camera.has_pictures) tile.play();
  }
});
addEventListener("pagehide", () => { for (const tile of tiles.values()) tile.stop(); });
addEventListener("pageshow", (event) => { if (event.persisted) for (const tile of tiles.values()) tile.play(); });
listen();

// The live page: a <video> by WebRTC (live_video.js), else an <img> by MJPEG; one EventSource for the
// words around it. `?mjpeg` in the address asks for MJPEG.
// Names reach the page as text nodes only. No state is kept between visits.
import { LiveVideo } from "/live_video.js";

const at = (id) => document.getElementById(id);
const picture = at("picture");
const video = at("video");
const RETRY_MS = 1500;
const VIDEO_RETRY_MS = 30000;
const STALE_S = 4;

let isPaused = false;
let isConnected = false;
let retry = 0;
let videoRetry = 0;
let isVideoUsable = document.body.dataset.live === "webrtc" && Boolean(window.RTCPeerConnection)
  && !new URLSearchParams(location.search).has("mjpeg");

const live = new LiveVideo(video, async () => ({ url: location.href }), {
  onPlaying: () => {
    showPicture(null);
    video.hidden = false;
    picture.hidden = true;
    at("empty").hidden = true;
  },
  onFailed: (isFinal) => {
    if (isFinal) isVideoUsable = false;
    else videoRetry = setTimeout(() => { if (!isPaused && !document.hidden) live.start(); }, VIDEO_RETRY_MS);
    if (!isPaused && !document.hidden) playPictures();
  },
  onAge: (ms) => {
    setText(at("glass"), String(Math.round(ms)));
    at("glass-line").hidden = false;
  },
});

function showPicture(url) {
  if (url) picture.src = url; else picture.removeAttribute("src");
}

function leaveVideo() {
  clearTimeout(videoRetry);
  live.stop();
  video.hidden = true;
  picture.hidden = false;
  at("glass-line").hidden = true;
}

function playPictures() {
  // Pictures go on while video is tried again: it takes over when it plays.
  clearTimeout(retry);
  video.hidden = true;
  picture.hidden = false;
  at("glass-line").hidden = true;
  showPicture(`/stream.mjpg?${Date.now()}`);
}

function play() {
  clearTimeout(retry);
  leaveVideo();
  showPicture(null);
  if (isPaused || document.hidden) return;
  if (isVideoUsable) live.start(); else playPictures();
}

function pause() {
  leaveVideo();
  // A paused stream shows the picture of this moment, and stops using the network.
  picture.src = `/snapshot.jpg?${Date.now()}`;
}

picture.addEventListener("load", () => { at("empty").hidden = true; });
picture.addEventListener("error", () => {
  if (!picture.getAttribute("src") || isPaused) return;
  clearTimeout(retry);
  retry = setTimeout(playPictures, RETRY_MS);
});
document.addEventListener("visibilitychange", () => { if (!isPaused) play(); });
addEventListener("pagehide", () => live.stop()); // frees the place at once
addEventListener("pageshow", (event) => { if (event.persisted && !isPaused) play(); });
at("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  at("pause").textContent = isPaused ? "Resume" : "Pause";
  at("pause").setAttribute("aria-pressed", String(isPaused));
  if (isPaused) pause(); else play();
  showLive();
});
at("full").addEventListener("click", () => {
  if (document.fullscreenElement) document.exitFullscreen(); else at("stage").requestFullscreen();
});

const CAMERA = {
  opening: ["warn", "opening"], live: ["good", "live"], lost: ["bad", "lost, trying again"],
  ended: ["warn", "at its end"], failed: ["bad", "cannot be opened"],
};
const HUB = {
  connecting: ["warn", "connecting"], connected: ["good", "connected"],
  lost: ["bad", "cannot be reached"], off: ["warn", "not used"],
};
let last = null;

function link(id, words, state) {
  const [color, text] = words[state.state] || ["warn", state.state];
  at(`${id}-dot`).dataset.state = color;
  setText(at(id), text);
  at(id).parentElement.title = state.text;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function noticeFor(state) {
  const frame = state.picture;
  if (state.camera.state === "failed") return `The camera cannot be opened: ${state.camera.text}`;
  if (state.camera.state === "ended") return "The clip is at its end.";
  if (state.camera.state === "lost") return `Camera lost, trying again. ${state.camera.text}`;
  if (!frame) return "";
  if (frame.reason === "fault") return "A part of the node has failed: the picture is veiled until it is back.";
  if (frame.reason === "late" || frame.reason === "gap") return "The node cannot keep up: the picture is veiled meanwhile.";
  if (frame.age_s > STALE_S) return `No new picture for ${Math.round(frame.age_s)} seconds.`;
  if (state.hub.state === "off") return "No hub is used: nobody can be recognized, so everyone is veiled.";
  if (state.hub.state !== "connected") return "The hub cannot be reached: nobody can be recognized, so everyone is veiled.";
  return "";
}

function showLive() {
  const live = at("live");
  let [state, text] = ["good", "Live, anonymized"];
  if (!isConnected) [state, text] = ["bad", "No connection to this node"];
  else if (isPaused) [state, text] = ["warn", "Paused"];
  else if (last && last.camera.state !== "live") [state, text] = ["warn", "No live picture"];
  else if (last && last.picture && last.picture.fully_veiled) [state, text] = ["warn", "Live, veiled in full"];
  live.dataset.state = state;
  setText(live, text);
}

function showNotice(text) {
  setText(at("notice"), text);
  at("notice").hidden = !text;
}

function showPeople(frame) {
  const names = frame ? frame.shown.map((face) => face.name) : [];
  const box = at("shown");
  const key = JSON.stringify(names);
  if (box.dataset.key !== key) {
    box.dataset.key = key;
    const parts = names.map((name) => {
      const chip = document.createElement("span");
      chip.className = "chip";
      chip.textContent = name;
      return chip;
    });
    if (!parts.length) {
      const nobody = document.createElement("span");
      nobody.className = "quiet";
      nobody.textContent = "nobody";
      parts.push(nobody);
    }
    box.replaceChildren(...parts);
  }
  const isWhole = Boolean(frame && frame.fully_veiled);
  setText(at("veiled"), !frame ? "–" : isWhole ? "All" : String(frame.veiled));
  setText(at("veiled-words"), isWhole ? "the whole picture" : frame && frame.veiled === 1 ? "face" : "faces");
}

function show(state) {
  last = state;
  at("stage").classList.remove("is-stale");
  setText(at("node"), state.node);
  document.title = `Veilcast · ${state.node}`;
  link("camera", CAMERA, state.camera);
  link("hub", HUB, state.hub);
  showPeople(state.picture);
  const has = state.latency_ms.p95 > 0;
  setText(at("p50"), has ? String(state.latency_ms.p50) : "–");
  setText(at("p95"), has ? String(state.latency_ms.p95) : "–");
  if (state.picture && !isPaused) {
    const shown = state.picture.shown.length;
    picture.alt = `Live picture, anonymized: ${shown} shown, ${
      state.picture.fully_veiled ? "everything" : state.picture.veiled} veiled`;
    video.setAttribute("aria-label", picture.alt);
  }
  showNotice(noticeFor(state));
  showLive();
}

function forget() {
  // What was known may no longer be true: say nothing rather than something old.
  at("stage").classList.add("is-stale");
  for (const id of ["camera", "hub"]) {
    at(`${id}-dot`).dataset.state = "wait";
    setText(at(id), "unknown");
  }
  showPeople(null);
  setText(at("p50"), "–");
  setText(at("p95"), "–");
}

function listen() {
  const events = new EventSource("/events");
  events.onmessage = (event) => {
    if (!isConnected) { isConnected = true; if (!isPaused && last) play(); }
    show(JSON.parse(event.data));
  };
  events.onerror = () => {
    isConnected = false;
    forget();
    showLive();
    showNotice("No connection to this node. Trying again…");
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_MS);
  };
}

play();
listen();

// Live video by WebRTC (WHEP) into one <video>, and how old its pictures are when they appear.
// Knows nothing of the rest of the page; page.js falls back to MJPEG where this does not work.
"use strict";

const FIRST_PICTURE_MS = 8000;
const LOST_MS = 3000;
const PING_EVERY_MS = 1000;
const CLOCK_SAMPLES = 10;
const AGE_SAMPLES = 25;
const RTP_TICKS_PER_MS = 90;

class LiveVideo {
  // `onPlaying()` once pictures appear, `onFailed(isFinal)` when they will not or no longer come,
  // `onAge(ms)` about once a second: from the capture of a picture to its appearing here.
  constructor(video, { onPlaying, onFailed, onAge }) {
    this.video = video;
    this.tell = { onPlaying, onFailed, onAge };
    this.peer = null;
    this.session = "";
    this.isPlaying = false;
  }

  async start() {
    this.stop();
    const peer = new RTCPeerConnection();
    this.peer = peer;
    this.clock = { samples: [], offsetMs: null, rtp: null, capturedMs: 0 };
    this.ages = [];
    peer.addTransceiver("video", { direction: "recvonly" });
    peer.addEventListener("track", (event) => this.show(peer, event));
    peer.addEventListener("connectionstatechange", () => this.follow(peer));
    this.listen(peer, peer.createDataChannel("clock", { ordered: false, maxRetransmits: 0 }));
    this.timer = setTimeout(() => this.fail(peer, false), FIRST_PICTURE_MS);
    try {
      await peer.setLocalDescription();
      const answer = await fetch("/whep", {
        method: "POST", headers: { "Content-Type": "application/sdp" }, body: peer.localDescription.sdp,
      });
      if (this.peer !== peer) {
        if (answer.ok) fetch(answer.headers.get("Location"), { method: "DELETE" }).catch(() => {});
        return;
      }
      if (!answer.ok) {
        this.fail(peer, answer.status === 404 || answer.status === 400);
        return;
      }
      this.session = answer.headers.get("Location");
      await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
    } catch (error) {
      this.fail(peer, false);
    }
  }

  stop() {
    clearTimeout(this.timer);
    clearTimeout(this.lost);
    clearInterval(this.pinging);
    if (this.session) fetch(this.session, { method: "DELETE", keepalive: true }).catch(() => {});
    if (this.peer) this.peer.close();
    this.peer = null;
    this.session = "";
    this.isPlaying = false;
    this.video.srcObject = null;
  }

  fail(peer, isFinal) {
    if (this.peer !== peer) return;
    this.stop();
    this.tell.onFailed(isFinal);
  }

  follow(peer) {
    clearTimeout(this.lost);
    if (peer.connectionState === "failed") this.fail(peer, false);
    if (peer.connectionState === "disconnected") this.lost = setTimeout(() => this.fail(peer, false), LOST_MS);
  }

  show(peer, event) {
    // A picture is shown when it is there: nothing is kept back to smooth what comes late.
    event.receiver.jitterBufferTarget = 0;
    event.receiver.playoutDelayHint = 0;
    this.video.srcObject = new MediaStream([event.track]);
    this.video.play().catch(() => {}); // a page in the background may not: it begins when seen
    if (this.video.requestVideoFrameCallback) this.count(peer);
    else this.video.addEventListener("loadeddata", () => this.begin(peer), { once: true });
  }

  begin(peer) {
    if (this.peer !== peer || this.isPlaying) return;
    clearTimeout(this.timer);
    this.isPlaying = true;
    this.tell.onPlaying();
  }

  count(peer) {
    this.video.requestVideoFrameCallback((now, frame) => {
      if (this.peer !== peer) return;
      this.begin(peer);
      const age = this.ageOf(frame);
      if (age !== null) this.ages.push(age);
      if (this.ages.length >= AGE_SAMPLES) {
        this.tell.onAge(this.ages.sort((a, b) => a - b)[AGE_SAMPLES >> 1]);
        this.ages = [];
      }
      this.count(peer);
    });
  }

  ageOf(frame) {
    const { offsetMs, rtp, capturedMs } = this.clock;
    if (offsetMs === null || rtp === null || frame.rtpTimestamp === undefined) return null;
    // RTP time wraps around after 13 hours; | 0 takes the short way between two stamps.
    const capturedHereMs = capturedMs + ((frame.rtpTimestamp - rtp) | 0) / RTP_TICKS_PER_MS - offsetMs;
    return frame.expectedDisplayTime - capturedHereMs;
  }

  listen(peer, channel) {
    channel.addEventListener("open", () => {
      this.pinging = setInterval(() => {
        if (channel.readyState === "open") channel.send(String(performance.now()));
      }, PING_EVERY_MS);
    });
    channel.addEventListener("message", (event) => {
      if (this.peer !== peer) return;
      const pong = JSON.parse(event.data);
      const [sentMs, nowMs] = [Number(pong.ping), performance.now()];
      const clock = this.clock;
      // The answer that was back soonest says best what the node's clock shows.
      clock.samples.push({ tripMs: nowMs - sentMs, offsetMs: pong.now_ms - (sentMs + nowMs) / 2 });
      if (clock.samples.length > CLOCK_SAMPLES) clock.samples.shift();
      clock.offsetMs = clock.samples.reduce((a, b) => (b.tripMs < a.tripMs ? b : a)).offsetMs;
      if (pong.rtp !== undefined) [clock.rtp, clock.capturedMs] = [pong.rtp, pong.captured_ms];
    });
  }
}

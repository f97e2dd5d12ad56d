// Live video of one node by WebRTC (WHEP) into one <video>, and how old its pictures are when they appear.
// Served by nodes and hub. Knows nothing of the page around it, which falls back to MJPEG where this does not work.

const FIRST_PICTURE_MS = 8000;
const LOST_MS = 3000;
const PING_EVERY_MS = 1000;
const CLOCK_SAMPLES = 10;
const AGE_EVERY_MS = 1000;
const RTP_TICKS_PER_MS = 90;
export const RENEW_AFTER = 0.6; // of a ticket's life
const RETRY_MS = 5000;

export class LiveVideo {
  // `address()` promises {url, ticket, lasts_s} anew for every try; without a ticket where the node asks for none.
  // `onPlaying()` once pictures appear, `onFailed(isFinal, status)` when they will not or no longer come (with the
  // node's HTTP status, 0 without one), `onAge(ms)` about once a second: from a picture's capture to its appearing.
  constructor(video, address, { onPlaying, onFailed, onAge }) {
    this.video = video;
    this.address = address;
    this.tell = { onPlaying, onFailed, onAge };
    this.peer = null;
    this.session = null;
    this.isPlaying = false;
  }

  async start() {
    this.stop();
    const peer = new RTCPeerConnection();
    this.peer = peer;
    this.clock = { samples: [], offsetMs: null, rtp: null, capturedMs: 0 };
    this.ages = [];
    this.toldAgeMs = performance.now();
    peer.addTransceiver("video", { direction: "recvonly" });
    peer.addEventListener("track", (event) => this.show(peer, event));
    peer.addEventListener("connectionstatechange", () => this.follow(peer));
    this.listen(peer, peer.createDataChannel("clock", { ordered: false, maxRetransmits: 0 }));
    this.timer = setTimeout(() => this.fail(peer, false), FIRST_PICTURE_MS);
    try {
      const { url, ticket, lasts_s: lastsS } = await this.address();
      await peer.setLocalDescription();
      const headers = ticket ? { Authorization: `Bearer ${ticket}` } : {};
      const answer = await fetch(new URL("whep", url), {
        method: "POST", headers: { ...headers, "Content-Type": "application/sdp" }, body: peer.localDescription.sdp,
      });
      const session = answer.ok ? { url: new URL(answer.headers.get("Location"), url), headers } : null;
      if (this.peer !== peer) {
        hangUp(session);
        return;
      }
      if (!answer.ok) {
        this.fail(peer, [400, 403, 404].includes(answer.status), answer.status);
        return;
      }
      this.session = session;
      if (ticket) this.renewing = setTimeout(() => this.renew(peer), lastsS * RENEW_AFTER * 1000);
      await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
    } catch (error) {
      this.fail(peer, false);
    }
  }

  // The session ends with its ticket: a new one prolongs it, as long as the user may watch.
  async renew(peer) {
    try {
      const { ticket, lasts_s: lastsS } = await this.address();
      if (this.peer !== peer) return;
      const headers = { Authorization: `Bearer ${ticket}` };
      const answer = await fetch(this.session.url, { method: "PUT", headers });
      if (this.peer !== peer) return;
      if (answer.ok) this.session.headers = headers;
      this.renewing = setTimeout(() => this.renew(peer), answer.ok ? lastsS * RENEW_AFTER * 1000 : RETRY_MS);
    } catch {
      if (this.peer === peer) this.renewing = setTimeout(() => this.renew(peer), RETRY_MS);
    }
  }

  stop() {
    clearTimeout(this.timer);
    clearTimeout(this.renewing);
    clearTimeout(this.lost);
    clearInterval(this.pinging);
    hangUp(this.session);
    if (this.peer) this.peer.close();
    this.peer = null;
    this.session = null;
    this.isPlaying = false;
    this.video.srcObject = null;
  }

  fail(peer, isFinal, status = 0) {
    if (this.peer !== peer) return;
    this.stop();
    this.tell.onFailed(isFinal, status);
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
      if (this.ages.length && now - this.toldAgeMs >= AGE_EVERY_MS) {
        this.tell.onAge(this.ages.sort((a, b) => a - b)[this.ages.length >> 1]);
        this.ages = [];
        this.toldAgeMs = now;
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

function hangUp(session) {
  // Frees the place at once.
  if (session) fetch(session.url, { method: "DELETE", headers: session.headers, keepalive: true }).catch(() => {});
}

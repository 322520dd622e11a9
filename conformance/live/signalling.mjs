// The WebSocket signalling of `antiphon serve` (docs/signalling.md) for a peer connection outside a browser.
import WebSocket from 'ws';

export class Signalling {
  /** With `activeOffers` whoever answers sees a=setup:active instead of actpass, and becomes the DTLS server. */
  static async connect(url, pc, { activeOffers = false } = {}) {
    const socket = new WebSocket(`${url.replace(/^http/, 'ws')}/ws`);
    await new Promise((open, fail) => {
      socket.once('open', open);
      socket.once('error', fail);
    });
    return new Signalling(socket, pc, activeOffers);
  }

  constructor(socket, pc, activeOffers) {
    this.socket = socket;
    this.pc = pc;
    this.edit = (sdp) => (activeOffers ? sdp.replaceAll('a=setup:actpass', 'a=setup:active') : sdp);
    /** The server's last report. */
    this.stats = null;
    this.chain = Promise.resolve();
    pc.onicecandidate = ({ candidate }) => this.send({ type: 'candidate', candidate: candidate ?? null });
    socket.on('message', (text) => {
      // One message at a time: a candidate may not overtake the description before it.
      this.chain = this.chain.then(() => this.take(JSON.parse(text))).catch((error) => console.error('signalling:', error));
    });
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  async take(message) {
    if (message.type === 'offer') {
      await this.pc.setRemoteDescription({ type: 'offer', sdp: this.edit(message.sdp) });
      await this.describe(await this.pc.createAnswer());
    } else if (message.type === 'answer') {
      await this.pc.setRemoteDescription({ type: 'answer', sdp: message.sdp });
    } else if (message.type === 'candidate' && message.candidate?.candidate) {
      await this.pc.addIceCandidate(message.candidate);
    } else if (message.type === 'stats') {
      this.stats = message.stats;
    } else if (message.type === 'error') {
      console.error('server:', message);
    }
  }

  async describe(description) {
    await this.pc.setLocalDescription(description);
    const { type, sdp } = this.pc.localDescription;
    this.send({ type, sdp: type === 'offer' ? this.edit(sdp) : sdp });
  }

  /** The server's report once this figure is in it. */
  async until(figure) {
    const started = Date.now();
    while (!this.stats?.[figure]) {
      if (Date.now() - started > 30_000) throw new Error(`no report with ${figure}: ${JSON.stringify(this.stats)}`);
      await new Promise((soon) => setTimeout(soon, 100));
    }
    return this.stats;
  }

  /** The server's report once the DTLS handshake is in it. */
  secured() {
    return this.until('group');
  }

  async offer() {
    await this.describe(await this.pc.createOffer());
  }

  askForOffer() {
    this.send({ type: 'start', mode: 'watch', offerer: 'server' });
  }

  close() {
    this.socket.close();
  }
}

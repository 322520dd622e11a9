// The WebSocket signalling of `antiphon serve` (docs/signalling.md) for the peers of foreign.mjs.
import WebSocket from 'ws';
import { within } from './browser.mjs';

const password = (sdp) => /^a=ice-pwd:(\S+)/m.exec(sdp ?? '')?.[1];

export class Line {
  static async open(url, peer) {
    const socket = new WebSocket(`${url.replace(/^http/, 'ws')}/ws`);
    await new Promise((open, fail) => {
      socket.once('open', open);
      socket.once('error', fail);
    });
    return new Line(socket, peer);
  }

  constructor(socket, peer) {
    this.socket = socket;
    this.peer = peer;
    this.stats = null;
    this.ours = null;
    this.theirs = null;
    this.ended = false;
    /** What the server refused. */
    this.errors = [];
    this.waiting = [];
    this.chain = Promise.resolve();
    peer.on('candidate', (candidate) => this.send({ type: 'candidate', candidate }));
    peer.on('offer', (sdp) => this.describe('offer', sdp));
    socket.on('message', (text) => {
      const message = JSON.parse(text);
      // One message at a time: a candidate may not overtake the description before it.
      this.chain = this.chain.then(() => this.take(message)).catch((error) => {
        this.errors.push(`${name(message)}: ${error.message}`);
        console.error(`${name(message)}: ${error.stack}`);
        this.told({ type: 'error', code: `the peer refuses our ${message.type}`, message: error.message });
      });
    });
    this.closed = new Promise((closed) => {
      socket.on('close', (code, reason) => {
        this.ended = true;
        this.told({ type: 'error', code: 'over', message: 'the session ended' });
        closed(`the session ended (${this.stats?.connection ?? 'unknown'}, ${reason.toString() || code})`);
      });
    });
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  describe(type, sdp) {
    this.theirs = sdp;
    this.send({ type, sdp });
  }

  async take(message) {
    if (message.type === 'offer') {
      this.ours = message.sdp;
      this.describe('answer', await this.peer.answer(message.sdp));
    } else if (message.type === 'answer') {
      this.ours = message.sdp;
      await this.peer.accept(message.sdp);
    } else if (message.type === 'candidate') {
      if (message.candidate?.candidate) await this.peer.candidate(message.candidate);
    } else if (message.type === 'stats') {
      this.stats = message.stats;
    } else if (message.type === 'error') {
      this.errors.push(`${message.code}: ${message.message}`);
      console.error('server:', message);
    }
    this.told(message);
  }

  told(message) {
    for (const waiter of this.waiting.splice(0)) waiter(message);
  }

  /** The next message of any type. */
  anything() {
    return new Promise((told) => { this.waiting.push(told); });
  }

  /** The next message of this type, once it has been taken. */
  async next(type) {
    for (;;) {
      const message = await this.anything();
      if (message.type === type) return message;
      if (message.type === 'error') throw new Error(`${message.code}: ${message.message}`);
    }
  }

  /** When our statistics say that the connection is in this state. */
  async until(state) {
    while (this.stats?.connection !== state) {
      if (this.ended) throw new Error(`the session ended, and was never ${state}`);
      await this.anything();
    }
    return state;
  }

  /** The peer offers, and has its answer when this is done. */
  async offer(options = {}) {
    const answered = this.next('answer');
    const sdp = await this.peer.offer(options);
    // Peers that negotiate by themselves have said it already.
    if (sdp) this.describe('offer', sdp);
    await within(20_000, 'our answer', answered);
  }

  /** Of both sides, as last described. */
  passwords() {
    return { ours: password(this.ours), theirs: password(this.theirs) };
  }

  /** For a log of what went wrong. */
  summary() {
    return `ours:\n${this.ours}\ntheirs:\n${this.theirs}\nerrors: ${this.errors.join('; ')}\nstatistics: ${JSON.stringify(this.stats)}`;
  }

  close() {
    this.socket.close();
  }
}

const name = (message) => `${message.type}${message.sdp ? '' : ` ${JSON.stringify(message)}`}`;

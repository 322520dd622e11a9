// RTP of a clip, for peers that have no encoder; and what peers say of themselves.
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { EventEmitter, once } from 'node:events';

/** Plays VP8 (or H.264) and Opus for ever, packet by packet: events `video` and `audio`. */
export class Player extends EventEmitter {
  static async start(ffmpeg, clip) {
    const sockets = await Promise.all(['video', 'audio'].map(async (kind) => {
      const socket = createSocket('udp4');
      socket.bind(0, '127.0.0.1');
      await once(socket, 'listening');
      return { kind, socket };
    }));
    return new Player(ffmpeg, clip, sockets);
  }

  constructor(ffmpeg, clip, sockets) {
    super();
    this.setMaxListeners(0);
    this.sockets = sockets;
    const outputs = sockets.flatMap(({ kind, socket }) => {
      // FFmpeg sends its RTCP to the port above, where nobody listens.
      const target = `rtp://127.0.0.1:${socket.address().port}?pkt_size=1200`;
      return ['-map', `0:${kind[0]}`, '-c', 'copy', '-f', 'rtp', target];
    });
    for (const { kind, socket } of sockets) {
      // RTCP of FFmpeg shares the port if it is told nothing else.
      socket.on('message', (packet) => { if (packet[1] < 192 || packet[1] > 223) this.emit(kind, packet); });
    }
    this.process = spawn(ffmpeg, ['-v', 'fatal', '-nostdin', '-re', '-stream_loop', '-1', '-i', clip, ...outputs], { stdio: ['ignore', 'ignore', 'inherit'] });
    process.on('exit', () => this.process.kill('SIGKILL'));
  }

  stop() {
    this.process.kill('SIGKILL');
    for (const { socket } of this.sockets) socket.close();
  }
}

/** A queue of messages, and when a channel opens and closes. */
export class Channel {
  constructor(label, send) {
    this.label = label;
    this.send = send;
    this.messages = [];
    this.takers = [];
    this.opened = new Promise((open, fail) => {
      this.open = open;
      this.fail = fail;
    });
    // Nobody may be waiting for it when it fails.
    this.opened.catch(() => {});
  }

  take(message) {
    const taker = this.takers.shift();
    if (taker) taker.done(message);
    else this.messages.push(message);
  }

  /** Nobody waits any more for what did not come. */
  forget() {
    this.takers = [];
  }

  closed(why = 'the channel closed') {
    for (const taker of this.takers.splice(0)) taker.fail(new Error(why));
    this.fail(new Error(why));
  }

  /** The next message: a Buffer or a string. */
  next() {
    if (this.messages.length > 0) return Promise.resolve(this.messages.shift());
    const message = new Promise((done, fail) => { this.takers.push({ done, fail }); });
    message.catch(() => {});
    return message;
  }
}

/** What all adapters share: channels by label, states, counters. Events: `candidate`, `offer`. */
export class Adapter extends EventEmitter {
  constructor() {
    super();
    this.channels = new Map();
    this.expected = new Map();
    this.states = [];
    this.counters = {};
    this.numbers = { video: 0, audio: 0 };
    this.lost = null;
  }

  /** The next track of a kind that comes in: `video0`, `audio1`. */
  track(kind) {
    const key = `${kind}${this.numbers[kind]}`;
    this.numbers[kind] += 1;
    this.counters[key] ??= 0;
    return key;
  }

  /** An RTP packet came in: video counts by frames, which end with a marker. */
  packet(key, marker) {
    if (key.startsWith('audio') || marker) this.counters[key] += 1;
  }

  async counts() {
    return { ...this.counters };
  }

  came(channel) {
    this.channels.set(channel.label, channel);
    this.expected.get(channel.label)?.(channel);
  }

  incoming(label) {
    const channel = this.channels.get(label);
    if (channel) return Promise.resolve(channel);
    return new Promise((come) => { this.expected.set(label, come); });
  }

  state(state) {
    this.states.push(state);
    this.emit('state', state);
    if (['closed', 'failed', 'disconnected'].includes(state)) this.vanish(`connection ${state}`);
  }

  async until(state) {
    while (!this.states.includes(state)) await once(this, 'state');
  }

  /** The first sign of the other side's end. */
  vanish(why) {
    this.lost ??= why;
    this.emit('vanish');
  }

  async gone() {
    while (!this.lost) await once(this, 'vanish');
    return this.lost;
  }

  alive() {
    return !this.lost;
  }
}

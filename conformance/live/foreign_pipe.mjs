// Pion and GStreamer as peers of foreign.mjs: programs of ours around them (pion_peer/main.go, gstreamer_peer.py), one command of JSON
// a line on their standard input, one event a line on their standard output. Both keep to the same words.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { Adapter, Channel } from './foreign_media.mjs';

/**
 * What each takes and does. `most`: the largest message. Pion closes a channel on a message that does not leave a byte free in its
 * buffer of 64 KiB. `encodes`: it has codecs of its own. `restarts`: it can restart ICE; `follows`: it takes part when we do. `silent`: its
 * end says nothing.
 */
export const FACTS = {
  pion: { most: 65_535, restarts: true, follows: true },
  gstreamer: { most: 65_536, restarts: false, follows: false, encodes: true, noEmpty: true, silent: true },
};

export class Peer extends Adapter {
  constructor({ program, player, codec = 'VP8', direction = 'sendrecv' }) {
    super();
    this.player = player;
    this.kinds = { codec, direction };
    this.sources = [];
    const [command, ...args] = program.endsWith('.py') ? ['/usr/bin/python3', program] : [program];
    this.process = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.process.on('exit', (code, signal) => {
      this.dead = `the peer's process ended (${signal ?? code})`;
      for (const { fail } of this.pending.values()) fail(new Error(this.dead));
      for (const channel of this.channels.values()) channel.closed(this.dead);
      this.vanish(this.dead);
    });
    this.process.stdin.on('error', () => {});
    this.pending = new Map();
    this.commands = 0;
    createInterface({ input: this.process.stdout }).on('line', (line) => this.take(JSON.parse(line)));
  }

  /** Resolves with its reply. */
  tell(command) {
    if (this.dead) return Promise.reject(new Error(this.dead));
    const id = this.commands += 1;
    const reply = new Promise((done, fail) => { this.pending.set(id, { done, fail }); });
    reply.catch(() => {});
    this.process.stdin.write(`${JSON.stringify({ ...command, id })}\n`);
    return reply;
  }

  take(event) {
    if (event.event === 'reply') {
      const { done, fail } = this.pending.get(event.id);
      this.pending.delete(event.id);
      if (event.error) fail(new Error(event.error));
      else done(event);
    } else if (event.event === 'candidate') {
      this.emit('candidate', event.candidate ?? null);
    } else if (event.event === 'state') {
      this.state(event.state);
    } else if (event.event === 'open') {
      const known = this.channels.get(event.label);
      const channel = known ?? this.wrap(event.label);
      channel.open();
      if (!known) this.came(channel);
    } else if (event.event === 'message') {
      this.channels.get(event.label)?.take(event.text ?? Buffer.from(event.data ?? '', 'base64'));
    } else if (event.event === 'shut') {
      this.channels.get(event.label)?.closed();
      this.vanish('its channel closed');
    } else if (event.event === 'trouble') {
      this.vanish(`an error on its bus: ${event.message}`);
    } else {
      console.error('the peer says:', event);
    }
  }

  wrap(label) {
    return new Channel(label, async (data) => {
      const message = typeof data === 'string' ? { text: data } : { data: data.toString('base64') };
      await this.tell({ do: 'send', label, ...message });
    });
  }

  source(kind) {
    if (!this.player || this.sources.some(([of]) => of === kind)) return;
    const write = (packet) => { this.tell({ do: 'rtp', kind, data: packet.toString('base64') }).catch(() => {}); };
    this.player.on(kind, write);
    this.sources.push([kind, write]);
  }

  async media(kind) {
    this.source(kind);
    await this.tell({ do: 'media', kind, ...this.kinds });
  }

  async channel(label) {
    const wrapped = this.wrap(label);
    this.channels.set(label, wrapped);
    await this.tell({ do: 'channel', label });
    return wrapped;
  }

  /** With `complete` all candidates are in it. */
  async offer({ restart = false, complete = false }) {
    return (await this.tell({ do: 'offer', restart, complete })).sdp;
  }

  async answer(sdp) {
    for (const kind of ['video', 'audio']) if (sdp.includes(`m=${kind}`)) this.source(kind);
    return (await this.tell({ do: 'answer', sdp })).sdp;
  }

  async accept(sdp) {
    await this.tell({ do: 'accept', sdp });
  }

  async candidate(candidate) {
    await this.tell({ do: 'candidate', candidate });
  }

  async counts() {
    return (await this.tell({ do: 'counts' })).counts;
  }

  async close() {
    await this.tell({ do: 'close' });
  }

  async quit() {
    for (const [kind, write] of this.sources) this.player.off(kind, write);
    this.process.kill('SIGKILL');
  }
}

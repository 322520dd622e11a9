// A file there and back over the data channel "file" (docs/signalling.md, "The file channel").
import { Sha256 } from './sha256.js';

const CHUNK = 60 * 1024;
const HIGH_WATER = 4 * 1024 * 1024;
const LOW_WATER = 1024 * 1024;

/** Sends `blob` up, asks for it back, and hashes at each end. One transfer at a time per session. */
export async function roundTrip(session, blob, name, progress = () => {}) {
  const channel = await session.channel('file');
  const inbox = new Inbox(channel);
  try {
    const sent = await upload(session, channel, blob, name, (bytes, rate) => progress('up', bytes / blob.size, rate));
    const server = await inbox.next('received');
    progress('hashes', { sent: sent.sha256, server: server.sha256 });
    channel.send(JSON.stringify({ type: 'fetch' }));
    const received = await download(inbox, (share, rate) => progress('down', share, rate));
    const equal = sent.sha256 === server.sha256 && sent.sha256 === received.sha256 && received.announced === received.sha256;
    progress('hashes', { sent: sent.sha256, server: server.sha256, back: received.sha256 });
    return { sent, server: { bytes: server.bytes, sha256: server.sha256 }, received, equal };
  } finally {
    inbox.close();
  }
}

async function upload(session, channel, blob, name, progress) {
  const chunk = Math.min(CHUNK, session.pc.sctp?.maxMessageSize || CHUNK);
  const hash = new Sha256();
  const started = performance.now();
  channel.bufferedAmountLowThreshold = LOW_WATER;
  channel.send(JSON.stringify({ type: 'file', name, size: blob.size }));
  for (let at = 0; at < blob.size; at += chunk) {
    const bytes = new Uint8Array(await blob.slice(at, at + chunk).arrayBuffer());
    hash.update(bytes);
    if (channel.bufferedAmount > HIGH_WATER) {
      await new Promise((low, fail) => {
        channel.addEventListener('bufferedamountlow', low, { once: true });
        channel.addEventListener('close', () => fail(new Error('the channel closed')), { once: true });
      });
    }
    channel.send(bytes);
    const gone = at + bytes.length - channel.bufferedAmount;
    progress(Math.max(gone, 0), (gone * 1000) / (performance.now() - started));
  }
  const sha256 = hash.hex();
  channel.send(JSON.stringify({ type: 'end', sha256 }));
  while (channel.bufferedAmount > 0 && channel.readyState === 'open') {
    await new Promise((soon) => setTimeout(soon, 50));
    const gone = blob.size - channel.bufferedAmount;
    progress(Math.max(gone, 0), (gone * 1000) / (performance.now() - started));
  }
  return { bytes: blob.size, sha256 };
}

async function download(inbox, progress) {
  const { size, name } = await inbox.next('file');
  const hash = new Sha256();
  const started = performance.now();
  const parts = [];
  let bytes = 0;
  for (;;) {
    const message = await inbox.next();
    if (message instanceof ArrayBuffer) {
      hash.update(new Uint8Array(message));
      parts.push(message);
      bytes += message.byteLength;
      progress(size ? bytes / size : 1, (bytes * 1000) / (performance.now() - started));
    } else if (message.type === 'end') {
      progress(1, (bytes * 1000) / (performance.now() - started));
      return { bytes, name, sha256: hash.hex(), announced: message.sha256, blob: new Blob(parts) };
    }
  }
}

/** The messages of a channel as something to await. */
class Inbox {
  #queue = [];
  #wake = null;
  #gone = false;

  constructor(channel) {
    this.channel = channel;
    this.take = ({ data }) => {
      this.#queue.push(typeof data === 'string' ? JSON.parse(data) : data);
      this.#wake?.();
    };
    this.end = () => { this.#gone = true; this.#wake?.(); };
    channel.addEventListener('message', this.take);
    channel.addEventListener('close', this.end);
  }

  /** The next message, or the next JSON message of that type; others before it are dropped. */
  async next(type) {
    for (;;) {
      while (this.#queue.length === 0) {
        if (this.#gone) throw new Error('the channel closed');
        await new Promise((wake) => { this.#wake = wake; });
      }
      const message = this.#queue.shift();
      if (message?.type === 'error') throw new Error(message.message);
      if (!type || message.type === type) return message;
    }
  }

  close() {
    this.channel.removeEventListener('message', this.take);
    this.channel.removeEventListener('close', this.end);
  }
}

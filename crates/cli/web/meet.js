// Files to and from another machine, which runs `antiphon send` or `antiphon recv`, or has this page open: docs/signalling.md, "Meeting",
// and what is said on the channel in src/transfer/protocol.rs. The page keeps files in memory and does not go on after a break;
// the program does both better.
import { Sha256 } from './sha256.js';

const LABEL = 'antiphon-transfer';
const PROTOCOL = 'antiphon-transfer-1';
const CHUNK = 64 * 1024;
const HIGH_WATER = 4 * 1024 * 1024;
const LOW_WATER = 1024 * 1024;
const PAGE = 200;
const LETTERS = 'abcdefghijkmnpqrstuvwxyz23456789';

/** Ten random letters, 50 bits. */
export function newCode() {
  const letters = Array.from(crypto.getRandomValues(new Uint8Array(10)), (byte) => LETTERS[byte & 31]).join('');
  return `${letters.slice(0, 5)}-${letters.slice(5)}`;
}

/** Sends `files` (File objects) to whoever comes with the same code. progress(name, bytes, total). Resolves with [{ path, sha256 }]. */
export async function sendFiles(code, files, progress = () => {}, waiting = () => {}) {
  const meeting = new Meeting(code, 'send');
  try {
    const line = await meeting.open(waiting);
    const total = files.reduce((sum, file) => sum + file.size, 0);
    const entries = files.map((file) => ({ path: file.webkitRelativePath || file.name, size: file.size }));
    for (let at = 0; at < entries.length; at += PAGE) line.say({ type: 'list', files: entries.slice(at, at + PAGE), more: at + PAGE < entries.length });
    for (;;) {
      const answer = await line.hear();
      if (answer.type === 'decline') throw new Error(`declined: ${answer.message}`);
      if (answer.type !== 'have') throw new Error('the other end does not keep to the protocol');
      if (!answer.more) break;
    }
    const hashes = [];
    let sent = 0;
    for (const [id, file] of files.entries()) {
      const hash = new Sha256();
      line.say({ type: 'begin', id, offset: 0 });
      for (let at = 0; at < file.size; at += CHUNK) {
        const bytes = new Uint8Array(await file.slice(at, at + CHUNK).arrayBuffer());
        hash.update(bytes);
        await line.room();
        line.channel.send(bytes);
        sent += bytes.length;
        progress(entries[id].path, Math.max(0, sent - line.channel.bufferedAmount), total);
      }
      hashes.push(hash.hex());
      line.say({ type: 'end', id, sha256: hashes[id] });
    }
    line.say({ type: 'done' });
    const arrived = [];
    for (;;) {
      const answer = await line.hear();
      if (answer.type === 'received') arrived.push({ path: entries[answer.id].path, sha256: hashes[answer.id] });
      else if (answer.type === 'bye') break;
    }
    if (arrived.length < files.length) throw new Error(`${files.length - arrived.length} files did not arrive`);
    progress('', total, total);
    return arrived;
  } finally {
    meeting.close();
  }
}

/** Receives from whoever sends with the same code, once agree(entries) says yes. Resolves with [{ path, sha256, blob }]. */
export async function receiveFiles(code, agree, progress = () => {}, waiting = () => {}) {
  const meeting = new Meeting(code, 'recv');
  try {
    const line = await meeting.open(waiting);
    const entries = [];
    for (;;) {
      const list = await line.hear();
      if (list.type !== 'list') throw new Error('the other end does not keep to the protocol');
      entries.push(...list.files);
      if (!list.more) break;
    }
    if (!(await agree(entries))) {
      line.say({ type: 'decline', message: 'the receiver does not want these files' });
      await line.flushed();
      throw new Error('declined');
    }
    line.say({ type: 'have', parts: [], more: false });
    const total = entries.reduce((sum, entry) => sum + entry.size, 0);
    const received = [];
    let current = null;
    let bytes = 0;
    for (;;) {
      const message = await line.hear();
      if (message instanceof ArrayBuffer) {
        if (!current || current.bytes + message.byteLength > current.entry.size) throw new Error('more bytes than the file has');
        current.hash.update(new Uint8Array(message));
        current.parts.push(message);
        current.bytes += message.byteLength;
        bytes += message.byteLength;
        progress(current.entry.path, bytes, total);
      } else if (message.type === 'begin') {
        current = { entry: entries[message.id], hash: new Sha256(), parts: [], bytes: 0 };
      } else if (message.type === 'end') {
        const sha256 = current.hash.hex();
        if (sha256 !== message.sha256 || current.bytes !== current.entry.size) {
          line.say({ type: 'failed', id: message.id, message: 'it arrived with another hash' });
        } else {
          received.push({ path: current.entry.path, sha256, blob: new Blob(current.parts) });
          line.say({ type: 'received', id: message.id });
        }
        current = null;
      } else if (message.type === 'done') {
        line.say({ type: 'bye' });
        await line.flushed();
        return received;
      }
    }
  } finally {
    meeting.close();
  }
}

/** The seat at /meet and the peer connection that comes of it. */
class Meeting {
  constructor(code, role) {
    const url = new URL(`/meet/${encodeURIComponent(code)}?role=${role}`, location.href);
    url.protocol = url.protocol.replace('http', 'ws');
    this.role = role;
    this.socket = new WebSocket(url);
    this.pc = null;
  }

  /** Resolves with the open channel; waits as long as it takes for the other end. */
  open(waiting) {
    return new Promise((opened, fail) => {
      const { socket } = this;
      let work = Promise.resolve();
      socket.onopen = () => waiting();
      socket.onerror = () => fail(new Error('no meeting place on this server'));
      socket.onclose = () => fail(new Error('the meeting place closed'));
      socket.onmessage = ({ data }) => {
        const message = JSON.parse(data);
        // One at a time: a candidate may not overtake the description before it.
        work = work.then(() => this.take(message, opened, fail)).catch(fail);
      };
    });
  }

  async take(message, opened, fail) {
    const tell = (what) => { if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(what)); };
    const ready = (channel) => {
      const line = new Line(channel);
      channel.onopen = () => opened(line);
      if (channel.readyState === 'open') opened(line);
    };
    switch (message.type) {
      case 'error':
        throw new Error(message.message);
      case 'left':
        // The end whose channel opens first leaves first. A next 'peer' begins anew.
        break;
      case 'peer': {
        this.pc?.close();
        const pc = new RTCPeerConnection();
        this.pc = pc;
        pc.onicecandidate = ({ candidate }) => tell({ type: 'candidate', candidate: candidate ? candidate.toJSON() : null });
        pc.ondatachannel = ({ channel }) => { if (channel.protocol === PROTOCOL) ready(channel); };
        pc.onconnectionstatechange = () => { if (pc.connectionState === 'failed') fail(new Error('no connection came about')); };
        if (this.role === 'send') {
          ready(pc.createDataChannel(LABEL, { protocol: PROTOCOL }));
          await pc.setLocalDescription();
          tell({ type: 'offer', sdp: pc.localDescription.sdp });
        }
        break;
      }
      case 'offer':
        await this.pc.setRemoteDescription(message);
        await this.pc.setLocalDescription();
        tell({ type: 'answer', sdp: this.pc.localDescription.sdp });
        break;
      case 'answer':
        await this.pc.setRemoteDescription(message);
        break;
      case 'candidate':
        await this.pc.addIceCandidate(message.candidate ?? undefined).catch(() => {});
        break;
      default:
    }
  }

  close() {
    this.socket.close();
    this.pc?.close();
  }
}

/** The channel's messages as something to await. */
class Line {
  #queue = [];
  #wake = null;
  #gone = false;

  constructor(channel) {
    this.channel = channel;
    channel.binaryType = 'arraybuffer';
    channel.bufferedAmountLowThreshold = LOW_WATER;
    channel.onmessage = ({ data }) => {
      this.#queue.push(typeof data === 'string' ? JSON.parse(data) : data);
      this.#wake?.();
    };
    channel.onclose = () => { this.#gone = true; this.#wake?.(); };
  }

  say(line) {
    this.channel.send(JSON.stringify(line));
  }

  async hear() {
    while (this.#queue.length === 0) {
      if (this.#gone) throw new Error('the connection broke');
      await new Promise((wake) => { this.#wake = wake; });
    }
    return this.#queue.shift();
  }

  async room() {
    while (this.channel.bufferedAmount > HIGH_WATER) {
      await new Promise((low, fail) => {
        this.channel.addEventListener('bufferedamountlow', low, { once: true });
        this.channel.addEventListener('close', () => fail(new Error('the connection broke')), { once: true });
      });
    }
  }

  /** Until what was said has gone out, and the other end has had a moment to hear it. */
  async flushed() {
    while (this.channel.bufferedAmount > 0 && this.channel.readyState === 'open') await new Promise((soon) => { setTimeout(soon, 20); });
    await new Promise((soon) => { setTimeout(soon, 500); });
  }
}

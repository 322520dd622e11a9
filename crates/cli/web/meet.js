// Files to and from another machine, which runs `antiphon send` or `antiphon recv`, or has this page open: docs/signalling.md, "Meeting",
// and what is said on the channel in src/transfer/protocol.rs. The page keeps files in memory and does not go on after a break;
// the program does both better.
import { CODE_RULE, isCode, plain, question, safePaths } from './names.js';
import { Sha256 } from './sha256.js';

const LABEL = 'antiphon-transfer';
const PROTOCOL = 'antiphon-transfer-2';
const CHUNK = 60 * 1024;
const HIGH_WATER = 4 * 1024 * 1024;
const LOW_WATER = 1024 * 1024;
// Bytes of paths in one list, and what an entry takes beside its path.
const PAGE_BYTES = 6 * 1024;
const ENTRY_BYTES = 48;
const LETTERS = 'abcdefghijkmnpqrstuvwxyz23456789';

/** Ten random letters, 50 bits. */
export function newCode() {
  for (;;) {
    const letters = Array.from(crypto.getRandomValues(new Uint8Array(10)), (byte) => LETTERS[byte & 31]).join('');
    const code = `${letters.slice(0, 5)}-${letters.slice(5)}`;
    // One in some thousands looks like a pattern.
    if (isCode(code)) return code;
  }
}

/** A list in parts that fit one message each. */
function pages(entries) {
  const parts = [[]];
  let bytes = 0;
  for (const entry of entries) {
    bytes += entry.path.length * 3 + ENTRY_BYTES;
    if (bytes > PAGE_BYTES && parts.at(-1).length > 0) {
      parts.push([]);
      bytes = entry.path.length * 3 + ENTRY_BYTES;
    }
    parts.at(-1).push(entry);
  }
  return parts;
}

const REFUSED = 'the other end does not keep to the protocol';
const isId = (id, entries) => Number.isInteger(id) && id >= 0 && id < entries.length;

/** Sends `files` (File objects) to whoever comes with the same code. progress(name, bytes, total). Resolves with [{ path, sha256 }]. */
export async function sendFiles(code, files, progress = () => {}, waiting = () => {}) {
  const meeting = new Meeting(code, 'send');
  try {
    const line = await meeting.open(waiting);
    const total = files.reduce((sum, file) => sum + file.size, 0);
    const entries = files.map((file) => ({ path: file.webkitRelativePath || file.name, size: file.size }));
    // The receiver knows what it has of this transfer by this number, which nobody guesses.
    const transfer = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
    const lists = pages(entries);
    for (const [at, part] of lists.entries()) {
      await line.room();
      line.say({ type: 'list', transfer, files: part, more: at + 1 < lists.length });
    }
    for (;;) {
      const answer = await line.hear();
      if (answer.type === 'decline') throw new Error(`declined: ${plain(answer.message)}`);
      if (answer.type !== 'have') throw new Error(REFUSED);
      if (!answer.more) break;
    }
    const hashes = [];
    const outcome = new Map();
    let gone = false;
    // What the receiver says while it is sent to.
    const listen = () => {
      for (let answer = line.heard(); answer; answer = line.heard()) {
        if (answer.type === 'decline') throw new Error(`declined: ${plain(answer.message)}`);
        else if (answer.type === 'bye') gone = true;
        else if ((answer.type === 'received' || answer.type === 'failed') && isId(answer.id, entries) && !outcome.has(answer.id)) outcome.set(answer.id, answer.type);
        else throw new Error(REFUSED);
      }
    };
    let sent = 0;
    for (const [id, file] of files.entries()) {
      const hash = new Sha256();
      line.say({ type: 'begin', id, offset: 0 });
      for (let at = 0; at < file.size && outcome.get(id) !== 'failed'; at += CHUNK) {
        listen();
        const bytes = new Uint8Array(await file.slice(at, at + CHUNK).arrayBuffer());
        hash.update(bytes);
        await line.room();
        line.channel.send(bytes);
        sent += bytes.length;
        progress(entries[id].path, Math.max(0, sent - line.channel.bufferedAmount), total);
      }
      await line.room();
      listen();
      hashes.push(hash.hex());
      if (outcome.get(id) !== 'failed') line.say({ type: 'end', id, sha256: hashes[id] });
    }
    line.say({ type: 'done' });
    for (listen(); !gone; listen()) await line.more();
    const arrived = [];
    for (const [id, { path }] of entries.entries()) if (outcome.get(id) === 'received') arrived.push({ path, sha256: hashes[id] });
    if (arrived.length < files.length) throw new Error(`${files.length - arrived.length} files did not arrive`);
    progress('', total, total);
    return arrived;
  } finally {
    meeting.close();
  }
}

/** Receives from whoever sends with the same code, once agree(question) says yes. Resolves with [{ path, sha256, blob }]. */
export async function receiveFiles(code, agree, progress = () => {}, waiting = () => {}) {
  const meeting = new Meeting(code, 'recv');
  try {
    const line = await meeting.open(waiting);
    const decline = async (message, error) => {
      line.say({ type: 'decline', message });
      await line.flushed();
      throw new Error(error);
    };
    const entries = [];
    for (let more = true; more;) {
      const list = await line.hear();
      if (list.type !== 'list' || !Array.isArray(list.files)) throw new Error(REFUSED);
      for (const entry of list.files) entries.push(entry);
      if (entries.length > 100_000) throw new Error('too many files');
      more = list.more;
    }
    let paths;
    try {
      paths = safePaths(entries);
    } catch (error) {
      await decline(error.message, `${REFUSED}: ${error.message}`);
    }
    if (!(await agree(question(entries, paths)))) await decline('the receiver does not want these files', 'declined');
    line.say({ type: 'have', parts: [], more: false });
    const total = entries.reduce((sum, entry) => sum + entry.size, 0);
    const received = [];
    // Once each: a sender that begins again and again would fill the memory with what nobody agreed to.
    const begun = new Set();
    let current = null;
    let bytes = 0;
    for (;;) {
      const message = await line.hear();
      if (message instanceof ArrayBuffer) {
        if (!current || current.bytes + message.byteLength > entries[current.id].size) throw new Error('more bytes than the file has');
        current.hash.update(new Uint8Array(message));
        current.parts.push(message);
        current.bytes += message.byteLength;
        bytes += message.byteLength;
        progress(paths[current.id], bytes, total);
      } else if (message.type === 'begin') {
        if (!isId(message.id, entries) || begun.has(message.id) || message.offset !== 0) throw new Error(REFUSED);
        begun.add(message.id);
        current = { id: message.id, hash: new Sha256(), parts: [], bytes: 0 };
      } else if (message.type === 'end') {
        if (!current || current.id !== message.id) throw new Error(REFUSED);
        const { id, hash, parts } = current;
        const sha256 = hash.hex();
        if (sha256 !== message.sha256 || current.bytes !== entries[id].size) {
          line.say({ type: 'failed', id, message: 'it arrived with another hash' });
        } else {
          received.push({ path: paths[id], sha256, blob: new Blob(parts) });
          line.say({ type: 'received', id });
        }
        current = null;
      } else if (message.type === 'skip') {
        current = null;
      } else if (message.type === 'done') {
        line.say({ type: 'bye' });
        await line.flushed();
        return received;
      } else {
        throw new Error(REFUSED);
      }
    }
  } finally {
    meeting.close();
  }
}

/** The seat at /meet and the peer connection that comes of it. */
class Meeting {
  constructor(code, role) {
    if (!isCode(code)) throw new Error(CODE_RULE);
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
        throw new Error(plain(message.message));
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
  // What was heard of it: taking the first of a long list away each time would take a step for each of the others.
  #next = 0;
  #wake = null;
  #gone = false;

  constructor(channel) {
    this.channel = channel;
    channel.binaryType = 'arraybuffer';
    channel.bufferedAmountLowThreshold = LOW_WATER;
    channel.onmessage = ({ data }) => {
      this.#queue.push(data);
      this.#wake?.();
    };
    channel.onclose = () => { this.#gone = true; this.#wake?.(); };
  }

  say(line) {
    this.channel.send(JSON.stringify(line));
  }

  /** The next message if there is one. */
  heard() {
    if (this.#next === this.#queue.length) {
      if (this.#gone) throw new Error('the connection broke');
      return null;
    }
    const data = this.#queue[this.#next];
    this.#queue[this.#next] = null;
    this.#next += 1;
    if (this.#next === this.#queue.length) {
      this.#queue = [];
      this.#next = 0;
    }
    if (typeof data !== 'string') return data;
    const message = JSON.parse(data);
    if (message === null || typeof message !== 'object') throw new Error(REFUSED);
    return message;
  }

  /** Waits for a message. */
  async more() {
    while (this.#next === this.#queue.length && !this.#gone) await new Promise((wake) => { this.#wake = wake; });
  }

  async hear() {
    await this.more();
    return this.heard();
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

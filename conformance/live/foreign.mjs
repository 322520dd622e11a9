// A foreign stack against `antiphon serve`, in everything that it can do:
//   node foreign.mjs werift|libdatachannel|pion|gstreamer http://127.0.0.1:8080 CLIP FFMPEG [PROGRAM]
// CLIP holds VP8 and Opus, which FFMPEG plays to the peers that have no encoder; PROGRAM is the peer of Pion or GStreamer.
//
// Four sessions: it offers and it answers, and in each role either side closes. The first of each role measures everything.
import { createHash, randomBytes } from 'node:crypto';
import { cell, sleep, within } from './browser.mjs';
import { SIZES, ceiling } from './kinds.mjs';
import { Player } from './foreign_media.mjs';
import { Line } from './foreign_line.mjs';

const [name, url, clip, ffmpeg, program] = process.argv.slice(2);
const FILE_BYTES = 20_000_000;
const PIECE_BYTES = 65_535;
const WATCH_MS = 4000;
/** How late the end of a connection may be noticed: far less than any timer of ICE or SCTP, far more than a round trip here. */
const CLOSE_MS = 2000;
/** A peer that has fallen silent is doubted, and then given up: when the consent of the last pair that could be used has ended. */
const SILENCE_MS = 12_000;
const CONSENT_MS = 60_000;

const adapters = {
  werift: () => import('./foreign_werift.mjs'),
  libdatachannel: () => import('./foreign_libdatachannel.mjs'),
  pion: () => import('./foreign_pipe.mjs'),
  gstreamer: () => import('./foreign_pipe.mjs'),
};
const { Peer, FACTS } = await adapters[name]();
const facts = FACTS[name];
const player = facts.encodes ? null : await Player.start(ffmpeg, clip);

const sha256 = (data) => createHash('sha256').update(data).digest('hex');

/** One session, from the first offer to the end. */
class Session {
  constructor(role) {
    this.role = role;
    this.peer = new Peer({ name, program, player });
  }

  /** libdatachannel stores the fingerprint of an answer after ICE has its credentials: on a busy machine DTLS overtakes it, and fails. */
  async connect() {
    for (this.tries = 1; ; this.tries += 1) {
      try {
        return await this.attempt();
      } catch (error) {
        if (this.tries > (facts.races ?? 0)) throw error;
        console.error(`${name} ${this.role}: try ${this.tries}: ${error.message}`);
        await this.leave();
        this.peer = new Peer({ name, program, player });
      }
    }
  }

  async attempt() {
    const { peer, role } = this;
    this.line = await Line.open(url, peer);
    this.line.send({ type: 'start', mode: 'echo', offerer: role === 'offers' ? 'browser' : 'server' });
    if (role === 'offers') {
      await peer.media('video');
      await peer.media('audio');
      this.echo = await peer.channel('echo');
      this.file = await peer.channel('file');
      await this.line.offer();
    } else {
      const channels = Promise.all(['echo', 'file'].map((label) => peer.incoming(label)));
      [this.echo, this.file] = await within(20_000, 'the channels of our offer', channels);
    }
    await within(20_000, 'the channel opens', Promise.all([this.echo.opened, this.file.opened]));
    await within(20_000, 'the connection', peer.until('connected'));
  }

  /** One message there and back. */
  async there(data, ms = 20_000) {
    const back = this.echo.next();
    await this.echo.send(data);
    try {
      return await within(ms, `${data.length} bytes come back`, back);
    } catch (error) {
      this.echo.forget();
      throw error;
    }
  }

  async messages() {
    const sizes = [...SIZES.filter((size) => size < facts.most), facts.most];
    for (const size of sizes) {
      const sent = randomBytes(size);
      if (!sent.equals(await this.there(sent))) throw new Error(`${size} bytes came back changed`);
    }
    const text = 'ÄÖÜ, 猫 and 🎈';
    const back = await this.there(text);
    if (back !== text) throw new Error(`a text came back as ${JSON.stringify(back)}`);
    // Neither werift nor GStreamer can send one: the first sends nothing, the association of the second does not survive it.
    const empty = facts.noEmpty ? '' : await this.there('');
    if (empty.length !== 0) throw new Error(`an empty text came back as ${JSON.stringify(empty)}`);
    return `1 B to ${ceiling(sizes)} equal, and texts${this.tries > 1 ? ` (connected at try ${this.tries})` : ''}`;
  }

  /** Bytes to us and bytes from us; the hashes are of what arrived. */
  async files() {
    const data = randomBytes(FILE_BYTES);
    let started = performance.now();
    await this.file.send(JSON.stringify({ type: 'file', name: 'noise.bin', size: data.length }));
    const received = this.file.next();
    for (let at = 0; at < data.length; at += PIECE_BYTES) await this.file.send(data.subarray(at, at + PIECE_BYTES));
    const hash = sha256(data);
    await this.file.send(JSON.stringify({ type: 'end', sha256: hash }));
    const answer = JSON.parse(await within(60_000, '20 MB to us', received));
    if (answer.sha256 !== hash) throw new Error(`20 MB to us: ${JSON.stringify(answer)}`);
    const up = FILE_BYTES / 1000 / (performance.now() - started);

    started = performance.now();
    const digest = createHash('sha256');
    let bytes = 0;
    let end;
    const first = this.file.next();
    await this.file.send(JSON.stringify({ type: 'fetch', size: FILE_BYTES }));
    let message = await within(20_000, 'the head of the file', first);
    if (JSON.parse(message).type !== 'file') throw new Error(`20 MB from us: ${message}`);
    await within(60_000, '20 MB from us', (async () => {
      while (end === undefined) {
        message = await this.file.next();
        if (typeof message === 'string') {
          end = JSON.parse(message);
        } else {
          digest.update(message);
          bytes += message.length;
        }
      }
    })());
    if (bytes !== FILE_BYTES || end.sha256 !== digest.digest('hex')) throw new Error(`20 MB from us: ${bytes} bytes, ${JSON.stringify(end)}`);
    const down = FILE_BYTES / 1000 / (performance.now() - started);
    return `20 MB to us and from us, equal SHA-256 (${up.toFixed(1)} and ${down.toFixed(1)} MB/s)`;
  }

  /** What it sends goes through us and comes back to it. */
  async count(ms) {
    const before = await this.peer.counts();
    await sleep(ms);
    const after = await this.peer.counts();
    return Object.fromEntries(Object.entries(after).map(([track, n]) => [track, n - (before[track] ?? 0)]));
  }

  async watch() {
    const seen = await this.count(WATCH_MS);
    const server = this.line.stats;
    const value = `${seen.video0 ?? 0} frames and ${seen.audio0 ?? 0} sound packets there and back in ${WATCH_MS / 1000} s`;
    if (!(seen.video0 >= 40 && seen.audio0 >= 120)) throw new Error(`${value}; we say ${JSON.stringify(server)}`);
    return value;
  }

  /** One more sound section, offered by the peer in mid-call. */
  async renegotiate() {
    await this.peer.media('audio');
    await this.line.offer();
    await sleep(500);
    const seen = await this.count(1500);
    const value = `a third section: ${seen.audio1 ?? 0} sound packets on it, ${seen.video0 ?? 0} frames on the first`;
    if (!(seen.audio1 >= 30 && seen.video0 >= 10)) throw new Error(value);
    return value;
  }

  async restart() {
    const before = this.line.passwords();
    if (this.role === 'offers') {
      if (!facts.restarts) return this.lives('has no ICE restart');
      await this.line.offer({ restart: true });
    } else {
      const offered = this.line.next('offer');
      this.line.send({ type: 'restart' });
      try {
        await within(10_000, 'our restarting offer', offered);
      } catch (error) {
        // Who refuses keeps what it has: the old pair serves on, and our offer waits.
        if (facts.follows) throw error;
        return this.lives('refuses our restart');
      }
    }
    const after = this.line.passwords();
    const followed = after.theirs !== before.theirs && after.ours !== before.ours;
    if (!followed && facts.follows) throw new Error('the credentials are the old ones');
    return this.lives(followed ? 'new credentials' : 'keeps its credentials');
  }

  /** Data and media still flow. */
  async lives(what) {
    await sleep(1000);
    const sent = randomBytes(1200);
    if (!sent.equals(await this.there(sent))) throw new Error('data came back changed');
    const seen = await this.count(1500);
    const value = `${what}; then data, ${seen.video0 ?? 0} frames and ${seen.audio0 ?? 0} sound packets`;
    if (!(seen.video0 >= 10 && seen.audio0 >= 30)) throw new Error(value);
    return value;
  }

  /** Who is left behind notices. */
  async end(closer) {
    const started = performance.now();
    const noticed = closer === 'it closes'
      ? this.line.closed.then((why) => `our end: ${why}`)
      : this.peer.gone().then((why) => `its end: ${why}`);
    if (closer === 'it closes') await this.peer.close();
    else this.line.send({ type: 'bye' });
    // Some end without a word: their silence is all there is, and consent to send runs out (RFC 7675).
    const silent = closer === 'it closes' && facts.silent;
    const doubt = silent ? await within(SILENCE_MS, 'disconnected', this.line.until('disconnected')) : null;
    const doubted = performance.now() - started;
    const why = await within(closer === 'it closes' ? 45_000 : 15_000, 'the other side notices', noticed);
    const took = Math.round(performance.now() - started);
    const value = doubt ? `says nothing: disconnected after ${(doubted / 1000).toFixed(1)} s, over after ${(took / 1000).toFixed(1)} s` : `${took} ms, ${why}`;
    if (took > (silent ? CONSENT_MS : CLOSE_MS)) throw new Error(value);
    return value;
  }

  async leave() {
    this.line?.close();
    await this.peer.quit();
  }
}

/** Runs the steps; a step that fails is a red cell, and those that need a connection which is gone are red with the cause. */
async function run(role, steps, closer) {
  const session = new Session(role);
  let cause;
  const step = async (feature, work) => {
    if (cause) {
      if (feature) cell(name, role, feature, `not reached: ${cause}`, false);
      return;
    }
    try {
      const value = await work();
      if (feature) cell(name, role, feature, value, true);
    } catch (error) {
      console.error(`${name} ${role} ${feature ?? 'connects'}: ${error.stack}\n${session.line?.summary() ?? ''}`);
      if (feature) cell(name, role, feature, error.message, false);
      if (!feature || !session.peer.alive() || session.line?.ended) cause = `${feature ?? 'connect'}: ${error.message}`;
    }
  };
  await step(null, () => session.connect());
  for (const [feature, work] of steps) await step(feature, () => work(session));
  await step(closer, () => session.end(closer));
  await session.leave();
}

const EVERYTHING = [
  ['messages', (session) => session.messages()],
  ['20 MB each way', (session) => session.files()],
  ['media', (session) => session.watch()],
  ['renegotiation', (session) => session.renegotiate()],
  ['ICE restart', (session) => session.restart()],
];
// The two sessions of a role wait more than they work: they run beside each other.
for (const [role, first, second] of [['offers', 'it closes', 'we close'], ['answers', 'we close', 'it closes']]) {
  await Promise.all([run(role, EVERYTHING, first), run(role, [], second)]);
}
player?.stop();
process.exit();

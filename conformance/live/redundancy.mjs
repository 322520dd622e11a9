// Redundancy against losses, between us and a real browser, over a link that loses packets: node redundancy.mjs chromium PROGRAM,
// where PROGRAM is the example `echo_frames`.
//
// The link is two UDP sockets of this script, one candidate for each end; it sees headers of RTP, which are not encrypted, and loses
// packets of the payload types that it is told: of sound by the same dice in every run, of pictures one in so many.
import { createSocket } from 'node:dgram';
import { cell, launch, sleep } from './browser.mjs';
import { PATIENCE, meet, openPage, part } from './echo.mjs';

/** The chance of a packet of sound to be lost. */
const LOSS = 0.1;
/** One packet in so many of pictures is lost: never two that one repair protects, so that all come back. */
const EVERY = 25;
/** So much of the lost sound may be concealed. With one loss in ten two repetitions leave a hundredth; the rest comes late. */
const CONCEALED = 0.2;
/** How long, in milliseconds. */
const LASTS = 12_000;

const [name, program] = process.argv.slice(2);

/** Random numbers from 0 to 1, the same for the same seed (mulberry32). */
function dice(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let word = Math.imul(state ^ (state >>> 15), 1 | state);
    word = (word + Math.imul(word ^ (word >>> 7), 61 | word)) ^ word;
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Where a description says that its end can be reached by UDP over IPv4. */
function reached(sdp) {
  const found = sdp.match(/a=candidate:\S+ 1 udp \d+ (\d+\.\d+\.\d+\.\d+) (\d+) typ host/i);
  if (!found) throw new Error(`no candidate in\n${sdp}`);
  return { address: found[1], port: Number(found[2]) };
}

/** The payload types of encodings of a kind, by name; of "rtx" all. */
function payloadTypes(sdp, encoding) {
  return [...sdp.matchAll(/a=rtpmap:(\d+) ([^/\r\n]+)\/(\d+)/g)]
    .filter(([, , named, clock]) => `${named}/${clock}`.toLowerCase() === encoding.toLowerCase())
    .map(([, number]) => Number(number));
}

class Link {
  static async make(seed) {
    const link = new Link();
    link.dice = dice(seed);
    /** Of each way: payload types of which some are lost, and whether the next is, and those of which all are. */
    link.loses = { browser: { some: [], all: [] }, program: { some: [], all: [] } };
    link.lost = { browser: 0, program: 0 };
    link.ends = {};
    for (const [end, other] of [['browser', 'program'], ['program', 'browser']]) {
      const socket = createSocket('udp4');
      socket.bind(0);
      await new Promise((ready) => { socket.once('listening', ready); });
      socket.on('message', (packet, from) => {
        link.ends[end] = { address: from.address, port: from.port };
        const to = link.ends[other];
        if (to && !link.loss(end, packet)) link[other].send(packet, to.port, to.address);
      });
      link[end] = socket;
    }
    return link;
  }

  /** Whether a packet that comes from this end is lost. */
  loss(end, packet) {
    const [first, second] = packet;
    // RFC 7983: RTP and RTCP; RFC 5761 tells them apart.
    if (first < 128 || first > 191 || (second >= 192 && second <= 223)) return false;
    const { some, isLost, all } = this.loses[end];
    if (all.includes(second & 0x7f)) return true;
    const lost = some.includes(second & 0x7f) && isLost();
    this.lost[end] += lost;
    return lost;
  }

  /** The description with the link in the place of the end that made it. */
  through(end, other, description) {
    this.ends[end] = reached(description.sdp);
    const { address } = this.ends[end];
    let written = false;
    const lines = description.sdp.split('\r\n').filter((line) => {
      if (!line.startsWith('a=candidate:')) return true;
      const first = !written;
      written = true;
      return first;
    });
    const candidate = `a=candidate:1 1 udp 2130706431 ${address} ${this[other].address().port} typ host`;
    const sdp = lines.map((line) => (line.startsWith('a=candidate:') ? candidate : line)).join('\r\n');
    return { ...description, sdp };
  }

  toBrowser(description) {
    this.fromProgram = description.sdp;
    return this.through('program', 'browser', description);
  }

  toProgram(description) {
    this.fromBrowser = description.sdp;
    return this.through('browser', 'program', description);
  }

  close() {
    this.browser.close();
    this.program.close();
  }
}

/** In the page: what has come of a kind of media, and what was sent. */
const seen = async (kind) => {
  const report = [...(await window.pc.getStats()).values()];
  const inbound = report.find((s) => s.type === 'inbound-rtp' && s.kind === kind) ?? {};
  const outbound = report.find((s) => s.type === 'outbound-rtp' && s.kind === kind) ?? {};
  return {
    lost: inbound.packetsLost ?? 0, received: inbound.packetsReceived ?? 0, fec: inbound.fecPacketsReceived ?? 0,
    discarded: inbound.fecPacketsDiscarded ?? 0, concealed: (inbound.concealedSamples ?? 0) / 960,
    decoded: inbound.framesDecoded ?? 0, keyFrames: inbound.keyFramesDecoded ?? 0, plis: inbound.pliCount ?? 0, nacks: inbound.nackCount ?? 0,
    freezes: inbound.freezeCount ?? 0, sent: outbound.packetsSent ?? 0,
  };
};

const less = (after, before) => Object.fromEntries(Object.entries(after).map(([key, value]) => [key, value - before[key]]));

/** A connection with this redundancy; what `during` makes of it. */
async function connected(page, role, kinds, seed, during) {
  const link = await Link.make(seed);
  const echo = await meet(page, program, role, ['VP8', ...kinds], link);
  try {
    const started = Date.now();
    while ((await page.evaluate(seen, 'video')).decoded < 30) {
      if (Date.now() - started > PATIENCE) throw new Error(`no pictures with ${kinds}: ${echo.errors()}`);
      await sleep(200);
    }
    await during(link, echo);
    if (echo.errors().length > 0) throw new Error(echo.errors().join('; '));
  } finally {
    // First: if the browser has died the next line throws, and an open link would keep this process alive.
    link.close();
    await part(page, echo);
  }
}

/** Sound both ways, of which some is lost. */
async function sound(page, role, kinds) {
  let found;
  await connected(page, role, kinds, 1, async (link, echo) => {
    const sounds = [...payloadTypes(link.fromBrowser, 'opus/48000'), ...payloadTypes(link.fromBrowser, 'red/48000')];
    const before = [await page.evaluate(seen, 'audio'), await echo.repaired('audio')];
    for (const end of ['browser', 'program']) {
      Object.assign(link.loses[end], { some: sounds, isLost: () => link.dice() < LOSS });
    }
    await sleep(LASTS);
    for (const end of ['browser', 'program']) link.loses[end].some = [];
    await sleep(1500);
    const heard = less(await page.evaluate(seen, 'audio'), before[0]);
    found = { heard, here: less(await echo.repaired('audio'), before[1]), lost: { ...link.lost } };
  });
  return found;
}

/** Our pictures, of which some are lost and nothing comes that is sent again. */
async function pictures(page, role, kinds) {
  let found;
  await connected(page, role, kinds, 2, async (link, echo) => {
    const video = ['VP8', 'red', 'flexfec-03'].flatMap((encoding) => payloadTypes(link.fromBrowser, `${encoding}/90000`));
    const before = [await page.evaluate(seen, 'video'), await echo.repaired('video'), await echo.counts()];
    let count = 0;
    const isLost = () => {
      count += 1;
      return count % EVERY === 0;
    };
    Object.assign(link.loses.program, { some: video, isLost, all: payloadTypes(link.fromBrowser, 'rtx/90000') });
    await sleep(LASTS);
    link.loses.program.some = [];
    await sleep(1500);
    const shown = less(await page.evaluate(seen, 'video'), before[0]);
    const here = less(await echo.repaired('video'), before[1]);
    const frames = (await echo.counts()).sent - before[2].sent;
    found = { shown, here, frames, lost: link.lost.program };
  });
  return found;
}

const trials = 'WebRTC-FlexFEC-03-Advertised/Enabled/WebRTC-FlexFEC-03/Enabled/';
const { browser, close } = await launch(name, { flags: [`--force-fieldtrials=${trials}`] });
try {
  const page = await openPage(browser);
  for (const role of ['offers', 'answers']) {
    const plain = await sound(page, role, []);
    // What comes late on a busy machine is concealed too: the best of three counts.
    let red;
    for (let tries = 0; tries < 3 && !(red?.heard.concealed < red?.lost.program * CONCEALED); tries += 1) {
      red = await sound(page, role, ['red']);
    }
    const { here, heard, lost } = red;
    cell(name, role, 'RED from it', `${lost.browser} lost, ${here.recovered} came back here`,
      lost.browser > 20 && here.recovered > lost.browser * 0.75);
    cell(name, role, 'RED to it', `${lost.program} lost, ${Math.round(heard.concealed)} concealed `
      + `(without RED ${Math.round(plain.heard.concealed)} of ${plain.lost.program})`,
    lost.program > 20 && here.fecSent > 0 && heard.concealed < lost.program * CONCEALED);
    const without = await pictures(page, role, []);
    for (const [kind, feature] of [['flexfec', 'FlexFEC-03 to it'], ['ulpfec', 'ULPFEC to it']]) {
      const found = await pictures(page, role, [kind]);
      const { shown, frames } = found;
      // Chromium counts repair packets of FlexFEC alone, not those in RED.
      const counted = kind === 'flexfec' ? `${shown.fec} of ${found.here.fecSent} repair packets came, ` : '';
      cell(name, role, feature, `${found.lost} lost, ${counted}${shown.decoded} of ${frames} frames decoded `
        + `(without ${without.shown.decoded} of ${without.frames})`,
      found.lost > 10 && found.here.fecSent > 100 && (kind !== 'flexfec' || shown.fec > 100)
        && shown.decoded > frames * 0.9 && without.shown.decoded < without.frames * 0.7);
    }
  }
} catch (error) {
  console.error(error.stack);
  process.exitCode = 1;
} finally {
  await close();
}

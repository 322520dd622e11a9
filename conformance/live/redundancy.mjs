// Redundancy against losses, between us and a real browser, over a link that loses packets: node redundancy.mjs chromium PROGRAM,
// where PROGRAM is the example `echo_frames`.
//
// The link sees headers of RTP, which are not encrypted, and loses packets of the payload types that it is told: of sound by the same dice
// in every run, of pictures one in so many.
import { cell, launch, sleep } from './browser.mjs';
import { PATIENCE, meet, openPage, part } from './echo.mjs';
import { Link, isRtp } from './lossy_link.mjs';

/** The chance of a packet of sound to be lost. */
const LOSS = 0.1;
/** One packet in so many of pictures is lost: never two that one repair protects, so that all come back. */
const EVERY = 25;
/** So much of the lost sound may be concealed. With one loss in ten two repetitions leave a hundredth; the rest comes late. */
const CONCEALED = 0.2;
/** How long, in milliseconds: some 40 packets of sound are lost each way, of which a hundredth and a fifth are told apart well. */
const LASTS = 8_000;

const [name, program] = process.argv.slice(2);

/** The payload types of encodings of a kind, by name; of "rtx" all. */
function payloadTypes(sdp, encoding) {
  return [...sdp.matchAll(/a=rtpmap:(\d+) ([^/\r\n]+)\/(\d+)/g)]
    .filter(([, , named, clock]) => `${named}/${clock}`.toLowerCase() === encoding.toLowerCase())
    .map(([, number]) => Number(number));
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
  /** Of each way: which payload types some packets are lost of, and whether the next is; and the types of which all are. */
  const loses = { browser: { some: [], all: [] }, program: { some: [], all: [] } };
  const isLost = (end, packet) => {
    if (!isRtp(packet)) return false;
    const { some, all } = loses[end];
    const type = packet[1] & 0x7f;
    if (all.includes(type)) return true;
    const rule = some.find(({ types }) => types.includes(type));
    const lost = rule !== undefined && rule.isLost();
    if (lost) rule.lost += 1;
    return lost;
  };
  const link = Object.assign(await Link.make(seed, { isLost }), { loses });
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

/** Sound both ways and our pictures, of which some is lost; nothing comes that is sent again. */
async function lossy(page, role, kinds) {
  let found;
  await connected(page, role, kinds, 1, async (link, echo) => {
    const typesOf = (...encodings) => encodings.flatMap((encoding) => payloadTypes(link.fromBrowser, encoding));
    const sounds = () => ({ types: typesOf('opus/48000', 'red/48000'), isLost: () => link.dice() < LOSS, lost: 0 });
    let count = 0;
    const pictures = {
      types: typesOf('VP8/90000', 'red/90000', 'flexfec-03/90000'),
      isLost: () => {
        count += 1;
        return count % EVERY === 0;
      },
      lost: 0,
    };
    const look = async () => ({
      heard: await page.evaluate(seen, 'audio'),
      shown: await page.evaluate(seen, 'video'),
      sound: await echo.repaired('audio'),
      picture: await echo.repaired('video'),
      frames: (await echo.counts()).sent,
    });
    const before = await look();
    const [from, to] = [sounds(), sounds()];
    Object.assign(link.loses.browser, { some: [from] });
    Object.assign(link.loses.program, { some: [to, pictures], all: typesOf('rtx/90000') });
    await sleep(LASTS);
    for (const end of ['browser', 'program']) link.loses[end].some = [];
    await sleep(1500);
    const after = await look();
    found = {
      heard: less(after.heard, before.heard),
      shown: less(after.shown, before.shown),
      sound: less(after.sound, before.sound),
      picture: less(after.picture, before.picture),
      frames: after.frames - before.frames,
      lost: { from: from.lost, to: to.lost, pictures: pictures.lost },
    };
  });
  return found;
}

const trials = 'WebRTC-FlexFEC-03-Advertised/Enabled/WebRTC-FlexFEC-03/Enabled/';
const { browser, close } = await launch(name, { flags: [`--force-fieldtrials=${trials}`] });
try {
  const page = await openPage(browser);
  for (const role of ['offers', 'answers']) {
    const plain = await lossy(page, role, []);
    // What comes late on a busy machine is concealed too: the best of three counts.
    let both;
    for (let tries = 0; tries < 3 && !(both?.heard.concealed < both?.lost.to * CONCEALED); tries += 1) {
      both = await lossy(page, role, ['red', 'flexfec']);
    }
    const { sound, heard, lost } = both;
    cell(name, role, 'RED from it', `${lost.from} lost, ${sound.recovered} came back here`,
      lost.from > 20 && sound.recovered > lost.from * 0.75);
    cell(name, role, 'RED to it', `${lost.to} lost, ${Math.round(heard.concealed)} concealed `
      + `(without RED ${Math.round(plain.heard.concealed)} of ${plain.lost.to})`,
    lost.to > 20 && sound.fecSent > 0 && heard.concealed < lost.to * CONCEALED);
    for (const [found, feature] of [[both, 'FlexFEC-03 to it'], [await lossy(page, role, ['ulpfec']), 'ULPFEC to it']]) {
      const { shown, picture, frames } = found;
      // Chromium counts repair packets of FlexFEC alone, not those in RED.
      const isCounted = found === both;
      const counted = isCounted ? `${shown.fec} of ${picture.fecSent} repair packets came, ` : '';
      cell(name, role, feature, `${found.lost.pictures} lost, ${counted}${shown.decoded} of ${frames} frames decoded `
        + `(without ${plain.shown.decoded} of ${plain.frames})`,
      found.lost.pictures > 10 && picture.fecSent > 100 && (!isCounted || shown.fec > 100)
        && shown.decoded > frames * 0.9 && plain.shown.decoded < plain.frames * 0.7);
    }
  }
} catch (error) {
  console.error(error.stack);
  process.exitCode = 1;
} finally {
  await close();
}

// libwebrtc in Node (@roamhq/wrtc) against `antiphon serve`: node wrtc_peer.mjs http://127.0.0.1:8080
// As offerer and as answerer: video frames decoded, audio energy, a message echoed with equal hash; in both DTLS roles.
import { createHash, randomBytes } from 'node:crypto';
import wrtc from '@roamhq/wrtc';
import { cell, sleep, within } from './browser.mjs';
import { KINDS, SIZES, ceiling } from './kinds.mjs';
import { Signalling } from './signalling.mjs';

const PEER = 'libwebrtc (node)';
const WATCH_MS = 6000;
const MESSAGE_BYTES = 60 * 1024;
const MESSAGES = 32;

/** Counts decoded frames and the energy of decoded samples. */
function measure(pc) {
  const seen = { frames: 0, width: 0, height: 0, energy: 0 };
  pc.ontrack = ({ track }) => {
    if (track.kind === 'video') {
      const sink = new wrtc.nonstandard.RTCVideoSink(track);
      sink.onframe = ({ frame }) => {
        seen.frames += 1;
        seen.width = frame.width;
        seen.height = frame.height;
      };
    } else {
      const sink = new wrtc.nonstandard.RTCAudioSink(track);
      sink.ondata = ({ samples }) => {
        for (const s of samples) seen.energy += (s / 32768) ** 2 / samples.length;
      };
    }
  };
  return seen;
}

/** Sends random messages on an echo channel and compares what comes back. */
async function echoes(channel) {
  channel.binaryType = 'arraybuffer';
  if (channel.readyState !== 'open') {
    await within(20_000, 'data channel open', new Promise((open) => { channel.onopen = open; }));
  }
  const hashes = (list) => createHash('sha256').update(list.join()).digest('hex');
  const sent = [];
  const received = [];
  const all = new Promise((done) => {
    channel.onmessage = ({ data }) => {
      received.push(createHash('sha256').update(Buffer.from(data)).digest('hex'));
      if (received.length === MESSAGES) done();
    };
  });
  for (let n = 0; n < MESSAGES; n += 1) {
    const message = randomBytes(MESSAGE_BYTES);
    sent.push(createHash('sha256').update(message).digest('hex'));
    channel.send(message);
  }
  await within(30_000, 'echoed messages', all);
  return { bytes: MESSAGES * MESSAGE_BYTES, equal: hashes(sent) === hashes(received) };
}

/** The largest message that it takes and announces. */
const MOST = 262144;

/** Every kind of channel, messages of every size that it takes. */
async function kinds(pc, signalling, role) {
  const sizes = SIZES.filter((size) => size <= MOST);
  for (const [kind, init] of Object.entries(KINDS)) {
    const channel = pc.createDataChannel(kind, init);
    channel.binaryType = 'arraybuffer';
    // On a running association a channel may be open at once.
    if (channel.readyState !== 'open') await within(20_000, `${kind} open`, new Promise((open) => { channel.onopen = open; }));
    let equal = true;
    for (const size of sizes) {
      const sent = randomBytes(size);
      const echoed = new Promise((done) => { channel.onmessage = ({ data }) => done(Buffer.from(data)); });
      channel.send(sent);
      equal &&= sent.equals(await within(20_000, `${kind}, ${size} bytes`, echoed));
    }
    channel.close();
    cell(PEER, role, kind, `1 B to ${ceiling(sizes)} ${equal ? 'equal' : 'UNEQUAL'}`, equal);
  }
  await signalling.until('sctp');
  cell(PEER, role, 'chunks', signalling.stats.sctp, signalling.stats.sctp === 'DATA');
}

/** What was negotiated, by our statistics and by its own. */
async function security(pc, signalling, role, activeOffers) {
  const client = (role === 'answers') !== activeOffers;
  const server = await signalling.secured();
  const own = [...(await pc.getStats()).values()].find((s) => s.type === 'transport') ?? {};
  const theirs = [own.tlsVersion, own.dtlsCipher, own.tlsGroup, own.srtpCipher].map((value) => value ?? '-').join(', ');
  const ok = server.dtls === 'DTLS 1.2' && Boolean(server.group && server.srtp) && server.dtls_role === (client ? 'server' : 'client')
    && (!own.tlsVersion || own.tlsVersion.toUpperCase() === 'FEFD') && (!own.dtlsCipher || own.dtlsCipher === server.cipher);
  cell(PEER, role, `DTLS ${client ? 'client' : 'server'}`, `${server.dtls}, ${server.group}, ${server.cipher}, ${server.srtp}; it says: ${theirs}`, ok);
}

async function session(url, role, activeOffers) {
  const pc = new wrtc.RTCPeerConnection();
  const seen = measure(pc);
  const signalling = await Signalling.connect(url, pc, { activeOffers });
  let channel;
  if (role === 'offers') {
    pc.addTransceiver('video', { direction: 'recvonly' });
    pc.addTransceiver('audio', { direction: 'recvonly' });
    channel = pc.createDataChannel('echo');
    await signalling.offer();
  } else {
    const incoming = new Promise((open) => {
      pc.ondatachannel = (event) => { if (event.channel.label === 'echo') open(event.channel); };
    });
    signalling.askForOffer();
    channel = await within(20_000, 'incoming data channel', incoming);
  }
  const { bytes, equal } = await echoes(channel);
  await security(pc, signalling, role, activeOffers);
  if (activeOffers) {
    // The media was measured already.
    pc.close();
    signalling.close();
    return;
  }
  await kinds(pc, signalling, role);
  const [framesBefore, energyBefore] = [seen.frames, seen.energy];
  await sleep(WATCH_MS);
  const frames = seen.frames - framesBefore;
  const energy = seen.energy - energyBefore;
  cell(PEER, role, 'video', `${frames} frames of ${seen.width}x${seen.height} in ${WATCH_MS / 1000} s`, frames >= 100);
  cell(PEER, role, 'audio', `energy ${energy.toFixed(2)}`, energy > 0.01);
  cell(PEER, role, 'data', `${bytes} bytes, ${equal ? 'equal' : 'UNEQUAL'} hash`, equal);
  pc.close();
  signalling.close();
}

const url = process.argv[2];
for (const role of ['offers', 'answers']) {
  for (const activeOffers of [false, true]) {
    await session(url, role, activeOffers).catch((error) => {
      console.error(`${PEER} ${role}: ${error.stack}`);
      process.exitCode = 1;
    });
  }
}
process.exit();

// Data channels of a real browser with `antiphon serve --max-message 16777216`:
//   node channels.mjs chromium|chromium-idata|firefox http://127.0.0.1:8080 PID
// Every kind of channel echoes messages of every size that the browser takes; a thousand channels open and close ten times
// (PID is the server's, whose memory is watched); with Chromium the rate each way, beside that between two Chromiums.
import { readFile } from 'node:fs/promises';
import { cell, launch, within } from './browser.mjs';
import { KINDS, MANY, ROUNDS, SIZES, ceiling } from './kinds.mjs';

const [peer, url, pid] = process.argv.slice(2);
const name = peer.split('-')[0];
const INTERLEAVED = peer === 'chromium-idata';
// Chromium knows I-DATA, and leaves it off; Firefox has it on.
const TRIALS = ['--force-fieldtrials=WebRTC-DataChannelMessageInterleaving/Enabled/'];
const CHUNKS = peer === 'chromium' ? 'DATA' : 'I-DATA';
const ROW = INTERLEAVED ? 'chromium (I-DATA)' : peer;
const RATE_BYTES = 48 * 1024 * 1024;
/** What a server's memory may grow by from the second round of a thousand channels to the last. */
const MAX_GROWTH_KIB = 16 * 1024;

const own = { flags: INTERLEAVED ? TRIALS : [] };
const { browser, close } = await launch(name, own);

async function open(offerer) {
  const page = await browser.newPage();
  page.on('pageerror', (error) => console.error(`${ROW} ${offerer}: page error: ${error.message}`));
  await page.goto(url, { waitUntil: 'load' });
  await within(30_000, 'page', page.waitForFunction(() => window.antiphon?.ready));
  await within(40_000, 'data', page.evaluate((options) => window.antiphon.data(options), { offerer }));
  return page;
}

/** Messages of every size there and back on one new channel; in the page. */
async function echoAll(init, sizes) {
  const channel = window.antiphon.session.pc.createDataChannel(`kind ${JSON.stringify(init)}`, init);
  channel.binaryType = 'arraybuffer';
  await new Promise((open, fail) => { channel.onopen = open; channel.onerror = () => fail(new Error('the channel failed')); });
  let bytes = 0;
  for (const size of sizes) {
    const sent = new Uint8Array(size);
    for (let at = 0; at < size; at += 65536) crypto.getRandomValues(sent.subarray(at, Math.min(at + 65536, size)));
    const back = await new Promise((done, fail) => {
      channel.onmessage = ({ data }) => done(new Uint8Array(data));
      channel.onclose = () => fail(new Error(`the channel closed at ${size} bytes`));
      channel.send(sent);
    });
    if (back.length !== size || !back.every((byte, at) => byte === sent[at])) return { bytes, equal: false, size };
    bytes += size;
  }
  channel.onclose = null;
  const reliable = { ordered: channel.ordered, maxRetransmits: channel.maxRetransmits, maxPacketLifeTime: channel.maxPacketLifeTime };
  channel.close();
  return { bytes, equal: true, reliable };
}

async function kinds(page, role) {
  const { limit, told } = await page.evaluate(() => {
    const { pc } = window.antiphon.session;
    return { limit: pc.sctp.maxMessageSize, told: Number(/a=max-message-size:(\d+)/.exec(pc.localDescription.sdp)?.[1] ?? 65536) };
  });
  // Firefox keeps larger ones in its own queue for ever, whoever the other end is, itself included.
  const kept = name === 'firefox' ? 8 * 1024 * 1024 : Infinity;
  const most = Math.min(limit || Infinity, told || Infinity, kept);
  const sizes = SIZES.filter((size) => size <= most);
  for (const [kind, init] of Object.entries(KINDS)) {
    const { bytes, equal } = await within(60_000, kind, page.evaluate(echoAll, init, sizes));
    cell(ROW, role, kind, `1 B to ${ceiling(sizes)}, ${bytes} bytes ${equal ? 'equal' : 'UNEQUAL'}`, equal);
  }
  const sctp = await within(10_000, 'a report', page.evaluate(async () => {
    const { session } = window.antiphon;
    while (!session.server?.sctp) await new Promise((fresh) => session.addEventListener('stats', fresh, { once: true }));
    return session.server.sctp;
  }));
  cell(ROW, role, 'chunks', sctp, sctp === CHUNKS);
}

/** A thousand channels: each says its number and hears it; then all close. In the page; resolves with the identifiers. */
async function thousand(count) {
  const { pc } = window.antiphon.session;
  const channels = Array.from({ length: count }, (_, n) => pc.createDataChannel(`number ${n}`));
  const ids = await Promise.all(channels.map((channel, n) => new Promise((done, fail) => {
    channel.onopen = () => channel.send(String(n));
    channel.onmessage = ({ data }) => (data === String(n) ? done(channel.id) : fail(new Error(`${n} heard ${data}`)));
    channel.onclose = () => fail(new Error(`channel ${n} closed`));
  })));
  // A hundred at a time: Chromium puts all streams that it is to reset into one request, and one of more than 578 is larger than its own
  // largest packet (it logs "SCTP seems to have made a packet that is bigger than its official MTU"): then it closes none any more.
  // With 500 at a time it did well; Firefox, on a busy machine, once closed none any more either.
  for (let at = 0; at < count; at += 100) {
    await Promise.all(channels.slice(at, at + 100).map((channel) => new Promise((done) => {
      channel.onclose = done;
      channel.close();
    })));
  }
  return ids;
}

/** Resident memory of the server, in KiB. */
async function memory() {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)[1]);
}

async function many(page, role) {
  const seen = new Set();
  const started = Date.now();
  let early;
  for (let round = 0; round < ROUNDS; round += 1) {
    const ids = await within(60_000, `round ${round} of ${MANY} channels`, page.evaluate(thousand, MANY));
    if (new Set(ids).size !== MANY) throw new Error('two channels with one identifier');
    for (const id of ids) seen.add(id);
    if (round === 1) early = await memory();
  }
  const grown = (await memory()) - early;
  const seconds = (Date.now() - started) / 1000;
  cell(ROW, role, `${MANY} channels, ${ROUNDS} times`,
    `${ROUNDS * MANY} echoed and closed, ${seen.size} identifiers, ${seconds.toFixed(1)} s; our memory ${grown < 0 ? '' : '+'}${(grown / 1024).toFixed(1)} MiB`,
    seen.size < 2 * MANY && grown < MAX_GROWTH_KIB);
}

/** What both rates need, put into a page (which allows no evaluation of strings). */
const prepare = (page) => page.evaluate(() => {
  /** Sends that many bytes in messages of 64 KiB. */
  window.pour = async (channel, bytes) => {
    const message = new Uint8Array(65536).fill(7);
    channel.bufferedAmountLowThreshold = 1 << 20;
    for (let sent = 0; sent < bytes; sent += message.length) {
      if (channel.bufferedAmount > 4 << 20) await new Promise((low) => { channel.onbufferedamountlow = low; });
      channel.send(message);
    }
  };
  /** Our description with all candidates. */
  window.describe = async (pc) => {
    await pc.setLocalDescription();
    while (pc.iceGatheringState !== 'complete') await new Promise((soon) => setTimeout(soon, 20));
    return pc.localDescription.sdp;
  };
});

/** To the server and from it, in MB/s. */
function rates(page) {
  return page.evaluate(async (bytes) => {
    const channel = window.antiphon.session.pc.createDataChannel('file');
    channel.binaryType = 'arraybuffer';
    await new Promise((open) => { channel.onopen = open; });
    const said = (type) => new Promise((done, fail) => {
      channel.onmessage = ({ data }) => {
        if (typeof data !== 'string') return;
        const reply = JSON.parse(data);
        if (reply.type === 'error') fail(new Error(reply.message));
        if (reply.type === type) done(reply);
      };
    });
    let began = performance.now();
    channel.send(JSON.stringify({ type: 'file', name: 'rate', size: bytes }));
    const received = said('received');
    await window.pour(channel, bytes);
    channel.send(JSON.stringify({ type: 'end', sha256: '' }));
    const upped = (await received).bytes;
    const up = bytes / (performance.now() - began) / 1000;
    began = performance.now();
    let came = 0;
    const ended = new Promise((done) => {
      channel.onmessage = ({ data }) => {
        if (typeof data !== 'string') came += data.byteLength;
        else if (JSON.parse(data).type === 'end') done();
      };
    });
    channel.send(JSON.stringify({ type: 'fetch' }));
    await ended;
    const down = came / (performance.now() - began) / 1000;
    channel.close();
    return { up, down, whole: came === bytes && upped === bytes };
  }, RATE_BYTES);
}

/** From one Chromium to another, in MB/s. */
async function between(page) {
  const second = await launch(name, own);
  try {
    const far = await second.browser.newPage();
    await far.goto(url, { waitUntil: 'load' });
    await prepare(far);
    const offer = await page.evaluate(() => {
      window.pc = new RTCPeerConnection();
      window.channel = window.pc.createDataChannel('rate');
      window.isOpen = new Promise((open) => { window.channel.onopen = open; });
      return window.describe(window.pc);
    });
    const answer = await far.evaluate(async (sdp, bytes) => {
      window.pc = new RTCPeerConnection();
      window.pc.ondatachannel = ({ channel }) => {
        let came = 0;
        channel.binaryType = 'arraybuffer';
        channel.onmessage = ({ data }) => {
          came += data.byteLength;
          if (came === bytes) channel.send('whole');
        };
      };
      await window.pc.setRemoteDescription({ type: 'offer', sdp });
      return window.describe(window.pc);
    }, offer, RATE_BYTES);
    return await within(60_000, 'between two Chromiums', page.evaluate(async (sdp, bytes) => {
      await window.pc.setRemoteDescription({ type: 'answer', sdp });
      await window.isOpen;
      const whole = new Promise((done) => { window.channel.onmessage = done; });
      const began = performance.now();
      await window.pour(window.channel, bytes);
      await whole;
      const rate = bytes / (performance.now() - began) / 1000;
      window.pc.close();
      return rate;
    }, answer, RATE_BYTES));
  } finally {
    await second.close();
  }
}

try {
  for (const offerer of INTERLEAVED ? ['browser'] : ['browser', 'server']) {
    const role = offerer === 'browser' ? 'offers' : 'answers';
    const page = await open(offerer);
    await kinds(page, role);
    // Identifiers are even for a DTLS client and odd for a server: a thousand of each kind.
    if (!INTERLEAVED) await many(page, role);
    if (name === 'chromium' && role === 'offers') {
      const { up, down, whole } = await prepare(page).then(() => within(120_000, 'rates', rates(page)));
      const beside = await between(page);
      const [toUs, fromUs, theirs] = [up, down, beside].map((rate) => `${rate.toFixed(1)} MB/s`);
      cell(ROW, role, 'MB/s', `to us ${toUs}, from us ${fromUs}, Chromium to Chromium ${theirs}`, whole);
    }
    await page.evaluate(() => window.antiphon.stop());
    await page.close();
  }
} catch (error) {
  console.error(error.stack);
  process.exitCode = 1;
} finally {
  await close();
}

// Layers of a publisher, chosen for a watcher: node layers.mjs http://127.0.0.1:8080 PROGRAM
// A browser publishes simulcast or SVC by WHIP, or PROGRAM (`antiphon`) its pattern in several sizes; a Chromium watches by WHEP, and the
// layers are switched down and up while it looks.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cell, launch, sleep, within } from './browser.mjs';

const [url, program] = process.argv.slice(2);

const SIMULCAST = [
  { rid: 'low', scaleResolutionDownBy: 4, maxBitrate: 80_000 },
  { rid: 'mid', scaleResolutionDownBy: 2, maxBitrate: 200_000 },
  { rid: 'high', maxBitrate: 500_000 },
];
const WAYS = [
  { peer: 'chromium', role: 'VP8 simulcast', codec: 'video/VP8', encodings: SIMULCAST, layers: 3, size: [960, 544] },
  { peer: 'chromium', role: 'VP9 L3T3_KEY', codec: 'video/VP9', encodings: [{ scalabilityMode: 'L3T3_KEY', maxBitrate: 700_000 }], layers: 3, size: [960, 544] },
  { peer: 'chromium', role: 'AV1 L2T2', codec: 'video/AV1', encodings: [{ scalabilityMode: 'L2T2', maxBitrate: 500_000 }], layers: 2, size: [640, 360] },
  { peer: 'firefox', role: 'VP8 simulcast', codec: 'video/VP8', encodings: SIMULCAST, layers: 3, size: [960, 544] },
  { peer: 'antiphon', role: 'VP8, 3 sizes', codec: 'video/VP8', layers: 3 },
  { peer: 'antiphon', role: 'VP8, 2 sizes', codec: 'video/VP8', layers: 2 },
];

/** Publishes a moving picture; gives the path of the session. Runs in the page. */
async function publish(endpoint, { codec, encodings, size: [width, height] }) {
  const canvas = Object.assign(document.createElement('canvas'), { width, height });
  const brush = canvas.getContext('2d');
  let step = 0;
  setInterval(() => {
    step += 1;
    brush.fillStyle = `hsl(${step % 360} 60% 50%)`;
    brush.fillRect(0, 0, width, height);
    brush.fillStyle = 'white';
    brush.fillRect((step * 7) % width, (step * 5) % height, 120, 90);
    brush.fillText(String(step), 20, 20);
  }, 33);
  const [track] = canvas.captureStream(30).getVideoTracks();
  const pc = new RTCPeerConnection();
  const transceiver = pc.addTransceiver(track, { direction: 'sendonly', sendEncodings: encodings });
  const codecs = RTCRtpSender.getCapabilities('video').codecs.filter(({ mimeType }) => mimeType === codec || mimeType === 'video/rtx');
  if (transceiver.setCodecPreferences) transceiver.setCodecPreferences(codecs);
  await pc.setLocalDescription();
  await new Promise((done) => {
    if (pc.iceGatheringState === 'complete') done();
    pc.addEventListener('icegatheringstatechange', () => pc.iceGatheringState === 'complete' && done());
  });
  const created = await fetch(endpoint, { method: 'POST', headers: { 'content-type': 'application/sdp' }, body: pc.localDescription.sdp });
  if (created.status !== 201) throw new Error(`WHIP: ${created.status} ${await created.text()}`);
  await pc.setRemoteDescription({ type: 'answer', sdp: await created.text() });
  window.publishing = pc;
  return created.headers.get('location');
}

/** Watches, and notes the time of each picture; gives the path of the session. Runs in the page. */
async function watch(endpoint, { codec }) {
  const pc = new RTCPeerConnection();
  const transceiver = pc.addTransceiver('video', { direction: 'recvonly' });
  // Of AV1 with several spatial layers Chromium shows nothing without, and it does not offer to take them by itself.
  if (codec === 'video/AV1') {
    const extensions = transceiver.getHeaderExtensionsToNegotiate();
    extensions.find(({ uri }) => uri.includes('dependency-descriptor')).direction = 'sendrecv';
    transceiver.setHeaderExtensionsToNegotiate(extensions);
  }
  const video = Object.assign(document.createElement('video'), { muted: true, autoplay: true });
  document.body.replaceChildren(video);
  pc.ontrack = ({ track }) => { video.srcObject = new MediaStream([track]); };
  window.shown = [];
  const note = (now, { width, height }) => {
    window.shown.push({ now, width, height });
    video.requestVideoFrameCallback(note);
  };
  video.requestVideoFrameCallback(note);
  await pc.setLocalDescription();
  await new Promise((done) => {
    if (pc.iceGatheringState === 'complete') done();
    pc.addEventListener('icegatheringstatechange', () => pc.iceGatheringState === 'complete' && done());
  });
  const created = await fetch(endpoint, { method: 'POST', headers: { 'content-type': 'application/sdp' }, body: pc.localDescription.sdp });
  if (created.status !== 201) throw new Error(`WHEP: ${created.status} ${await created.text()}`);
  await pc.setRemoteDescription({ type: 'answer', sdp: await created.text() });
  window.watching = pc;
  return created.headers.get('location');
}

/** What the watcher counts. Runs in the page. */
async function inbound() {
  const report = await window.watching.getStats();
  const { framesDecoded, frameHeight, freezeCount, totalFreezesDuration, pliCount, framesDropped } =
    [...report.values()].find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video') ?? {};
  return { framesDecoded, frameHeight, freezeCount, totalFreezesDuration, pliCount, framesDropped };
}

async function until(ms, what, check) {
  const started = Date.now();
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() - started > ms) throw new Error(`${what}: not within ${ms / 1000} s`);
    await sleep(50);
  }
}

/** A browser's page that publishes, or our program: the path of its session, if it tells, and how it ends. */
async function publishing(way, publisher, name) {
  const endpoint = `${url}/whip/${name}`;
  if (way.peer === 'antiphon') {
    const own = spawn(program, ['pattern', endpoint, '--layers', String(way.layers)], { stdio: ['ignore', 'ignore', 'inherit'] });
    const ended = once(own, 'exit');
    const end = async () => {
      own.kill('SIGINT');
      await ended;
    };
    return { end };
  }
  const page = await publisher.newPage();
  await page.goto(url);
  const path = await within(20_000, 'WHIP', page.evaluate(publish, endpoint, way));
  return { path, end: () => page.close() };
}

async function run(way, publisher, watcher) {
  const { peer, role } = way;
  const name = `layers-${process.pid}-${peer}-${role}`.toLowerCase().replaceAll(/[ ,]+/g, '-');
  const told = async (path) => (await (await fetch(`${url}${path}/layers`)).json())[0];
  const choose = async (path, choice) => {
    const chosen = await fetch(`${url}${path}/layers`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(choice) });
    if (chosen.status !== 204) throw new Error(`choice: ${chosen.status} ${await chosen.text()}`);
  };
  const from = await publishing(way, publisher, name);
  const to = await watcher.newPage();
  try {
    await switched(way, { name, from, to, told, choose });
  } finally {
    await to.close();
    await from.end();
  }
}

async function switched(way, { name, from, to, told, choose }) {
  const { peer, role } = way;
  let track;
  const flowing = (path) => async () => {
    track = await told(path);
    return track?.layers.filter(({ flows, height }) => flows && height).length === way.layers && track;
  };
  const flow = async (path) => {
    try {
      return await until(15_000, 'layers', flowing(path));
    } catch (error) {
      cell(peer, role, 'layers', `${error.message}: ${JSON.stringify(track)}`, false);
      return undefined;
    }
  };
  if (from.path && !(await flow(from.path))) return;
  await to.goto(url);
  const comes = () => to.evaluate(watch, `${url}/whep/${name}`, way).catch((error) => {
    // Our program says nobody when its session stands.
    if (from.path || !/WHEP: (404|503)/.test(error.message)) throw error;
    return undefined;
  });
  const watching = await until(20_000, 'WHEP', comes);
  if (!from.path && !(await flow(watching))) return;
  const heightIs = (height) => async () => (await to.evaluate(inbound)).frameHeight === height;
  const heights = track.layers.map(({ height }) => height);
  const top = way.layers - 1;
  await until(15_000, 'the highest layer at first', heightIs(heights[top]));
  await sleep(1000);
  const before = await to.evaluate(() => {
    window.shown.length = 0;
    return null;
  }).then(() => to.evaluate(inbound));
  const took = [];
  for (const layer of way.layers === 3 ? [0, 1, 2, 0, 2] : [0, 1, 0, 1]) {
    const started = Date.now();
    await choose(watching, { layer });
    try {
      await until(6000, `layer ${layer}`, heightIs(heights[layer]));
    } catch (error) {
      cell(peer, role, 'switched', `${error.message}: ${JSON.stringify(await told(watching))}`, false);
      return;
    }
    took.push(Date.now() - started);
    await sleep(500);
  }
  const { gaps, seen } = await to.evaluate(() => {
    const { shown } = window;
    const gaps = shown.slice(1).map(({ now }, index) => now - shown[index].now);
    return { gaps, seen: [...new Set(shown.map(({ height }) => height))] };
  });
  const after = await to.evaluate(inbound);
  track = await told(from.path ?? watching);
  const counted = track.layers.map(({ rid, spatial, packets, bps }) => `${rid ?? `S${spatial}`} ${packets.join('+')} packets ${Math.round(bps.at(-1) / 1000)} kbit/s`);
  cell(peer, role, 'layers', counted.join(', '), track.layers.every(({ packets }) => packets.every((count) => count > 0)));
  cell(peer, role, 'switched', `${heights.join('/')} lines, in ${took.join(', ')} ms`, heights.every((height) => seen.includes(height)));
  const longest = Math.round(Math.max(...gaps));
  const freezes = after.freezeCount - before.freezeCount;
  const frozen = Math.round(1000 * (after.totalFreezesDuration - before.totalFreezesDuration));
  cell(peer, role, 'longest gap', `${longest} ms of ${gaps.length}, ${freezes} freezes of ${frozen} ms`, longest <= 300 && frozen <= 300);
  // Fewer frames of the same picture, where the encoder makes temporal layers.
  const temporal = track.layers[top].bps.length;
  if (temporal > 1) {
    const rate = async () => {
      const first = await to.evaluate(inbound);
      await sleep(1500);
      return ((await to.evaluate(inbound)).framesDecoded - first.framesDecoded) / 1.5;
    };
    const whole = await rate();
    await choose(watching, { temporal: 0 });
    await sleep(300);
    const few = await rate();
    await choose(watching, {});
    await sleep(700);
    const again = await rate();
    const figures = [whole, few, again].map((fps) => fps.toFixed(0)).join(', ');
    cell(peer, role, 'fewer frames', `${figures} a second with ${temporal} temporal layers`, few < 0.7 * whole && again > 1.3 * few);
  } else {
    cell(peer, role, 'fewer frames', 'no temporal layers', true);
  }
}

const browsers = {};
try {
  browsers.chromium = await launch('chromium');
  const watcher = browsers.watcher = await launch('chromium');
  for (const way of WAYS.filter(({ role, peer }) => !process.argv[4] || `${peer} ${role}`.includes(process.argv[4]))) {
    if (way.encodings) browsers[way.peer] ??= await launch(way.peer);
    await within(60_000, way.role, run(way, browsers[way.peer]?.browser, watcher.browser)).catch((error) => {
      console.error(error.stack);
      process.exitCode = 1;
    });
  }
} finally {
  for (const one of Object.values(browsers)) await one.close();
}

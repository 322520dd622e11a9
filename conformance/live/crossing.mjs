// Publishers (WHIP) and watchers (WHEP) of different makes, each with each, through `antiphon serve`:
//   node crossing.mjs http://127.0.0.1:8080 FFMPEG H264_CLIP GSTREAMER_PEER
// Rows: publisher and codec; columns: watchers. Frames are decoded (browsers) or complete (werift) at the far end. A watcher that has
// no codec in common with the publisher must be refused with a 4xx that says so.
//
// With `ffmpeg` as a fifth argument, only that publisher, for longer than consent to send lasts (RFC 7675).
import { spawn } from 'node:child_process';
import { cell, launch, sleep, within } from './browser.mjs';
import { FACTS, Peer as Libdatachannel } from './foreign_libdatachannel.mjs';
import { Peer as Gstreamer } from './foreign_pipe.mjs';
import { Player } from './foreign_media.mjs';
import { Peer as Werift } from './foreign_werift.mjs';

const [url, ffmpeg, clip, gstreamer, only] = process.argv.slice(2);
const WATCH_MS = 3000;
/** As long as consent to send lasts, and some more. */
const LONG_MS = 36_000;
const LEAST_FRAMES = 15;
const { races } = FACTS.libdatachannel;

/** Each publisher has a stream of its own name. */
const streamOf = (name) => ({ whip: `${url}/whip/${name}`, whep: `${url}/whep/${name}` });

/** An offer there, the answer back; a refusal has its status and what it says. */
async function post(endpoint, sdp) {
  const response = await fetch(endpoint, { method: 'POST', body: sdp, headers: { 'content-type': 'application/sdp' } });
  const body = await response.text();
  if (response.status !== 201) throw Object.assign(new Error(`${response.status} ${body.trim().slice(0, 160)}`), { status: response.status, body });
  return { sdp: body, resource: new URL(response.headers.get('location'), endpoint).href };
}

const remove = (resource) => fetch(resource, { method: 'DELETE' }).catch(() => {});

/** A peer of foreign.mjs publishes what it offers, all at once. */
async function publish(peer, { whip }, edit = (sdp) => sdp) {
  await peer.media('audio');
  await peer.media('video');
  const { sdp, resource } = await post(whip, edit(await peer.offer({ complete: true })));
  try {
    await peer.accept(sdp);
    await within(15_000, 'the publisher connects', peer.until('connected'));
  } catch (error) {
    await remove(resource);
    await peer.quit();
    throw error;
  }
  return async () => {
    await remove(resource);
    await peer.quit();
  };
}

/** As OBS writes it (libdatachannel too): ICE and DTLS for the whole session, not for each section. */
function sessionLevel(sdp) {
  const lines = sdp.split('\r\n');
  const shared = (line) => /^a=(ice-ufrag|ice-pwd|setup|ice-options|fingerprint):/.test(line);
  const first = lines.findIndex((line) => line.startsWith('m='));
  const attributes = [...new Set(lines.filter(shared))];
  const rest = (line) => !shared(line);
  return [...lines.slice(0, first).filter(rest), ...attributes, ...lines.slice(first).filter(rest)].join('\r\n');
}

let player;
async function obs(stream) {
  player ??= await Player.start(ffmpeg, clip);
  for (let tries = 1; ; tries += 1) {
    try {
      return await publish(new Libdatachannel({ name: 'obs', player, codec: 'H264', direction: 'SendOnly' }), stream, sessionLevel);
    } catch (error) {
      // Its fault of foreign.mjs: DTLS overtakes the fingerprint on a busy machine.
      if (error.status || tries > races) throw error;
      console.error(`OBS-like, try ${tries}: ${error.message}`);
    }
  }
}

async function byFfmpeg({ whip, whep }) {
  const input = ['-re', '-f', 'lavfi', '-i', 'testsrc=size=320x240:rate=25', '-f', 'lavfi', '-i', 'sine=frequency=440:sample_rate=48000'];
  const video = ['-pix_fmt', 'yuv420p', '-c:v', 'libx264', '-profile:v', 'baseline', '-preset', 'ultrafast', '-tune', 'zerolatency', '-g', '25', '-bf', '0'];
  const child = spawn(ffmpeg, ['-v', 'error', '-nostdin', ...input, ...video, '-c:a', 'libopus', '-ac', '2', '-f', 'whip', whip], { stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = new Promise((end) => { child.on('exit', (code, signal) => end(`ffmpeg ended (${signal ?? code})`)); });
  let over;
  ended.then((why) => { over = why; });
  const started = performance.now();
  // It says nothing when all is well; the first watcher that is let in says it.
  while ((await fetch(whep, { method: 'POST', body: 'v=0', headers: { 'content-type': 'application/sdp' } })).status === 404) {
    if (over || performance.now() - started > 15_000) throw new Error(over ?? 'ffmpeg does not publish');
    await sleep(100);
  }
  return async () => {
    const early = over;
    child.kill('SIGINT');
    await ended;
    if (early) throw new Error(early);
  };
}

const byGstreamer = (codec) => (stream) => publish(new Gstreamer({ name: 'gstreamer', program: gstreamer, codec, direction: 'sendonly' }), stream);

/** A tab of a running browser, on a page of this server: the same origin. */
async function tab(browser) {
  const page = await browser.newPage();
  await page.goto(`${url}/`);
  await page.evaluate(inPage);
  return page;
}

/** In the page: offers, with all candidates in the offer. */
const inPage = `window.post = async (pc, endpoint) => {
  await pc.setLocalDescription();
  while (pc.iceGatheringState !== 'complete') await new Promise((soon) => setTimeout(soon, 20));
  const response = await fetch(endpoint, { method: 'POST', body: pc.localDescription.sdp, headers: { 'content-type': 'application/sdp' } });
  const body = await response.text();
  if (response.status !== 201) return { status: response.status, body };
  await pc.setRemoteDescription({ type: 'answer', sdp: body });
  return { resource: response.headers.get('location') };
}; true`;

const byBrowser = (name, codec) => async ({ whip }) => {
  const page = await tab((await browser(name)).browser);
  const outcome = await within(30_000, `${name} publishes`, page.evaluate(async (endpoint, codec) => {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 320, height: 240 } });
    const pc = new RTCPeerConnection();
    for (const track of stream.getTracks()) {
      const transceiver = pc.addTransceiver(track, { direction: 'sendonly', streams: [stream] });
      if (track.kind === 'video') {
        const { codecs } = RTCRtpSender.getCapabilities('video');
        transceiver.setCodecPreferences(codecs.filter(({ mimeType }) => mimeType.toLowerCase() === `video/${codec}`.toLowerCase()));
      }
    }
    window.published = pc;
    const outcome = await window.post(pc, endpoint);
    const started = Date.now();
    while (outcome.resource && pc.connectionState !== 'connected') {
      if (Date.now() - started > 15_000) throw new Error(`the publisher is ${pc.connectionState}`);
      await new Promise((soon) => setTimeout(soon, 50));
    }
    return outcome;
  }, whip, codec));
  if (outcome.status) throw new Error(`${outcome.status} ${outcome.body}`);
  return async () => {
    await remove(new URL(outcome.resource, whip).href);
    await page.close();
  };
};

const byWatchingBrowser = (name) => async (codec, { whep }) => {
  const page = await tab((await browser(name)).browser);
  try {
    return await within(45_000, `${name} watches`, page.evaluate(async (endpoint, ms) => {
      const pc = new RTCPeerConnection();
      pc.addTransceiver('audio', { direction: 'recvonly' });
      pc.addTransceiver('video', { direction: 'recvonly' });
      const video = document.createElement('video');
      video.muted = true;
      video.autoplay = true;
      document.body.append(video);
      const stream = new MediaStream();
      pc.ontrack = ({ track }) => { stream.addTrack(track); video.srcObject = stream; };
      const outcome = await window.post(pc, endpoint);
      if (outcome.status) return outcome;
      const inbound = async (kind) => [...(await pc.getStats()).values()].find((s) => s.type === 'inbound-rtp' && s.kind === kind) ?? {};
      const started = Date.now();
      while (!((await inbound('video')).framesDecoded > 0)) {
        if (Date.now() - started > 12_000) return { ...outcome, frames: 0, why: `${pc.connectionState}, ${(await inbound('video')).packetsReceived ?? 0} packets` };
        await new Promise((soon) => setTimeout(soon, 100));
      }
      const count = async () => [(await inbound('video')).framesDecoded, (await inbound('audio')).packetsReceived ?? 0];
      const [frames, sound] = await count();
      await new Promise((later) => setTimeout(later, ms));
      const [framesAfter, soundAfter] = await count();
      return { ...outcome, frames: framesAfter - frames, sound: soundAfter - sound };
    }, whep, WATCH_MS));
  } finally {
    await page.close();
  }
};

async function werift(codec, { whep }) {
  const peer = new Werift({ direction: 'recvonly', codec });
  try {
    await peer.media('audio');
    await peer.media('video');
    const { sdp, resource } = await post(whep, await peer.offer({ complete: true }));
    await peer.accept(sdp);
    await within(15_000, 'the watcher connects', peer.until('connected'));
    await sleep(1500);
    const before = { ...peer.counters };
    await sleep(WATCH_MS);
    await remove(resource);
    return { frames: (peer.counters.video0 ?? 0) - (before.video0 ?? 0), sound: (peer.counters.audio0 ?? 0) - (before.audio0 ?? 0) };
  } catch (error) {
    if (error.status) return { status: error.status, body: error.body };
    throw error;
  } finally {
    await peer.quit();
  }
}

const WATCHERS = { chromium: byWatchingBrowser('chromium'), firefox: byWatchingBrowser('firefox'), werift };

/** Firefox of Debian has no H.264: its plugin would be downloaded. */
const nothingInCommon = (codec, watcher) => codec === 'H264' && watcher === 'firefox';

async function watch(stream, row, codec, name, column = name) {
  try {
    const seen = await WATCHERS[name](codec, stream);
    const value = seen.status ? `refused: ${seen.status} ${seen.body.trim().slice(0, 160)}` : `${seen.frames} frames, ${seen.sound ?? 0} sound packets${seen.why ? ` (${seen.why})` : ''}`;
    const refusedWell = seen.status >= 400 && seen.status < 500 && /codec|H264|in common/i.test(seen.body ?? '');
    cell(row, codec, column, value, nothingInCommon(codec, name) ? refusedWell : seen.frames >= LEAST_FRAMES && seen.sound >= 50);
  } catch (error) {
    console.error(`${row} ${codec} ${column}: ${error.stack}`);
    cell(row, codec, column, error.message, false);
  }
}

async function crossing(row, codec, start) {
  const stream = streamOf(`${row}-${codec}`);
  let stop;
  try {
    stop = await within(45_000, 'publishes', start(stream));
  } catch (error) {
    console.error(`${row} ${codec}: ${error.stack}`);
    for (const watcher of Object.keys(WATCHERS)) cell(row, codec, watcher, `not published: ${error.message}`, false);
    return;
  }
  await Promise.all(Object.keys(WATCHERS).map((watcher) => watch(stream, row, codec, watcher)));
  await stop().catch((error) => {
    console.error(`${row} ${codec}: ${error.message}`);
    cell(row, codec, 'the end', error.message, false);
  });
}

const browsers = {};
const browser = (name) => (browsers[name] ??= launch(name));

if (only === 'ffmpeg') {
  const stream = streamOf('long');
  let stop = async () => {};
  try {
    stop = await byFfmpeg(stream);
    await sleep(LONG_MS);
    await watch(stream, 'ffmpeg', 'H264', 'werift', `after ${LONG_MS / 1000} s`);
    await stop();
  } catch (error) {
    cell('ffmpeg', 'H264', `after ${LONG_MS / 1000} s`, error.message, false);
    await stop().catch(() => {});
  }
} else {
  await crossing('OBS-like', 'H264', obs);
  await crossing('ffmpeg', 'H264', byFfmpeg);
  await crossing('gstreamer', 'H264', byGstreamer('H264'));
  await crossing('gstreamer', 'VP8', byGstreamer('VP8'));
  await crossing('chromium', 'H264', byBrowser('chromium', 'H264'));
  await crossing('chromium', 'VP8', byBrowser('chromium', 'VP8'));
  await crossing('firefox', 'VP8', byBrowser('firefox', 'VP8'));
}
player?.stop();
for (const started of Object.values(browsers)) await (await started).close();
process.exit();

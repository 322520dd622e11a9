// One end of a shaped link, driven by `cargo xtask test --only shaped`: node shaped.mjs watch|send chromium|firefox URL [ccfb]
//
// What it is told, a line each: "start" (a new session), "stop" (that session ends), "end". What it says, a line of JSON each:
// {"ready":true}, {"connected":true, ...}, a sample each SAMPLE_MS, {"stopped":true}, {"failed":"why"}.
// "watch" sees the pattern of the page; "send" publishes noise (WHIP), which fills any rate, and with "ccfb" offers feedback of RFC 8888.
import { createInterface } from 'node:readline';
import { launch, sleep, within } from './browser.mjs';

const SAMPLE_MS = 250;

const [mode, name, url, feedback] = process.argv.slice(2);
const say = (line) => console.log(JSON.stringify(line));

const trial = 'WebRTC-RFC8888CongestionControlFeedback/Enabled,offer:true/';
const { browser, close } = await launch(name, { flags: feedback === 'ccfb' ? [`--force-fieldtrials=${trial}`] : [] });

/** In the page: publishes a canvas of noise. */
const publish = async (endpoint) => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 360 });
  const context = canvas.getContext('2d');
  const noise = context.createImageData(160, 90);
  let drawn = 0;
  const draw = () => {
    crypto.getRandomValues(new Uint8Array(noise.data.buffer, 0, 57_600));
    for (let at = 3; at < noise.data.length; at += 4) noise.data[at] = 255;
    context.putImageData(noise, (drawn % 4) * 160, (Math.floor(drawn / 4) % 4) * 90);
    drawn += 1;
  };
  const pen = setInterval(draw, 33);
  draw();
  const pc = new RTCPeerConnection();
  const [track] = canvas.captureStream(30).getVideoTracks();
  const transceiver = pc.addTransceiver(track, { direction: 'sendonly', sendEncodings: [{ maxBitrate: 8_000_000 }] });
  const { codecs } = RTCRtpSender.getCapabilities('video');
  transceiver.setCodecPreferences(codecs.filter(({ mimeType }) => /VP8|rtx/i.test(mimeType)));
  await pc.setLocalDescription();
  while (pc.iceGatheringState !== 'complete') await new Promise((soon) => setTimeout(soon, 20));
  const response = await fetch(endpoint, { method: 'POST', body: pc.localDescription.sdp, headers: { 'content-type': 'application/sdp' } });
  const answer = await response.text();
  if (response.status !== 201) throw new Error(`${response.status} ${answer}`);
  await pc.setRemoteDescription({ type: 'answer', sdp: answer });
  window.published = { pc, resource: response.headers.get('location'), pen };
  while (pc.connectionState !== 'connected') {
    if (pc.connectionState === 'failed') throw new Error('the connection failed');
    await new Promise((soon) => setTimeout(soon, 10));
  }
  const asked = (what) => pc.remoteDescription.sdp.includes(what);
  if (asked('ack ccfb')) return 'RFC 8888';
  return asked('transport-cc') ? 'transport-wide' : 'none';
};

const unpublish = async () => {
  const { pc, resource, pen } = window.published;
  clearInterval(pen);
  pc.close();
  await fetch(resource, { method: 'DELETE' }).catch(() => {});
};

/** In the page: what the sender knows of itself. */
const sending = async () => {
  const all = [...(await window.published.pc.getStats()).values()];
  const outbound = all.find(({ type, kind }) => type === 'outbound-rtp' && kind === 'video') ?? {};
  const pair = all.find(({ type, nominated }) => type === 'candidate-pair' && nominated) ?? {};
  return { frames: outbound.framesSent ?? 0, target: pair.availableOutgoingBitrate, rtt: (pair.currentRoundTripTime ?? 0) * 1000, freezes: 0 };
};

/** In the page: what the watcher sees, and what the server says. */
const watching = async () => {
  const { server, pc } = window.antiphon.session ?? {};
  if (!pc) return {};
  const all = [...(await pc.getStats()).values()];
  const inbound = all.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video') ?? {};
  return {
    frames: inbound.framesDecoded ?? 0, freezes: inbound.freezeCount ?? 0, frozen: inbound.totalFreezesDuration ?? 0,
    target: server?.target_bps, rtt: server?.rtt_ms ?? undefined, height: inbound.frameHeight,
  };
};

const page = await browser.newPage();
page.on('pageerror', (error) => console.error(`${name}: page error: ${error.message}`));
await page.goto(url, { waitUntil: 'load' });
await within(30_000, 'page', page.waitForFunction(() => window.antiphon?.ready));

let sampler;
async function start() {
  const from = performance.now();
  const how = mode === 'watch'
    ? await page.evaluate(() => window.antiphon.watch({ offerer: 'browser' })).then(() => 'transport-wide')
    : await page.evaluate(publish, `${url}/whip/shaped`);
  say({ connected: true, feedback: how, took: Math.round(performance.now() - from) });
  let running = true;
  const samples = (async () => {
    let next = performance.now();
    while (running) {
      const sample = await page.evaluate(mode === 'watch' ? watching : sending);
      if (running) say(sample);
      next += SAMPLE_MS;
      await sleep(Math.max(next - performance.now(), 0));
    }
  })();
  sampler = async () => {
    running = false;
    await samples;
  };
}

async function stop() {
  await sampler?.();
  sampler = undefined;
  if (mode === 'watch') await page.evaluate(() => window.antiphon.stop());
  else await page.evaluate(unpublish);
  say({ stopped: true });
}

say({ ready: true });
try {
  for await (const line of createInterface({ input: process.stdin })) {
    if (line === 'start') await within(30_000, 'connects', start());
    else if (line === 'stop') await within(10_000, 'stops', stop());
    else break;
  }
} catch (error) {
  console.error(error.stack);
  say({ failed: error.message });
} finally {
  await close();
  process.exit();
}

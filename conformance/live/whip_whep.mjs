// WHEP and WHIP with the clients of npm's `whip-whep`, in two Chromiums: node whip_whep.mjs http://127.0.0.1:8080
// Served from another origin, so that CORS is needed too.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { cell, launch, sleep, within } from './browser.mjs';

const url = process.argv[2];
const clients = new URL('node_modules/whip-whep/', import.meta.url);
const server = createServer(async (request, response) => {
  const script = /^\/(whip|whep)\.js$/.exec(request.url);
  response.setHeader('content-type', script ? 'text/javascript' : 'text/html');
  response.end(script ? await readFile(new URL(script[0].slice(1), clients)) : '<!doctype html><title>whip-whep</title>');
});
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
const origin = `http://127.0.0.1:${server.address().port}/`;

/** Plays from WHEP for a while; frames decoded, and the resource's status on DELETE. */
function view(page, endpoint, ms) {
  return page.evaluate(async (endpoint, ms) => {
    const { WHEPClient } = await import('/whep.js');
    const pc = new RTCPeerConnection();
    pc.addTransceiver('audio', { direction: 'recvonly' });
    pc.addTransceiver('video', { direction: 'recvonly' });
    const video = document.createElement('video');
    video.muted = true;
    video.autoplay = true;
    document.body.append(video);
    const stream = new MediaStream();
    pc.ontrack = ({ track }) => { stream.addTrack(track); video.srcObject = stream; };
    const whep = new WHEPClient();
    await whep.view(pc, endpoint);
    const inbound = async () => [...(await pc.getStats()).values()].find((s) => s.type === 'inbound-rtp' && s.kind === 'video') ?? {};
    const started = Date.now();
    while (!((await inbound()).framesDecoded > 0)) {
      if (Date.now() - started > 20_000) throw new Error(`no frame from ${endpoint}: ${pc.connectionState}`);
      await new Promise((soon) => setTimeout(soon, 100));
    }
    const first = await inbound();
    await new Promise((later) => setTimeout(later, ms));
    const last = await inbound();
    const resource = whep.resourceURL;
    await whep.stop();
    const gone = await fetch(resource, { method: 'DELETE' });
    return { frames: last.framesDecoded - first.framesDecoded, width: last.frameWidth, height: last.frameHeight, gone: gone.status };
  }, endpoint, ms);
}

const one = await launch('chromium');
let two;
try {
  const options = await fetch(`${url}/whep`, { method: 'OPTIONS', headers: { origin: new URL(origin).origin, 'access-control-request-method': 'POST' } });
  const wrongType = await fetch(`${url}/whep`, { method: 'POST', body: 'v=0', headers: { 'content-type': 'text/plain' } });
  const wrongSdp = await fetch(`${url}/whep`, { method: 'POST', body: 'hello', headers: { 'content-type': 'application/sdp' } });
  const http = `OPTIONS ${options.status}, wrong type ${wrongType.status}, no SDP ${wrongSdp.status}`;
  cell('whip-whep', 'http', 'statuses', http, options.ok && wrongType.status === 415 && wrongSdp.status >= 400 && wrongSdp.status < 500);

  const page = await one.browser.newPage();
  await page.goto(origin);
  const pattern = await within(60_000, 'WHEP', view(page, `${url}/whep`, 5000));
  cell('whip-whep', 'whep', 'video', `${pattern.frames} frames of ${pattern.width}x${pattern.height} in 5 s, DELETE again ${pattern.gone}`,
    pattern.frames >= 100 && pattern.gone === 404);

  await within(60_000, 'WHIP', page.evaluate(async (endpoint) => {
    const { WHIPClient } = await import('/whip.js');
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 480 } });
    const pc = new RTCPeerConnection();
    for (const track of stream.getTracks()) pc.addTransceiver(track, { direction: 'sendonly', streams: [stream] });
    window.whip = new WHIPClient();
    await window.whip.publish(pc, endpoint);
    if (pc.connectionState !== 'connected') {
      await new Promise((done) => { pc.addEventListener('connectionstatechange', () => pc.connectionState === 'connected' && done()); });
    }
  }, `${url}/whip`));
  two = await launch('chromium');
  const other = await two.browser.newPage();
  await other.goto(origin);
  const forwarded = await within(60_000, 'WHEP of WHIP', view(other, `${url}/whep`, 5000));
  cell('whip-whep', 'whip then whep', 'video', `${forwarded.frames} frames of ${forwarded.width}x${forwarded.height} in 5 s`,
    forwarded.frames >= 50 && forwarded.width === 640 && forwarded.height === 480);
  await page.evaluate(() => window.whip.stop());
  await sleep(200);
} catch (error) {
  console.error(error.stack);
  process.exitCode = 1;
} finally {
  await one.close();
  await two?.close();
  server.close();
}

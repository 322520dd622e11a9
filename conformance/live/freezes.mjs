// A browser that watches our pattern through a link that loses packets, beside one that watches another browser through the same link at the
// same time: node freezes.mjs chromium URL. Whose pictures freeze, and whose sound has to be made up?
import { cell, launch, sleep, within } from './browser.mjs';
import { Link } from './lossy_link.mjs';

/** The chance of each packet of SRTP and SRTCP to be lost, each way. */
const LOSS = 0.05;
/** Each way, in milliseconds. */
const DELAY = 25;
/** The estimates find their rates first; then both are watched for so long, in milliseconds. */
const BEFORE = 5_000;
const LASTS = 20_000;
/** What chance makes of two runs of this length: a freeze more, and a two-hundredth of the sound. */
const FREEZE = 1;
const SHARE = 0.005;

const [name, url] = process.argv.slice(2);

/** In the page: a connection that only receives, and its whole offer. */
const watch = async (which) => {
  const pc = new RTCPeerConnection();
  window[which] = pc;
  pc.ontrack = ({ track, streams: [stream] }) => {
    // Sound is only played, and so only concealed, where an element plays it.
    const element = Object.assign(document.createElement(track.kind), { autoplay: true, srcObject: stream });
    document.body.append(element);
  };
  for (const kind of ['audio', 'video']) pc.addTransceiver(kind, { direction: 'recvonly' });
  await pc.setLocalDescription();
  while (pc.iceGatheringState !== 'complete') await new Promise((soon) => setTimeout(soon, 20));
  return { type: 'offer', sdp: pc.localDescription.sdp };
};

/** In the page: the camera and the microphone that are not there, to this offer. */
const show = async (offer) => {
  const pc = new RTCPeerConnection();
  window.shows = pc;
  const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 360, frameRate: 30 } });
  for (const track of media.getTracks()) pc.addTrack(track, media);
  await pc.setRemoteDescription(offer);
  await pc.setLocalDescription();
  while (pc.iceGatheringState !== 'complete') await new Promise((soon) => setTimeout(soon, 20));
  return { type: 'answer', sdp: pc.localDescription.sdp };
};

const answered = (which, answer) => window[which].setRemoteDescription(answer);

/** In the page: what a watcher has seen and heard. */
const seen = async (which) => {
  const report = [...(await window[which].getStats()).values()];
  const inbound = (kind) => report.find((s) => s.type === 'inbound-rtp' && s.kind === kind) ?? {};
  const [video, audio] = [inbound('video'), inbound('audio')];
  return {
    frames: video.framesDecoded ?? 0, freezes: video.freezeCount ?? 0, frozen: video.totalFreezesDuration ?? 0, plis: video.pliCount ?? 0,
    lost: (video.packetsLost ?? 0) + (audio.packetsLost ?? 0), received: (video.packetsReceived ?? 0) + (audio.packetsReceived ?? 0),
    concealed: audio.concealedSamples ?? 0, heard: audio.totalSamplesReceived ?? 0,
  };
};

const less = (after, before) => Object.fromEntries(Object.entries(after).map(([key, value]) => [key, value - before[key]]));

/** A link of its own for each, with dice of their own. */
async function lossy(seed) {
  const link = await Link.make(seed, { delay: DELAY, isLost: () => link.dice() < LOSS });
  return link;
}

const { browser, close } = await launch(name);
const links = [];
try {
  const page = await browser.newPage();
  await page.goto(url, { waitUntil: 'load' });
  const [ours, theirs] = [await lossy(1), await lossy(2)];
  links.push(ours, theirs);
  let offer = await page.evaluate(watch, 'ours');
  const response = await fetch(`${url}/whep?source=pattern`, {
    method: 'POST', body: ours.toProgram(offer).sdp, headers: { 'content-type': 'application/sdp' },
  });
  const sdp = await response.text();
  if (response.status !== 201) throw new Error(`${response.status} ${sdp}`);
  await page.evaluate(answered, 'ours', ours.toBrowser({ type: 'answer', sdp }));
  offer = await page.evaluate(watch, 'theirs');
  const answer = await page.evaluate(show, theirs.toProgram(offer));
  await page.evaluate(answered, 'theirs', theirs.toBrowser(answer));
  const both = () => Promise.all(['ours', 'theirs'].map((which) => page.evaluate(seen, which)));
  await within(30_000, 'pictures', (async () => {
    while ((await both()).some(({ frames }) => frames < 10)) await sleep(200);
  })());
  await sleep(BEFORE);
  const before = await both();
  await sleep(LASTS);
  const after = await both();
  const [us, them] = after.map((found, at) => less(found, before[at]));
  const frozen = ({ freezes, frozen: seconds }) => `${freezes} freezes, ${seconds.toFixed(2)} s`;
  const share = ({ concealed, heard }) => concealed / Math.max(heard, 1);
  const percent = (part) => `${(100 * part).toFixed(2)} %`;
  cell(name, 'watches us', 'pictures at 5 % loss', `${frozen(us)}, ${us.frames} frames, ${us.plis} PLIs `
    + `(another ${name}'s: ${frozen(them)}, ${them.frames} frames, ${them.plis} PLIs)`,
  us.frames > 100 && us.freezes <= them.freezes + FREEZE && us.frozen <= them.frozen + 0.5);
  cell(name, 'watches us', 'sound at 5 % loss', `${percent(share(us))} concealed (another ${name}'s: ${percent(share(them))})`,
    us.heard > 100_000 && share(us) <= share(them) + SHARE);
} catch (error) {
  console.error(error.stack);
  process.exitCode = 1;
} finally {
  for (const link of links) link.close();
  await close();
}

// The example `room` with participants of several browsers: node example_room.mjs http://127.0.0.1:8082 COLUMN chromium chromium firefox ...
// Everybody decodes everybody; one leaves and one joins, and it is so again.
import { cell, launch, sleep, within } from './browser.mjs';

const [url, column, ...names] = process.argv.slice(2);
const FRAMES = 30;
const browsers = new Map();

/** A participant: a page whose newest connection is `window.pc`, from its beginning on. */
async function join(name) {
  const { browser } = browsers.get(name);
  const page = await browser.newPage();
  await page.evaluateOnNewDocument(() => {
    const Plain = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Plain {
      constructor(...args) {
        super(...args);
        window.pc = this;
      }
    };
  });
  await page.goto(url, { waitUntil: 'load' });
  return { name, page };
}

/** What a participant has of the others: frames of each picture, energy of each sound, of those that have not ended. */
const seen = ({ page }) => page.evaluate(async () => {
  const live = window.pc ? window.pc.getTransceivers().filter((t) => t.currentDirection?.includes('recv')) : [];
  const all = await Promise.all(live.map(async (t) => {
    const report = [...(await t.receiver.getStats()).values()];
    return report.find((s) => s.type === 'inbound-rtp') ?? { kind: t.receiver.track.kind };
  }));
  return {
    frames: all.filter((s) => s.kind === 'video').map((s) => s.framesDecoded ?? 0),
    energies: all.filter((s) => s.kind === 'audio').map((s) => s.totalAudioEnergy ?? 0),
  };
});

/** Waits until everybody decodes everybody else, and nobody who is gone. */
async function whole(participants, what) {
  const others = participants.length - 1;
  let last;
  await within(120_000, what, (async () => {
    const isWhole = ({ frames, energies }) => frames.length === others && energies.length === others
      && frames.every((count) => count >= FRAMES) && energies.every((energy) => energy > 0);
    do {
      await sleep(500);
      last = await Promise.all(participants.map(seen));
    } while (!last.every(isWhole));
  })()).catch((error) => { throw new Error(`${error.message}: ${JSON.stringify(last)}`); });
  return last;
}

try {
  for (const name of new Set(names)) browsers.set(name, await launch(name));
  const participants = [];
  for (const name of names) participants.push(await join(name));
  const before = await whole(participants, 'everybody decodes everybody');
  const gone = participants.shift();
  await gone.page.close();
  await whole(participants, 'one has left');
  participants.push(await join(gone.name));
  const after = await whole(participants, 'one has joined');
  const least = (all) => Math.min(...all.flatMap((one) => one.frames));
  cell(names.join(' + '), 'answers', column, `${names.length} participants, at least ${least(before)} frames of each by each, then ${least(after)}`, true);
} catch (error) {
  console.error(error.stack);
  process.exitCode = 1;
} finally {
  for (const { close } of browsers.values()) await close();
}

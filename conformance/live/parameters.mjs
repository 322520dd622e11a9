// How soon our sender obeys: node parameters.mjs chromium|firefox http://127.0.0.1:8080
//
// The page asks the server to send no video and to send it again (active, and replaceTrack), and to send less (maxBitrate). When each frame
// has come is what the browser says of it (`receiveTime` of requestVideoFrameCallback), so its own waiting and drawing do not count.
import { cell, launch, sleep, within } from './browser.mjs';

const TIMES = 5;
const RATE = 300;

const [name, url] = process.argv.slice(2);
const { browser, close } = await launch(name);

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

/** Asks, waits until what was asked is to be seen for a second, and returns when frames came: { at, frames }, by the page's clock. */
const ask = (page, video) => page.evaluate(async (video) => {
  window.arrivals = [];
  const at = performance.now();
  window.antiphon.direct(video);
  await new Promise((done) => setTimeout(done, 1_000));
  return { at, frames: window.arrivals };
}, video);

/** Off and on again: how long frames went on to come, and how long they took to come again, in milliseconds. */
async function offAndOn(page, off) {
  const stopped = [], begun = [];
  let isSilent = true;
  for (let time = 0; time < TIMES; time += 1) {
    const ending = await ask(page, off);
    const last = Math.max(0, ...ending.frames.map((frame) => frame - ending.at));
    stopped.push(last);
    // What comes after half a second is not on its way any more.
    isSilent &&= last < 500;
    const beginning = await ask(page, {});
    begun.push(beginning.frames.length ? Math.min(...beginning.frames.map((frame) => frame - beginning.at)) : Infinity);
  }
  const worst = Math.max(...begun);
  return { text: `last frame after ${median(stopped).toFixed(0)} ms, first one after ${median(begun).toFixed(0)} ms (worst ${worst.toFixed(0)})`,
    ok: isSilent && median(stopped) <= 100 && median(begun) <= 100 };
}

try {
  const page = await browser.newPage();
  page.on('pageerror', (error) => console.error(`${name}: page error: ${error.message}`));
  await page.goto(url, { waitUntil: 'load' });
  await within(30_000, 'page', page.waitForFunction(() => window.antiphon?.ready));
  await within(60_000, 'watch', page.evaluate(() => window.antiphon.watch({ offerer: 'browser' })));
  await within(60_000, 'frames', page.evaluate(() => new Promise((done) => {
    const video = document.querySelector('#remote');
    window.arrivals = [];
    const each = (_, { receiveTime }) => {
      window.arrivals.push(receiveTime);
      video.requestVideoFrameCallback(each);
      done();
    };
    video.requestVideoFrameCallback(each);
  })));
  // The estimate of the path has found room for the largest picture.
  await within(60_000, 'the largest picture', page.waitForFunction(() => document.querySelector('#remote').videoWidth === 640));
  await sleep(2_000);
  for (const [feature, off] of [['active', { active: false }], ['track', { track: false }]]) {
    const { text, ok } = await offAndOn(page, off);
    cell(name, 'offers', feature, text, ok);
  }
  const narrowed = await page.evaluate(async (rate) => {
    const wait = (ms) => new Promise((done) => setTimeout(done, ms));
    const received = async () => {
      const report = await window.antiphon.session.pc.getStats();
      const inbound = [...report.values()].find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video');
      return { bytes: inbound.bytesReceived + (inbound.headerBytesReceived ?? 0), at: inbound.timestamp };
    };
    const kbps = (from, to) => (8 * (to.bytes - from.bytes)) / (to.at - from.at);
    await wait(2_000);
    const first = await received();
    await wait(2_000);
    const second = await received();
    window.antiphon.direct({ rate });
    await wait(100);
    const third = await received();
    await wait(4_000);
    return { before: kbps(first, second), after: kbps(third, await received()) };
  }, RATE);
  // The pattern meets the rate of a size within a fifth (the studio's own test says so); headers, and what was on its way, come on top.
  cell(name, 'offers', 'maxBitrate', `${narrowed.before.toFixed(0)} kbit/s, and ${narrowed.after.toFixed(0)} from 100 ms after a limit of ${RATE}`,
    narrowed.before > 1.2 * RATE && narrowed.after <= 1.3 * RATE && narrowed.after > 0);
  await page.evaluate(() => window.antiphon.stop());
} catch (error) {
  console.error(error.stack);
  process.exitCode = 1;
} finally {
  await close();
}

// The page of `antiphon serve` in a real browser: node page.mjs chromium|firefox http://127.0.0.1:8080
// Watch, echo, chat and files, with the browser as offerer and as answerer. The page's hooks stand at the top of
// crates/cli/web/app.js.
import { cell, launch, sleep, within } from './browser.mjs';

const WATCH_MS = 10_000;
/** The second sound codec is measured beside a video that was. */
const LISTEN_MS = 3_000;
const FILE_BYTES = 16 * 1024 * 1024;

const [name, url] = process.argv.slice(2);
const { browser, close } = await launch(name);

const stats = (page) => page.evaluate(() => window.antiphon.stats());

/** Both ends at one moment: our figures at the instant when a fresh report of the server's arrives. */
const together = (page) => within(10_000, 'a report of the server', page.evaluate(async () => {
  await new Promise((fresh) => window.antiphon.session.addEventListener('stats', fresh, { once: true }));
  return window.antiphon.stats();
}));

/** Starts the mode and waits for the first frame: it needs a key frame and a decoder; measure from then on. */
async function begin(page, mode, options) {
  await within(60_000, mode, page.evaluate((mode, options) => window.antiphon[mode](options), mode, options));
  const started = Date.now();
  while (!((await stats(page)).browser?.framesDecoded > 0)) {
    if (Date.now() - started > 40_000) throw new Error(`${mode}: no frame decoded: ${JSON.stringify(await stats(page))}`);
    await sleep(100);
  }
}

async function measure(page, ms) {
  const first = await together(page);
  await sleep(ms);
  const last = await together(page);
  const decoded = last.browser.framesDecoded - first.browser.framesDecoded;
  const sent = last.server.frames_sent - first.server.frames_sent;
  const energy = last.browser.totalAudioEnergy - first.browser.totalAudioEnergy;
  // At least 25 a second are sent, and 95 % of them decoded; a frame or two may be under way at either end.
  const enough = sent >= 25 * (ms / 1000) && decoded >= sent * 0.95 - 2;
  return {
    video: { value: `${decoded} of ${sent} frames decoded (${last.browser.videoCodec})`, ok: enough },
    audio: { value: `energy ${energy.toFixed(3)} (${last.browser.audioCodec})`, ok: energy > 0.01 },
  };
}

async function watch(page, offerer, codec, ms) {
  await begin(page, 'watch', { offerer, codec });
  // A machine that is busy with something else for a while is measured again: software encodes and decodes here.
  let seen;
  for (let tries = 0; tries < 4 && !(seen?.video.ok && seen.audio.ok); tries += 1) seen = await measure(page, ms);
  return seen;
}

async function echo(page, offerer) {
  await begin(page, 'echo', { offerer });
  const first = await stats(page);
  const started = Date.now();
  let frames, energy;
  do {
    await sleep(200);
    const last = await stats(page);
    frames = last.browser.framesDecoded - first.browser.framesDecoded;
    energy = last.browser.totalAudioEnergy - first.browser.totalAudioEnergy;
  } while ((frames < 30 || !(energy > 0)) && Date.now() - started < 10_000);
  return { frames, energy };
}

async function session(offerer) {
  const role = offerer === 'browser' ? 'offers' : 'answers';
  const page = await browser.newPage();
  page.on('pageerror', (error) => console.error(`${name} ${role}: page error: ${error.message}`));
  try {
    await page.goto(url, { waitUntil: 'load' });
    await within(10_000, 'page', page.waitForFunction(() => window.antiphon?.ready));

    const { video, audio } = await watch(page, offerer, 'opus', WATCH_MS);
    cell(name, role, 'video', video.value, video.ok);
    const pcmu = await watch(page, offerer, 'pcmu', LISTEN_MS);
    cell(name, role, 'audio', `${audio.value}; ${pcmu.audio.value}`, audio.ok && pcmu.audio.ok);

    // On the live session: messages echoed one by one, chat, and the large file there and back.
    const messages = await within(60_000, 'messages', page.evaluate(() => window.antiphon.echoMessages(32, 16384)));
    const said = await within(20_000, 'chat', page.evaluate(() => window.antiphon.say('Cookies 4 life')));
    const file = await within(
      180_000, 'file', page.evaluate((size) => window.antiphon.sendFile(size, 'noise.bin'), FILE_BYTES));
    const equal = file.equal && file.server.bytes === FILE_BYTES && file.received.bytes === FILE_BYTES;
    cell(name, role, 'data', `${messages.bytes + 2 * FILE_BYTES} bytes, ${equal && messages.equal ? 'equal' : 'UNEQUAL'} hashes`,
      equal && messages.equal && said.text === 'Cookies 4 life');

    const back = await echo(page, offerer);
    cell(name, role, 'echo', `${back.frames} frames, energy ${back.energy.toFixed(3)}`, back.frames >= 30 && back.energy > 0);
    await page.evaluate(() => window.antiphon.stop());
  } finally {
    await page.close();
  }
}

try {
  for (const offerer of ['browser', 'server']) await session(offerer);
} catch (error) {
  console.error(error.stack);
  process.exitCode = 1;
} finally {
  await close();
}

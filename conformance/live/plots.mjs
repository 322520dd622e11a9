// What the page plots, read: node plots.mjs chromium|firefox http://127.0.0.1:8080
//
// An emulated link is set by the form of the page; the plots must show it, and what the sender makes of it.
import { cell, launch, sleep, within } from './browser.mjs';

const RATE = 1000;

const [name, url] = process.argv.slice(2);
const { browser, close } = await launch(name);

/** The newest value of each series that is known. */
const newest = (plots) => Object.fromEntries(Object.entries(plots).map(
  ([plot, series]) => [plot, Object.fromEntries(Object.entries(series).map(([id, points]) => [id, points.findLast((point) => point !== null)]))]));

try {
  const page = await browser.newPage();
  page.on('pageerror', (error) => console.error(`${name}: page error: ${error.message}`));
  await page.goto(url, { waitUntil: 'load' });
  await within(30_000, 'page', page.waitForFunction(() => window.antiphon?.ready));
  await page.select('#link-kind', 'narrow');
  await page.evaluate(() => document.getElementById('link').requestSubmit());
  await within(60_000, 'watch', page.evaluate(() => window.antiphon.watch({ offerer: 'browser' })));
  const started = Date.now();
  let shown, holds;
  do {
    if (Date.now() - started > 40_000) break;
    await sleep(500);
    shown = newest(await page.evaluate(() => window.antiphon.plots));
    const { rate, delay, loss, frames } = shown;
    const known = [
      rate.proven, rate.estimate, rate.allocated, rate.sent, rate.received, delay.path, delay.media, delay.queue, delay.known,
      loss.sent, loss.received, loss.marked, frames.decoded,
    ];
    // 25 ms each way at least; more than the link carries never comes through it, but for what it let pass in the instant before.
    holds = known.every(Number.isFinite) && rate.link === RATE / 1000 && rate.received > 0.1 && rate.received < 1.3 && delay.path >= 50 && frames.decoded > 0;
  } while (!holds);
  const drawn = await page.evaluate(() => {
    const canvas = document.querySelector('[data-testid=plot-rate]');
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return { pixels: data.filter((value, at) => at % 4 === 3 && value > 0).length, legend: document.querySelector('[data-testid=plot-rate-link]').textContent };
  });
  const { rate, delay } = shown;
  const figures = [rate.estimate, rate.sent, rate.received].map((value) => value?.toFixed(2) ?? '-').join(' / ');
  cell(name, 'offers', 'plots', `estimate / sent / received ${figures} of ${rate.link} Mbit/s, round trip ${delay.path?.toFixed(0)} ms, ${drawn.pixels} pixels drawn`,
    holds && drawn.pixels > 500 && drawn.legend === '1.00');
  await page.evaluate(() => window.antiphon.stop());
} catch (error) {
  console.error(error.stack);
  process.exitCode = 1;
} finally {
  await close();
}

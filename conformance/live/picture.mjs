// Takes the README's picture: node picture.mjs http://127.0.0.1:8080 FILE.png
import { launch, sleep, within } from './browser.mjs';

const [url, file] = process.argv.slice(2);
const { browser, close } = await launch('chromium');
try {
  const page = await browser.newPage();
  await page.setViewport({ width: 1180, height: 760 });
  await page.goto(url, { waitUntil: 'load' });
  await page.waitForFunction(() => window.antiphon?.ready);
  await within(60_000, 'watch', page.evaluate(() => window.antiphon.watch({ offerer: 'browser', codec: 'opus' })));
  await sleep(12_000);
  await page.screenshot({ path: file });
} finally {
  await close();
}

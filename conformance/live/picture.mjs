// Takes the README's picture: node picture.mjs http://127.0.0.1:8080 FILE.png
import { launch, sleep, within } from './browser.mjs';

const [url, file] = process.argv.slice(2);
const { browser, close } = await launch('chromium');
try {
  const page = await browser.newPage();
  await page.setViewport({ width: 1180, height: 1010 });
  await page.goto(url, { waitUntil: 'load' });
  await page.waitForFunction(() => window.antiphon?.ready);
  await within(60_000, 'watch', page.evaluate(() => window.antiphon.watch({ offerer: 'browser', codec: 'opus' })));
  // The plots show how the sender finds a link that becomes narrow.
  await page.evaluate(() => window.antiphon.emulate({ rate: 3000, delay: 25, queue: 300, loss: 0 }));
  await sleep(20_000);
  await page.evaluate(() => window.antiphon.emulate({ rate: 1000, delay: 25, queue: 300, loss: 0 }));
  await sleep(15_000);
  await page.screenshot({ path: file });
} finally {
  await close();
}

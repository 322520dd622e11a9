// Takes the pictures of a room: node room_picture.mjs http://127.0.0.1:8080 FILE.png
// Three Chromium and a Firefox are in it, with their fake cameras. FILE.png is what one of the Chromium sees, FILE-firefox.png what the
// Firefox does.
import { launch, sleep, within } from './browser.mjs';

const [url, file] = process.argv.slice(2);
const LINES = [['Ada', 'Everybody here?'], ['Barbara', 'Yes, and in Firefox.']];
const browsers = {};
try {
  for (const name of ['chromium', 'firefox']) browsers[name] = await launch(name);
  const pages = {};
  for (const [name, browser] of [['Ada', 'chromium'], ['Grace', 'chromium'], ['Edsger', 'chromium'], ['Barbara', 'firefox']]) {
    const page = pages[name] = await (await browsers[browser].browser.createBrowserContext()).newPage();
    await page.setViewport({ width: 1180, height: 760 });
    await page.goto(`${url}/?room=stage`, { waitUntil: 'load' });
    await within(20_000, 'page', page.waitForFunction(() => window.antiphon?.ready));
    await within(60_000, `${name} joins`, page.evaluate((own) => window.antiphon.joinRoom({ name: own }).then(() => null), name));
  }
  for (const [name, line] of LINES) {
    await pages[name].type('[data-testid=room-line]', line);
    await pages[name].keyboard.press('Enter');
  }
  await pages.Grace.click('[data-testid=room-mic]');
  await pages.Ada.bringToFront();
  // The estimates of all paths rise, and with them the layers.
  await sleep(25_000);
  await pages.Ada.screenshot({ path: file });
  await pages.Barbara.bringToFront();
  await pages.Barbara.screenshot({ path: file.replace('.png', '-firefox.png') });
} finally {
  for (const { close } of Object.values(browsers)) await close();
}

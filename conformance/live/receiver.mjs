// The example `receiver` with a real browser's camera and microphone: node receiver.mjs chromium|firefox http://127.0.0.1:8082 FILE
// FILE is what the example writes; ffprobe decodes it to its end.
import { execFileSync } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { cell, launch, openPageAt, sleep, within } from './browser.mjs';

const [name, url, file] = process.argv.slice(2);
const SECONDS = 4;
const { browser, close } = await launch(name);
try {
  const page = await openPageAt(browser, url);
  await page.click('#go');
  await within(60_000, 'a connection', (async () => {
    while (await page.evaluate(() => window.pc?.connectionState) !== 'connected') await sleep(200);
  })());
  await sleep(SECONDS * 1000);
  await page.click('#end');
  // The file is whole when it no longer grows.
  const size = async () => (await stat(file)).size;
  await within(30_000, 'the file', (async () => {
    let before;
    do {
      before = await size();
      await sleep(1500);
    } while (before === 0 || before !== (await size()));
  })());
  const said = execFileSync('ffprobe', ['-v', 'error', '-count_frames', '-of', 'json', '-show_entries', 'stream=codec_name,nb_read_frames,start_time', file]);
  const { streams } = JSON.parse(said);
  const frames = streams.map((stream) => `${stream.nb_read_frames} of ${stream.codec_name}`);
  cell(name, 'offers', 'receiver', frames.join(', '), streams.length === 2 && streams.every((stream) => Number(stream.nb_read_frames) >= 30));
} catch (error) {
  console.error(error.stack);
  process.exitCode = 1;
} finally {
  await close();
}

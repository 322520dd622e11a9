// The example `get_started` in a real browser: node get_started.mjs chromium|firefox http://127.0.0.1:8081 COLUMN WIDTHxHEIGHT
import { cell, launch, openPageAt, sleep, within } from './browser.mjs';

const [name, url, column, size] = process.argv.slice(2);
const FRAMES = 60;
const { browser, close } = await launch(name);
try {
  const page = await openPageAt(browser, url);
  await page.click('#go');
  // Not getVideoPlaybackQuality(): Firefox counts no frames of a stream there, though it paints them.
  const seen = () => page.evaluate(async () => {
    const report = window.pc ? [...(await window.pc.getStats()).values()] : [];
    const video = report.find((s) => s.type === 'inbound-rtp' && s.kind === 'video');
    const audio = report.find((s) => s.type === 'inbound-rtp' && s.kind === 'audio');
    const { videoWidth, videoHeight, currentTime } = document.querySelector('video');
    return { frames: video?.framesDecoded ?? 0, energy: audio?.totalAudioEnergy ?? 0, size: `${videoWidth}x${videoHeight}`, currentTime };
  });
  let last;
  await within(90_000, 'frames', (async () => {
    do {
      await sleep(250);
      last = await seen();
    } while (last.frames < FRAMES || !(last.energy > 0) || !(last.currentTime > 0));
  })());
  cell(name, 'offers', column, `${last.frames} frames of ${last.size}, the picture at ${last.currentTime.toFixed(1)} s, energy ${last.energy.toFixed(2)}`,
    last.size === size);
} catch (error) {
  console.error(error.stack);
  process.exitCode = 1;
} finally {
  await close();
}

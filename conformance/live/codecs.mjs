// Every codec of a real browser through whole frames of ours, there and back, and keys of a telephone both ways:
// node codecs.mjs chromium|firefox PROGRAM, where PROGRAM is the example `echo_frames`.
//
// The program has no codec: it depacketizes what the browser encodes, packetizes the frames again, and the browser decodes them.
import { cell, launch, sleep } from './browser.mjs';
import { PATIENCE, meet, openPage, part } from './echo.mjs';

const CODECS = ['VP8', 'VP9', 'H264', 'AV1'];
const FRAMES = 60;
const KEYS = '159#';

const [name, program] = process.argv.slice(2);

// What the page does beside connecting, in the page.
const inPage = {
  seen: async () => {
    const report = [...(await window.pc.getStats()).values()];
    const inbound = report.find((s) => s.type === 'inbound-rtp' && s.kind === 'video');
    const codec = report.find((s) => s.id === inbound?.codecId)?.mimeType ?? '';
    return { decoded: inbound?.framesDecoded ?? 0, dropped: inbound?.framesDropped ?? 0, codec: codec.replace('video/', '') };
  },
  /** Listens for the two tones of each key (ITU-T Q.23), and notes those that come. */
  listen: () => {
    const context = new AudioContext();
    const analyser = new AnalyserNode(context, { fftSize: 4096, smoothingTimeConstant: 0 });
    context.createMediaStreamSource(window.sound).connect(analyser);
    const levels = new Float32Array(analyser.frequencyBinCount);
    const loudest = (tones) => {
      const found = tones.map((tone) => {
        const bin = Math.round((tone * analyser.fftSize) / context.sampleRate);
        return Math.max(...levels.subarray(bin - 1, bin + 2));
      });
      const [most, second] = [...found].sort((a, b) => b - a);
      return most > -60 && most > second + 10 ? found.indexOf(most) : -1;
    };
    window.keys = '';
    let last = null;
    setInterval(() => {
      analyser.getFloatFrequencyData(levels);
      const [row, column] = [loudest([697, 770, 852, 941]), loudest([1209, 1336, 1477, 1633])];
      const key = row < 0 || column < 0 ? null : ['123A', '456B', '789C', '*0#D'][row][column];
      if (key !== null && key !== last) window.keys += key;
      last = key;
    }, 50);
  },
  heard: () => window.keys,
  play: (tones) => {
    const sender = window.pc.getSenders().find((own) => own.track?.kind === 'audio');
    sender.dtmf.insertDTMF(tones, 100, 70);
  },
};

async function pictures(page, echo, role, codec) {
  let seen = {};
  const started = Date.now();
  while (!(seen.decoded >= FRAMES) && Date.now() - started < PATIENCE) {
    await sleep(200);
    seen = await page.evaluate(inPage.seen);
  }
  const { received, keyFrames, sent, lost } = await echo.counts();
  const errors = echo.errors();
  const ok = seen.codec === codec && seen.decoded >= FRAMES && received >= FRAMES && keyFrames > 0 && errors.length === 0;
  cell(name, role, codec,
    `${received} frames came (${keyFrames} key frames, ${lost} gaps), ${sent} sent back, ${seen.decoded} decoded ${errors.join('; ')}`, ok);
}

async function keys(page, echo, role) {
  await page.evaluate(inPage.play, KEYS);
  let heard = '';
  for (const _ of KEYS) heard += (await echo.line('key')).split(' ')[0];
  cell(name, role, 'plays keys', `${heard} heard here`, heard === KEYS);

  // Firefox takes telephone-event out of what it has negotiated to receive (its JsepTrack), and lets no tone be heard.
  if (name === 'firefox') return;
  await page.evaluate(inPage.listen);
  echo.say(`play ${KEYS}`);
  const started = Date.now();
  do {
    await sleep(200);
    heard = await page.evaluate(inPage.heard);
  } while (heard.length < KEYS.length && Date.now() - started < 10_000);
  cell(name, role, 'hears keys', `${heard} heard by ${name}, by their tones`, heard === KEYS);
}

const { browser, close } = await launch(name);
try {
  const page = await openPage(browser);
  const has = await page.evaluate(() => ['getCapabilities'].flatMap((get) => {
    const kinds = [RTCRtpSender[get]('video'), RTCRtpReceiver[get]('video')];
    return kinds.map(({ codecs }) => codecs.map(({ mimeType }) => mimeType.replace('video/', '')));
  }));
  for (const role of ['offers', 'answers']) {
    for (const codec of CODECS) {
      if (!has.every((codecs) => codecs.includes(codec))) {
        // Debian's Firefox downloads its H.264 from elsewhere. Whoever lacks another one fails.
        cell(name, role, codec, 'this browser has none', name === 'firefox' && ['H264', 'AV1'].includes(codec));
        continue;
      }
      const echo = await meet(page, program, role, [codec]);
      try {
        await pictures(page, echo, role, codec);
        if (codec === 'VP8') await keys(page, echo, role);
      } finally {
        await part(page, echo);
      }
    }
  }
} catch (error) {
  console.error(error.stack);
  process.exitCode = 1;
} finally {
  await close();
}

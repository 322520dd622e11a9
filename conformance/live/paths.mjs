// Two ways that need more than the plain page: node paths.mjs chromium|firefox http://127.0.0.1:8080 https://127.0.0.1:8443
//
// Over HTTPS (a certificate that nobody knows) the page is a secure context: camera and microphone go there and back.
//
// Without permission for a camera browsers hide their addresses behind names under .local (draft-ietf-mmusic-mdns-ice-candidates).
// The browser is told none of our candidates here, so it cannot come to us first: that the two connect means that we resolved its name.
import { cell, launch, sleep, within } from './browser.mjs';

const [name, plain, secure] = process.argv.slice(2);

async function open(browser, url) {
  const page = await browser.newPage();
  page.on('pageerror', (error) => console.error(`${name}: page error: ${error.message}`));
  await page.goto(url, { waitUntil: 'load' });
  await within(30_000, 'page', page.waitForFunction(() => window.antiphon?.ready));
  return page;
}

async function https(offerer) {
  const { browser, close } = await launch(name, { insecure: true });
  try {
    const page = await open(browser, secure);
    const context = await page.evaluate(() => window.isSecureContext && location.protocol);
    await within(60_000, 'echo', page.evaluate((options) => window.antiphon.echo(options), { offerer }));
    const started = Date.now();
    let both;
    do {
      if (Date.now() - started > 60_000) throw new Error(`no echoed frames: ${JSON.stringify(both)}`);
      await sleep(200);
      both = await page.evaluate(() => window.antiphon.stats());
    } while (!(both.browser?.framesDecoded >= 30 && both.browser.totalAudioEnergy > 0));
    cell(name, offerer === 'browser' ? 'offers' : 'answers', 'page over HTTPS',
      `${context} camera echoed: ${both.browser.framesDecoded} frames ${both.browser.frameWidth}x${both.browser.frameHeight}`, context === 'https:');
  } finally {
    await close();
  }
}

async function hidden(offerer) {
  const { browser, close } = await launch(name, { mdns: true });
  try {
    const page = await open(browser, plain);
    await page.evaluate(() => {
      const { prototype } = RTCPeerConnection;
      prototype.addIceCandidate = async () => {};
      const { setRemoteDescription } = prototype;
      prototype.setRemoteDescription = function ({ type, sdp }) {
        return setRemoteDescription.call(this, { type, sdp: sdp.replace(/a=(candidate:.*|end-of-candidates)\r\n/g, '') });
      };
      window.told = [];
      const { send } = WebSocket.prototype;
      WebSocket.prototype.send = function (text) {
        for (const [candidate] of text.matchAll(/candidate:[^"\\]*/g)) window.told.push(candidate);
        return send.call(this, text);
      };
    });
    await within(60_000, 'watch', page.evaluate((options) => window.antiphon.watch(options), { offerer }));
    const messages = await within(60_000, 'messages', page.evaluate(() => window.antiphon.echoMessages(16, 16384)));
    const told = (await page.evaluate(() => window.told)).filter((candidate) => /typ host/.test(candidate) && !/ tcp /i.test(candidate));
    const names = told.filter((candidate) => candidate.split(' ')[4].endsWith('.local'));
    const { server } = await page.evaluate(() => window.antiphon.stats());
    cell(name, offerer === 'browser' ? 'offers' : 'answers', 'addresses hidden by mDNS',
      `${names.length} of ${told.length} host candidates are names; ${messages.bytes} bytes ${messages.equal ? 'equal' : 'UNEQUAL'} with ${server?.remote ?? 'it'}`,
      told.length > 0 && names.length === told.length && messages.equal);
  } finally {
    await close();
  }
}

// A Firefox that offers and is told no candidate at all now and then answers none of the checks that reach its address, though all
// its names were answered for, and gives up after five seconds. Nobody but this test does that to it, and a longer patience of Firefox does not
// help. The busier the machine, the more often: none of six tries on a quiet one, one in two beside a compiler. Five tries, each of
// which is told.
const TRIES = { https: 1, mDNS: 5 };

for (const [what, step] of [['https', https], ['mDNS', hidden]]) {
  for (const offerer of ['browser', 'server']) {
    for (let left = TRIES[what]; left > 0; left -= 1) {
      try {
        await step(offerer);
        break;
      } catch (error) {
        console.error(`${name} ${what}, offerer ${offerer}: ${error.stack}`);
        if (left === 1) process.exitCode = 1;
      }
    }
  }
}

// A browser that reaches us through TURN servers: node relay.mjs chromium|firefox '[{"label","url","ours","configuration"}, ...]' [CA.pem]
// Each case is a server's page in both roles. With `configuration` the browser's RTCPeerConnection takes it (its own relay);
// `ours` says that the relay is on our side. `url` may be a page over HTTPS with a certificate that nobody knows.
import { cell, launch, sleep, within } from './browser.mjs';

const [name, list, authority] = process.argv.slice(2);
const MESSAGES = 32;
const MESSAGE_BYTES = 16384;

const { browser, close } = await launch(name, { insecure: true, authority });

/** The pair in use, as the browser sees it. */
const selected = (page) => page.evaluate(async () => {
  const report = await window.antiphon.session.pc.getStats();
  const all = [...report.values()];
  const transport = all.find((s) => s.type === 'transport');
  const pair = report.get(transport?.selectedCandidatePairId) ?? all.find((s) => s.type === 'candidate-pair' && (s.selected || s.nominated));
  const ends = [report.get(pair?.localCandidateId), report.get(pair?.remoteCandidateId)];
  return ends.map((c) => ({ type: c?.candidateType, protocol: c?.relayProtocol ?? c?.protocol, address: `${c?.address ?? c?.ip}:${c?.port}` }));
});

async function session({ label, url, ours, configuration }, offerer) {
  const role = offerer === 'browser' ? 'offers' : 'answers';
  const page = await browser.newPage();
  page.on('pageerror', (error) => console.error(`${name} ${role} ${label}: page error: ${error.message}`));
  try {
    await page.goto(url, { waitUntil: 'load' });
    await within(30_000, 'page', page.waitForFunction(() => window.antiphon?.ready));
    if (configuration) {
      await page.evaluate((configuration) => {
        const Plain = window.RTCPeerConnection;
        window.RTCPeerConnection = class extends Plain {
          constructor() { super(configuration); }
        };
      }, configuration);
    }
    await within(60_000, 'watch', page.evaluate((options) => window.antiphon.watch(options), { offerer }));
    const messages = await within(60_000, 'messages',
      page.evaluate((count, size) => window.antiphon.echoMessages(count, size), MESSAGES, MESSAGE_BYTES));
    const started = Date.now();
    let both;
    do {
      if (Date.now() - started > 40_000) throw new Error(`no frames: ${JSON.stringify(both)}`);
      await sleep(200);
      both = await page.evaluate(() => window.antiphon.stats());
    } while (!(both.browser?.framesDecoded >= 30 && both.server?.local));
    const [local, remote] = await selected(page);
    // A check of ours may be there before our candidate: the browser then calls the same address peer-reflexive.
    const relayed = ours ? both.server.local.startsWith('relay') && both.server.local.includes(remote.address) : local.type === 'relay';
    const bytes = messages.bytes === MESSAGES * MESSAGE_BYTES && messages.equal;
    const path = ours ? both.server.local : `relay over ${local.protocol}`;
    cell(name, role, label, `${path}, ${both.browser.framesDecoded} frames, ${messages.bytes} bytes ${bytes ? 'equal' : 'UNEQUAL'}`, relayed && bytes);
    if (!relayed) console.error(JSON.stringify({ local, remote, server: both.server }));
    await page.evaluate(() => window.antiphon.stop());
  } catch (error) {
    const log = await page.evaluate(() => document.querySelector('#log')?.textContent).catch(() => '');
    console.error(log);
    throw error;
  } finally {
    await page.close();
  }
}

for (const one of JSON.parse(list)) {
  for (const offerer of ['browser', 'server']) {
    await session(one, offerer).catch((error) => {
      console.error(`${name} ${one.label}, offerer ${offerer}: ${error.stack}`);
      process.exitCode = 1;
    });
  }
}
await close();

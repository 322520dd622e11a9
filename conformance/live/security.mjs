// How each connection of a browser is secured: node security.mjs chromium|firefox|firefox-dtls12 http://127.0.0.1:8080
// The browser offers and answers, and is DTLS client and server in each case: with a=setup in the offer that the answerer
// sees changed from actpass to active, the answerer is the server (RFC 8842 §5.3). Version and group are read from the
// server's own statistics, and compared with what the browser says of the same connection.
import { cell, launch, sleep, within } from './browser.mjs';

const [peer, url] = process.argv.slice(2);
const LIMITED = peer === 'firefox-dtls12';
const name = LIMITED ? 'firefox' : peer;
const ROW = LIMITED ? 'firefox (DTLS 1.2)' : peer;
// TLS numbers its versions one below DTLS's names: 771 is 1.2.
const { browser, close } = await launch(name, { prefs: LIMITED ? { 'media.peerconnection.dtls.version.max': 771 } : {} });
const expected = LIMITED
  ? { dtls: 'DTLS 1.2', group: 'x25519', suite: /^TLS_ECDHE_ECDSA_WITH_/ }
  : { dtls: 'DTLS 1.3', group: 'X25519MLKEM768', suite: /^TLS_(AES|CHACHA20)_/ };

/** Changes the offer on its way to whoever answers it. */
const activeOffers = (page) => page.evaluate(() => {
  const active = (sdp) => sdp.replaceAll('a=setup:actpass', 'a=setup:active');
  const { send } = WebSocket.prototype;
  WebSocket.prototype.send = function (text) {
    const message = JSON.parse(text);
    if (message.type === 'offer') message.sdp = active(message.sdp);
    return send.call(this, JSON.stringify(message));
  };
  const { setRemoteDescription } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.setRemoteDescription = function (description) {
    const { type, sdp } = description;
    return setRemoteDescription.call(this, type === 'offer' ? { type, sdp: active(sdp) } : description);
  };
});

async function session(offerer, changed) {
  const role = offerer === 'browser' ? 'offers' : 'answers';
  // Unchanged, the answerer is the DTLS client (RFC 8842 §5.3 recommends it).
  const browserAnswers = offerer === 'server';
  const browserRole = browserAnswers !== changed ? 'client' : 'server';
  const feature = `DTLS ${browserRole}`;
  const page = await browser.newPage();
  page.on('pageerror', (error) => console.error(`${ROW} ${role}: page error: ${error.message}`));
  try {
    await page.goto(url, { waitUntil: 'load' });
    await within(30_000, 'page', page.waitForFunction(() => window.antiphon?.ready));
    if (changed) await activeOffers(page);
    await within(60_000, 'watch', page.evaluate((options) => window.antiphon.watch(options), { offerer }));
    const started = Date.now();
    let both;
    do {
      if (Date.now() - started > 40_000) throw new Error(`no frame or no report: ${JSON.stringify(both)}`);
      await sleep(200);
      both = await page.evaluate(() => window.antiphon.stats());
    } while (!(both.browser?.framesDecoded > 0 && both.server?.group && both.browser.dtlsVersion));
    const { server, browser: own } = both;
    const agrees = own.dtlsVersion === server.dtls
      // Chromium names the cipher as IANA does; Firefox does too, since it names any.
      && (!own.dtlsCipher || own.dtlsCipher === server.cipher)
      && (!own.tlsGroup || own.tlsGroup === server.group)
      && (!own.srtpProfile || own.srtpProfile.replace('SRTP_', '') === server.srtp.replace('SRTP_', ''))
      && (!own.dtlsRole || own.dtlsRole === browserRole)
      && server.dtls_role === (browserRole === 'client' ? 'server' : 'client');
    const theirs = [own.dtlsVersion, own.dtlsCipher, own.tlsGroup, own.srtpProfile].map((value) => value ?? '-').join(', ');
    const ok = server.dtls === expected.dtls && server.group === expected.group && expected.suite.test(server.cipher)
      && Boolean(server.srtp) && agrees;
    cell(ROW, role, feature, `${server.dtls}, ${server.group}, ${server.cipher}, ${server.srtp}; it says: ${theirs}`, ok);
    if (!agrees) console.error(JSON.stringify(both, null, 1));
    await page.evaluate(() => window.antiphon.stop());
  } finally {
    await page.close();
  }
}

for (const offerer of ['browser', 'server']) {
  for (const changed of [false, true]) {
    await session(offerer, changed).catch((error) => {
      console.error(`${ROW} ${offerer} ${changed}: ${error.stack}`);
      process.exitCode = 1;
    });
  }
}
await close();

// Starts the Debian browsers headless, with fake camera and microphone.
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import puppeteer from 'puppeteer-core';

const CHROMIUM_FLAGS = [
  '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--mute-audio',
  '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-extensions',
  '--disable-dev-shm-usage', '--autoplay-policy=no-user-gesture-required', '--use-fake-ui-for-media-stream',
  '--use-fake-device-for-media-stream', '--disable-background-timer-throttling',
  '--disable-renderer-backgrounding', '--disable-backgrounding-occluded-windows',
  // Only the last --disable-features counts, so puppeteer's own defaults are dropped below.
  '--disable-features=WebRtcHideLocalIpsWithMdns,Translate,MediaRouter,OptimizationHints',
];

const FIREFOX_PREFERENCES = {
  'media.navigator.streams.fake': true,
  'media.navigator.permission.disabled': true,
  'media.autoplay.default': 0,
  'media.autoplay.blocking_policy': 0,
  'app.update.auto': false,
  'datareporting.policy.dataSubmissionEnabled': false,
};

/**
 * Starts `name` ('chromium' or 'firefox').
 * Options: `mdns` keeps .local candidates; `insecure` takes any certificate of pages, and Chromium any of TURN servers; Firefox trusts
 * the certificates of `authority`, a PEM file, TURN servers' too if they are reached by a name; `prefs` adds Firefox preferences,
 * `flags` Chromium's.
 */
export async function launch(name, { mdns = false, insecure = false, authority, prefs = {}, flags = [] } = {}) {
  const profile = await mkdtemp(join(tmpdir(), `antiphon-${name}-`));
  let browser;
  if (name === 'chromium') {
    // A browser that may use the camera has no reason to hide its addresses, and does not.
    const hides = (flag) => flag.replace('WebRtcHideLocalIpsWithMdns,', '');
    const args = mdns ? CHROMIUM_FLAGS.filter((flag) => !flag.startsWith('--use-fake')).map(hides) : CHROMIUM_FLAGS;
    browser = await puppeteer.launch({
      executablePath: '/usr/bin/chromium',
      userDataDir: profile,
      ignoreDefaultArgs: true,
      acceptInsecureCerts: insecure,
      args: [...args, ...flags, ...(insecure ? ['--ignore-certificate-errors'] : []), `--user-data-dir=${profile}`, '--remote-debugging-port=0', 'about:blank'],
    });
  } else if (name === 'firefox') {
    if (authority) {
      const certutil = (...args) => execFileSync('certutil', [...args, '-d', `sql:${profile}`]);
      certutil('-N', '--empty-password');
      certutil('-A', '-n', 'antiphon test authority', '-t', 'C,,', '-i', authority);
    }
    browser = await puppeteer.launch({
      browser: 'firefox',
      executablePath: '/usr/bin/firefox-esr',
      userDataDir: profile,
      headless: true,
      acceptInsecureCerts: insecure,
      extraPrefsFirefox: {
        ...FIREFOX_PREFERENCES, 'media.peerconnection.ice.obfuscate_host_addresses': mdns, ...prefs,
      },
    });
  } else {
    throw new Error(`no browser is called ${name}`);
  }
  return {
    browser,
    async close() {
      await browser.close().catch(() => {});
      await rm(profile, { recursive: true, force: true, maxRetries: 5 }).catch(() => {});
    },
  };
}

/** Opens a page whose newest connection is `window.pc`, whoever makes it. */
export async function openPageAt(browser, url) {
  const page = await browser.newPage();
  await page.goto(url, { waitUntil: 'load' });
  await page.evaluate(() => {
    const Plain = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Plain {
      constructor(...rest) {
        super(...rest);
        window.pc = this;
      }
    };
  });
  return page;
}

/** Prints one measurement; `cargo xtask test` reads these lines. */
export function cell(peer, role, feature, value, ok) {
  console.log(JSON.stringify({ peer, role, feature, value: String(value), ok: Boolean(ok) }));
}

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Rejects when `promise` takes longer than `ms`: a bound that keeps a broken run finite, not a measure. */
export function within(ms, what, promise) {
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error(`${what}: nothing within ${ms / 1000} s`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

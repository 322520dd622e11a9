// Files between the page and the program: node meet.mjs chromium|firefox http://127.0.0.1:8080 path/to/antiphon
// `antiphon send` to the page, and the page to `antiphon recv`; both ends meet by a code at the server.
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cell, launch, within } from './browser.mjs';

const BYTES = 24 * 1024 * 1024;
const PATIENCE_MS = 120_000;

const [name, url, program] = process.argv.slice(2);
const folder = await mkdtemp(join(tmpdir(), 'antiphon-meet-'));
const { browser, close } = await launch(name);
const children = [];

/** Runs the program; resolves with what it printed once it has ended well. */
function antiphon(...args) {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  let text = '';
  child.stdout.on('data', (data) => { text += data; });
  return new Promise((done, fail) => {
    child.on('error', fail);
    child.on('exit', (code) => (code === 0 ? done(text) : fail(new Error(`antiphon ${args[0]} ended with ${code}`))));
  });
}

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

try {
  const page = await browser.newPage();
  await page.goto(url);
  await within(30_000, 'the page', page.waitForFunction(() => window.antiphon?.ready));
  const meet = ['--signal', url, '--loopback', '--code'];

  const bytes = randomBytes(BYTES);
  const hash = sha256(bytes);
  await mkdir(join(folder, 'out'));
  await writeFile(join(folder, 'out', 'noise.bin'), bytes);
  await writeFile(join(folder, 'out', 'empty'), '');
  const sending = antiphon('send', join(folder, 'out'), ...meet, `page-${name}-1`);
  const receiving = page.evaluate(async (code) => {
    const files = await window.antiphon.receiveFrom(code);
    return files.map(({ path, sha256, blob }) => ({ path, sha256, size: blob.size }));
  }, `page-${name}-1`);
  const [, got] = await within(PATIENCE_MS, 'antiphon send', Promise.all([sending, receiving]));
  const whole = got.find(({ path }) => path === 'out/noise.bin');
  cell(name, 'receives', 'files', `${got.length} files, ${whole?.size} bytes`, got.length === 2 && whole?.sha256 === hash && whole.size === BYTES);

  const into = join(folder, 'in');
  const taking = antiphon('recv', '--yes', '--into', into, ...meet, `page-${name}-2`);
  const giving = page.evaluate(async (code, size) => {
    const bytes = new Uint8Array(size);
    for (let at = 0; at < size; at += 65536) crypto.getRandomValues(bytes.subarray(at, Math.min(at + 65536, size)));
    const [sent] = await window.antiphon.sendTo(code, [new File([bytes], 'from the page.bin')]);
    return sent.sha256;
  }, `page-${name}-2`, BYTES);
  const [printed, sent] = await within(PATIENCE_MS, 'antiphon recv', Promise.all([taking, giving]));
  const arrived = await readFile(join(into, 'from the page.bin'));
  const equal = sha256(arrived) === sent && printed.includes(sent);
  cell(name, 'sends', 'files', `1 file, ${arrived.length} bytes`, equal && arrived.length === BYTES);
} finally {
  for (const child of children) if (child.exitCode === null) child.kill();
  await close();
  await rm(folder, { recursive: true, force: true });
}

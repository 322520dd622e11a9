// A full room of the page: node party.mjs http://127.0.0.1:8080 http://127.0.0.1:9464/metrics GUESTS_PROGRAM PARTICIPANTS SECONDS
// Two Chromium, two Firefox and guests of ours (crates/cli/examples/guests.rs) up to so many participants. When each has everybody's
// sound and picture, it is counted for so many seconds what comes to each, beside the server's own figures.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { cell, launch, sleep, within } from './browser.mjs';

const [url, metricsUrl, program, ...numbers] = process.argv.slice(2);
const [PARTICIPANTS, SECONDS] = numbers.map(Number);
const NAMES = ['chromium', 'chromium', 'firefox', 'firefox'];
const ROOM = 'party';
const PATIENCE_MS = 240_000;
/** Packets of sound of each other that must come in a second, of those that are sent (16 to 50); of pictures a busy machine makes few: they must go on. */
const SOUNDS_A_SECOND = 5;
/** Clients and server are not asked in the same moment. */
const SKEW = 0.06;

/** The samples of the server's figures, by name and labels as they stand there. */
async function metrics() {
  const text = await (await fetch(metricsUrl)).text();
  const lines = text.split('\n').filter((line) => line && !line.startsWith('#'));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]));
}

const sum = (samples, name) => [...samples].filter(([key]) => key === name || key.startsWith(`${name}{`)).reduce((all, [, value]) => all + value, 0);

/** The program with our guests: its newest line. */
class Guests {
  constructor(count) {
    this.child = spawn(program, [url, ROOM, String(count)], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.lines = 0;
    createInterface({ input: this.child.stdout }).on('line', (line) => {
      this.last = JSON.parse(line);
      this.lines += 1;
    });
  }

  /** A line that was written after now. */
  async fresh() {
    const due = this.lines + 2;
    while (this.lines < due) {
      if (this.child.exitCode !== null) throw new Error(`the guests have ended with ${this.child.exitCode}`);
      await sleep(50);
    }
    return this.last;
  }
}

class Page {
  constructor(kind, number, browser) {
    Object.assign(this, { kind, name: `${kind} ${number}`, browser });
  }

  async come() {
    this.page = await (await this.browser.createBrowserContext()).newPage();
    await this.page.evaluateOnNewDocument(() => {
      const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = (wanted) => open({ ...wanted, video: wanted.video && { width: 320, height: 180, frameRate: 10 } });
    });
    await this.page.goto(`${url}/?room=${ROOM}`, { waitUntil: 'load' });
    await within(60_000, 'page', this.page.waitForFunction(() => window.antiphon?.ready));
    await within(PATIENCE_MS, `${this.name} joins`, this.page.evaluate((name) => window.antiphon.joinRoom({ name }).then(() => true), this.name));
  }

  /** Tracks that come with the fewest frames of a picture, as a guest tells them; packets that came and that were lost. */
  async told() {
    const { received } = await this.page.evaluate(() => window.antiphon.roomFigures());
    const all = Object.values(received);
    const sounds = all.filter(({ source }) => source === 'microphone');
    const pictures = all.filter(({ source }) => source === 'camera');
    const least = (list, field) => Math.min(...list.map((each) => each[field]));
    return {
      audio: { tracks: sounds.length, least: least(sounds, 'packets') },
      video: { tracks: pictures.length, least: least(pictures, 'frames') },
      received: all.reduce((total, { packets }) => total + packets, 0),
      lost: all.reduce((total, { lost }) => total + lost, 0),
    };
  }
}

async function look(guests, pages) {
  const before = await metrics();
  const [ours, ...theirs] = await Promise.all([guests.fresh(), ...pages.map((page) => page.told())]);
  const after = await metrics();
  const each = [...ours.seen.map(([audio, video]) => ({ audio, video })), ...theirs];
  const total = (field) => ours[field] + theirs.reduce((all, one) => all + one[field], 0);
  return { at: Date.now(), before, after, each, guests: ours.guests, received: total('received'), lost: total('lost') };
}

async function run(browsers, guests) {
  const pages = NAMES.map((kind, number) => new Page(kind, number + 1, browsers.get(kind).browser));
  for (const page of pages) await page.come();
  const others = PARTICIPANTS - 1;
  let first;
  const isWhole = ({ each }) => each.length === PARTICIPANTS
    && each.every(({ audio, video }) => audio.tracks === others && video.tracks === others && audio.least > 0 && video.least > 0);
  await within(PATIENCE_MS, 'everybody has everybody', (async () => {
    do {
      first = await look(guests, pages);
    } while (!isWhole(first));
  })()).catch((error) => { throw new Error(`${error.message}: ${JSON.stringify(first?.each)}`); });
  await sleep(SECONDS * 1000);
  const last = await look(guests, pages);
  const seconds = (last.at - first.at) / 1000;
  const gained = (list, kind) => Math.min(...list.map((at) => last.each[at][kind].least - first.each[at][kind].least));
  const whole = last.each.length === PARTICIPANTS && last.each.every(({ audio, video }) => audio.tracks === others && video.tracks === others);
  const places = [...last.each.keys()];
  const kinds = [['guests', places.slice(0, last.guests)], ['chromium', places.slice(last.guests, last.guests + 2)], ['firefox', places.slice(last.guests + 2)]];
  for (const [kind, list] of kinds) {
    const [frames, packets] = [gained(list, 'video'), gained(list, 'audio')];
    const ok = whole && frames > 0 && packets >= SOUNDS_A_SECOND * SECONDS;
    cell(kind, 'in a full room', 'everybody', `${PARTICIPANTS} there, ${seconds.toFixed(0)} s: of each other at least ${frames} frames and ${packets} packets of sound`, ok);
  }
  // The clients were asked between two looks at the server's figures: its count lies between what both say.
  const counted = (name) => [sum(last.before, name) - sum(first.after, name), sum(last.after, name) - sum(first.before, name)];
  const came = last.received - first.received;
  const lost = last.lost - first.lost;
  const [low, high] = counted('antiphon_forwarded_packets_total');
  const fits = came >= low * (1 - SKEW) - lost && came <= high * (1 + SKEW);
  cell('serve', 'in a full room', 'forwarded', `${low} to ${high} packets, ${came} came (${Math.round(came / seconds)} a second), ${lost} were lost`, fits);
  const share = lost / Math.max(came + lost, 1);
  cell('serve', 'in a full room', 'lost', `${(share * 100).toFixed(3)} %`, share < 0.01);
  const [cpu] = counted('process_cpu_seconds_total');
  const memory = sum(last.after, 'process_resident_memory_bytes') / 2 ** 20;
  cell('serve', 'in a full room', 'CPU and memory', `${(cpu / seconds * 100).toFixed(0)} % of a core, ${memory.toFixed(0)} MiB`, cpu > 0 && memory > 0 && memory < 1024);
  const gauges = ['participants', 'tracks_received', 'tracks_sent'].map((name) => sum(last.after, `antiphon_room_${name}`));
  const due = [PARTICIPANTS, PARTICIPANTS * 2, PARTICIPANTS * 2 * others];
  cell('serve', 'in a full room', 'figures', `${gauges.join(', ')} participants, tracks received and sent`, gauges.join() === due.join());
}

const browsers = new Map();
let guests;
try {
  for (const name of new Set(NAMES)) browsers.set(name, await launch(name));
  guests = new Guests(PARTICIPANTS - NAMES.length);
  await run(browsers, guests);
} catch (error) {
  console.error(error.stack);
  process.exitCode = 1;
} finally {
  guests?.child.stdin.end();
  for (const { close } of browsers.values()) await close();
  guests?.child.kill();
}

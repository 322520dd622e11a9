// A room of the page with four participants: node rooms.mjs http://127.0.0.1:8080
// Three Chromium and a Firefox, each with a fake camera and microphone, join one room by the page. Each counts the frames and the sound
// of every other; they talk, mute and share; one leaves, and one more comes.
import { cell, launch, sleep, within } from './browser.mjs';

const [url] = process.argv.slice(2);
const ROOM = `live-${process.pid}`;
/** Frames of each other that each must decode, and how long that may take on a busy machine. */
const FRAMES = 30;
const PATIENCE_MS = 90_000;

async function until(what, check) {
  const started = Date.now();
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() - started > PATIENCE_MS) throw new Error(`${what}: not within ${PATIENCE_MS / 1000} s`);
    await sleep(200);
  }
}

class Person {
  constructor(peer, name, browser) {
    Object.assign(this, { peer, name, browser });
  }

  /** Opens the link and joins. */
  async come() {
    const context = await this.browser.createBrowserContext();
    this.page = await context.newPage();
    this.page.on('pageerror', (error) => console.error(`${this.name}: page error: ${error.message}`));
    await this.page.goto(`${url}/?room=${ROOM}`, { waitUntil: 'load' });
    await within(20_000, 'page', this.page.waitForFunction(() => window.antiphon?.ready));
    const chosen = await this.page.evaluate(() => ({ tab: document.body.dataset.tab, room: document.querySelector('[data-testid=room-name]').value }));
    if (chosen.tab !== 'room' || chosen.room !== ROOM) throw new Error(`the link did not choose the room: ${JSON.stringify(chosen)}`);
    await within(PATIENCE_MS, `${this.name} joins`, this.page.evaluate((name) => window.antiphon.joinRoom({ name }).then(() => true), this.name));
  }

  async leave() {
    await this.page.click('[data-testid=room-leave]');
    await this.page.close();
  }

  state() { return this.page.evaluate(() => window.antiphon.room); }

  /** By the name of each other participant: frames and energy of what came from it so far. */
  async counts() {
    const { state, figures } = await this.page.evaluate(async () => ({ state: window.antiphon.room, figures: await window.antiphon.roomFigures() }));
    const names = new Map(state.people.map(({ id, name }) => [id, name]));
    const counts = {};
    for (const { participant, source, frames, energy } of Object.values(figures.received)) {
      const own = counts[names.get(participant)] ??= { camera: 0, screen: 0, energy: 0 };
      if (source === 'microphone') own.energy += energy; else own[source] += frames;
    }
    return counts;
  }

  /** Waits until so many more frames, and some sound, have come of each of the others; how many frames that were at least, and how much sound. */
  async hasAll(others) {
    const first = await this.counts();
    let least;
    let now;
    const gained = (name, field) => (now[name]?.[field] ?? 0) - (first[name]?.[field] ?? 0);
    const all = async () => {
      now = await this.counts();
      least = {
        frames: Math.min(...others.map(({ name }) => gained(name, 'camera'))),
        energy: Math.min(...others.map(({ name }) => gained(name, 'energy'))),
      };
      return least.frames >= FRAMES && least.energy > 0;
    };
    try {
      await until(this.name, all);
    } catch (error) {
      console.error(`${error.message}: ${JSON.stringify({ first, now })}`);
    }
    return least;
  }
}

/** Everybody counts everybody else; a cell for each kind of browser. */
async function everybody(people, feature) {
  const counted = await Promise.all(people.map(async (person) => ({ person, least: await person.hasAll(people.filter((other) => other !== person)) })));
  for (const peer of new Set(people.map((person) => person.peer))) {
    const own = counted.filter(({ person }) => person.peer === peer).map(({ least }) => least);
    const frames = Math.min(...own.map((least) => least.frames));
    const energy = Math.min(...own.map((least) => least.energy));
    cell(peer, 'in a room', feature, `${people.length} there: ${frames} frames and energy ${energy.toFixed(3)} of each other at least`, frames >= FRAMES && energy > 0);
  }
}

async function told(people, feature, what, check) {
  const missing = [];
  for (const person of people) await until(`${person.name}: ${what}`, () => person.page.evaluate(check)).catch((error) => missing.push(error.message));
  for (const peer of new Set(people.map((person) => person.peer))) cell(peer, 'in a room', feature, missing.join('; ') || what, missing.length === 0);
}

async function run(chromium, firefox) {
  const [ada, grace, edsger] = ['Ada', 'Grace', 'Edsger'].map((name) => new Person('chromium', name, chromium.browser));
  const barbara = new Person('firefox', 'Barbara', firefox.browser);
  const people = [ada, grace, edsger, barbara];
  for (const person of people) await person.come();
  await everybody(people, 'everybody');

  for (const person of [ada, barbara]) {
    // Each layer is sent when the browser has found out that the path carries it.
    const layers = async () => {
      const { sent } = await person.page.evaluate(() => window.antiphon.roomFigures());
      const own = sent.filter(({ source, frames }) => source === 'camera' && frames > 0).sort((a, b) => a.width - b.width);
      return own.length === 3 && own.map(({ rid, width, height }) => `${rid} ${width}x${height}`).join(', ');
    };
    const sizes = await until('three layers', layers).catch((error) => console.error(error.message));
    cell(person.peer, 'in a room', 'layers sent', sizes ?? 'fewer than three', Boolean(sizes));
  }

  for (const person of [grace, barbara]) {
    // By the list on Ada's tile: the smallest picture comes, and then a larger one again.
    const list = `[data-testid=room-tile][data-participant="${(await ada.state()).you}"] [data-testid=room-layers]`;
    const choose = async (value, fits) => {
      await person.page.select(list, value);
      return until(`Ada's picture for ${person.name}`, async () => {
        const { figures, state } = await person.page.evaluate(async () => ({ figures: await window.antiphon.roomFigures(), state: window.antiphon.room }));
        const { mid } = state.tracks.find(({ participant, source }) => source === 'camera' && state.people.find(({ id }) => id === participant).name === 'Ada');
        const [{ width } = {}, told] = [figures.received[mid], state.pictures.find((picture) => picture.mid === mid)];
        return width && told && fits(width, told) && `${width} wide, layer ${told.layer} of ${told.layers.length}, score ${told.score}`;
      });
    };
    const chosen = await until('a choice', () => person.page.evaluate((own) => document.querySelector(own)?.hidden === false, list))
      .then(() => choose('0', (width, { layer }) => layer === 0 && width <= 240))
      .then(async (small) => `${small}; ${await choose('', (width, { layer }) => layer > 0 && width > 240)}`)
      .catch((error) => console.error(error.message));
    cell(person.peer, 'in a room', 'layer chosen', chosen ?? 'it did not follow', Boolean(chosen));
  }

  await ada.page.type('[data-testid=room-line]', 'Cookies 4 life');
  await ada.page.keyboard.press('Enter');
  await told(people, 'chat', 'the line is there', () => document.querySelector('[data-testid=room-chat]').textContent.includes('Cookies 4 life'));

  await grace.page.click('[data-testid=room-mic]');
  await told(people, 'muted', 'its tile says so', () => [...document.querySelectorAll('[data-testid=room-tile]')]
    .some((tile) => tile.getAttribute('aria-label').startsWith('Grace') && tile.getAttribute('aria-label').includes('muted')));
  // Whoever beeps loudest is highlighted, and it is not who is muted.
  await told(people, 'speaker', 'somebody is highlighted', () => Boolean(window.antiphon.room.speaker));

  await ada.page.evaluate(() => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 800, height: 450 });
    const brush = canvas.getContext('2d');
    let step = 0;
    setInterval(() => {
      step += 1;
      brush.fillStyle = `hsl(${step % 360} 50% 50%)`;
      brush.fillRect(0, 0, 800, 450);
    }, 66);
    return window.antiphon.shareScreen(canvas.captureStream(15));
  });
  const shown = () => [...document.querySelectorAll('[data-testid=room-tile][data-source=screen] video')].some((video) => video.videoWidth > 0);
  await told(people, 'screen', 'a tile shows it', shown);
  await ada.page.click('[data-testid=room-screen]');
  await told(people, 'no screen', 'the tile is gone', () => !document.querySelector('[data-testid=room-tile][data-source=screen]'));

  await edsger.leave();
  const left = [ada, grace, barbara];
  await told(left, 'one leaves', 'three are left', () => window.antiphon.room.people.length === 3 && document.querySelectorAll('[data-testid=room-tile]').length === 3);
  await grace.page.click('[data-testid=room-mic]');
  const tony = new Person('chromium', 'Tony', chromium.browser);
  await tony.come();
  await everybody([...left, tony], 'one joins');

  for (const { peer, browser } of [ada, barbara]) {
    const refused = await new Person(peer, 'ada', browser).come().then(() => 'let in', (error) => error.message);
    cell(peer, 'in a room', 'same name', refused, refused.includes('has this name'));
  }
}

const browsers = [];
try {
  for (const name of ['chromium', 'firefox']) browsers.push(await launch(name));
  await run(...browsers);
} catch (error) {
  console.error(error.stack);
  process.exitCode = 1;
} finally {
  for (const one of browsers) await one.close();
}

// The example `room` with participants of several browsers: node example_room.mjs http://127.0.0.1:8082 chromium chromium firefox plan-b ...
// Everybody decodes everybody. One leaves and one joins, and it is so again. The first, the last and one in between answer an offer wrongly:
// the server gives the exchange up and offers again.
import { cell, launch, sleep, within } from './browser.mjs';
import { PlanBPeer } from './plan_b.mjs';

const [url, ...names] = process.argv.slice(2);
const WHO = names.join(' + ');
const FRAMES = 30;
/** Five browsers share this machine: small pictures, and few. */
const CAMERA = { width: 320, height: 180, frameRate: 10 };
const browsers = new Map();

/** A participant that is a page of a browser. */
class Page {
  pictures = 1;

  constructor(name) { this.name = name; }

  /** The page's newest connection is `window.pc`; what it is offered is counted, and it can be made to answer wrongly. */
  async join() {
    this.page = await browsers.get(this.name).browser.newPage();
    await this.page.evaluateOnNewDocument((camera) => {
      const Plain = window.RTCPeerConnection;
      window.RTCPeerConnection = class extends Plain {
        constructor(...args) {
          super(...args);
          window.pc = this;
        }
      };
      const devices = navigator.mediaDevices;
      const open = devices.getUserMedia.bind(devices);
      devices.getUserMedia = (wanted) => open({ ...wanted, video: camera });
      window.exchanges = { offers: 0, spoiled: null };
      const PlainSocket = window.WebSocket;
      window.WebSocket = class extends PlainSocket {
        constructor(...args) {
          super(...args);
          this.addEventListener('message', () => { window.exchanges.offers += 1; });
        }

        send(text) {
          const message = JSON.parse(text);
          if (message.type === 'answer' && window.spoils) {
            window.spoils = false;
            window.exchanges.spoiled = window.exchanges.offers;
            // The last section is missing: the answer does not fit the offer.
            super.send(JSON.stringify({ type: 'answer', sdp: message.sdp.slice(0, message.sdp.lastIndexOf('m=')) }));
          } else {
            super.send(text);
          }
        }
      };
    }, CAMERA);
    if (this.beginsWrongly) await this.page.evaluateOnNewDocument(() => { window.spoils = true; });
    await this.page.goto(url, { waitUntil: 'load' });
  }

  /** What it has of the others, by section, of what has not ended: frames of pictures, energy of sounds. */
  seen() {
    return this.page.evaluate(async () => {
      const live = window.pc ? window.pc.getTransceivers().filter((t) => t.currentDirection?.includes('recv')) : [];
      const all = await Promise.all(live.map(async (t) => {
        const report = [...(await t.receiver.getStats()).values()];
        const rtp = report.find((s) => s.type === 'inbound-rtp');
        return { key: t.mid, kind: t.receiver.track.kind, frames: rtp?.framesDecoded ?? 0, energy: rtp?.totalAudioEnergy ?? 0 };
      }));
      const of = (kind, field) => Object.fromEntries(all.filter((s) => s.kind === kind).map((s) => [s.key, s[field]]));
      return { frames: of('video', 'frames'), energies: of('audio', 'energy') };
    });
  }

  answersWrongly() { return this.page.evaluate(() => { window.spoils = true; }); }

  exchanges() { return this.page.evaluate(() => window.exchanges); }

  leave() { return this.page.close(); }
}

async function join(name, beginsWrongly = false) {
  const participant = name === 'plan-b' ? new PlanBPeer() : new Page(name);
  participant.beginsWrongly = beginsWrongly;
  await participant.join(url);
  return participant;
}

/** Waits until everybody has decoded so many frames more, and some sound, of everybody else, and has nobody who is gone. The least of both. */
async function whole(participants, what) {
  const pictures = participants.reduce((sum, { pictures: own }) => sum + own, 0);
  const base = await Promise.all(participants.map((one) => one.seen()));
  let last;
  const gained = (one, field) => Object.entries(last[one][field]).map(([key, value]) => value - (base[one][field][key] ?? 0));
  const isWhole = (one) => {
    const [frames, energies] = [gained(one, 'frames'), gained(one, 'energies')];
    return frames.length === pictures - participants[one].pictures && energies.length === participants.length - 1
      && frames.every((count) => count >= FRAMES) && energies.every((energy) => energy > 0);
  };
  await within(180_000, what, (async () => {
    do {
      await sleep(500);
      last = await Promise.all(participants.map((one) => one.seen()));
    } while (!participants.every((_, one) => isWhole(one)));
  })()).catch((error) => { throw new Error(`${error.message}: ${JSON.stringify({ base, last })}`); });
  const least = (field) => Math.min(...participants.flatMap((_, one) => gained(one, field)));
  return `${participants.length} there, at least ${least('frames')} frames and energy ${least('energies').toExponential(1)} of each by each`;
}

try {
  for (const name of new Set(names.filter((each) => each !== 'plan-b'))) browsers.set(name, await launch(name));
  const participants = [];
  for (const [at, name] of names.entries()) participants.push(await join(name, at === 0 && name !== 'plan-b'));
  const spoiling = [participants[0]];
  cell(WHO, 'answers', 'everybody', await whole(participants, 'everybody decodes everybody'), true);
  // Two more answer the next offer, which tells that somebody has left, wrongly.
  for (const one of participants.slice(-2)) {
    await one.answersWrongly();
    spoiling.push(one);
  }
  const wrong = [];
  const followed = async (one) => {
    const { offers, spoiled } = await one.exchanges();
    if (spoiled === null || offers <= spoiled) throw new Error(`${one.name} answered offer ${spoiled} wrongly, and got ${offers}`);
    wrong.push(`${one.name}: wrong to offer ${spoiled} of ${offers}`);
  };
  await followed(participants[0]);
  const gone = participants.shift();
  await gone.leave();
  cell(WHO, 'answers', 'one leaves', await whole(participants, 'one has left'), true);
  participants.push(await join(gone.name));
  cell(WHO, 'answers', 'one joins', await whole(participants, 'one has joined'), true);
  for (const one of spoiling.slice(1)) await followed(one);
  cell(WHO, 'answers', 'wrong answers', `${wrong.join(', ')}; all goes on`, true);
  const offers = await Promise.all(participants.map(async (one) => (await one.exchanges()).offers));
  // The one that joined last has got everything with its first.
  const again = offers.slice(0, -1).every((count) => count > 2);
  cell(WHO, 'answers', 'offered again', `${offers.join(', ')} offers`, again);
} catch (error) {
  console.error(error.stack);
  process.exitCode = 1;
} finally {
  for (const { close } of browsers.values()) await close();
  // What libwebrtc in Node has open would hold the process.
  process.exit();
}

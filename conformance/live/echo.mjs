// The example `echo_frames`, and a page of a real browser that connects to it.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { createServer } from 'node:http';
import { within } from './browser.mjs';

/** Keeps a broken run finite. */
export const PATIENCE = 40_000;

/** The program, and the lines that it says. */
export class Echo {
  constructor(program, words) {
    this.lines = [];
    this.waiting = [];
    this.process = spawn(program, words, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.process.stdin.on('error', () => {});
    createInterface({ input: this.process.stdout }).on('line', (line) => {
      const at = this.waiting.findIndex(([start]) => line.startsWith(`${start} `));
      if (at >= 0) this.waiting.splice(at, 1)[0][1](line);
      else this.lines.push(line);
    });
  }

  /** The rest of the next line that begins with this word. */
  async line(word) {
    const at = this.lines.findIndex((line) => line.startsWith(`${word} `));
    const line = at >= 0
      ? this.lines.splice(at, 1)[0]
      : await within(PATIENCE, `"${word}" of the program`, new Promise((done) => this.waiting.push([word, done])));
    return line.slice(word.length + 1);
  }

  /** A description; line breaks are \n within a line. */
  async description(type) {
    return { type, sdp: (await this.line(type)).replaceAll('\\n', '\r\n') };
  }

  say(line) {
    this.process.stdin.write(`${line}\n`);
  }

  describe({ type, sdp }) {
    this.say(`${type} ${sdp.replaceAll('\r\n', '\\n')}`);
  }

  /** What it has counted; older figures are passed over. */
  async counts() {
    this.lines = this.lines.filter((line) => !line.startsWith('counts '));
    const [received, keyFrames, sent, lost, sounds] = (await this.line('counts')).split(' ').map(Number);
    return { received, keyFrames, sent, lost, sounds };
  }

  /** What was repaired of a kind of media; older figures are passed over. */
  async repaired(kind) {
    this.lines = this.lines.filter((line) => !line.startsWith(`repaired ${kind} `));
    const figures = (await this.line(`repaired ${kind}`)).split(' ').map(Number);
    const [lost, fecReceived, recovered, fecSent] = figures;
    return { lost, fecReceived, recovered, fecSent };
  }

  errors() {
    return this.lines.filter((line) => line.startsWith('error ')).map((line) => line.slice(6));
  }

  stop() {
    this.process.kill('SIGTERM');
  }
}

// What the page does to connect, in the page.
const inPage = {
  prepare: async () => {
    window.stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 360 } });
    window.describe = async (pc) => {
      await pc.setLocalDescription();
      while (pc.iceGatheringState !== 'complete') await new Promise((soon) => { setTimeout(soon, 20); });
      return { type: pc.localDescription.type, sdp: pc.localDescription.sdp };
    };
    window.begin = () => {
      window.pc = new RTCPeerConnection();
      window.pc.ontrack = ({ track }) => {
        const element = document.createElement(track.kind);
        element.muted = true;
        element.srcObject = new MediaStream([track]);
        element.play();
        document.body.append(element);
        if (track.kind === 'audio') window.sound = element.srcObject;
      };
    };
  },
  offer: async () => {
    window.begin();
    for (const track of window.stream.getTracks()) window.pc.addTrack(track, window.stream);
    return window.describe(window.pc);
  },
  accept: async (answer) => window.pc.setRemoteDescription(answer),
  answer: async (offer) => {
    window.begin();
    await window.pc.setRemoteDescription(offer);
    for (const track of window.stream.getTracks()) window.pc.addTrack(track, window.stream);
    return window.describe(window.pc);
  },
  end: () => {
    window.pc.close();
    document.body.replaceChildren();
  },
};

/** A page with camera and microphone. */
export async function openPage(browser) {
  const server = createServer((_, response) => {
    response.setHeader('Content-Type', 'text/html');
    response.end('<!doctype html><title>frames</title>');
  }).listen(0, '127.0.0.1');
  await new Promise((ready) => { server.once('listening', ready); });
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${server.address().port}/`, { waitUntil: 'load' });
  server.close();
  await page.evaluate(inPage.prepare);
  return page;
}

/** Connects, the browser in this role, through a link if there is one. `words` are for the program. */
export async function meet(page, program, role, words, link) {
  const toBrowser = (description) => link?.toBrowser(description) ?? description;
  const toProgram = (description) => link?.toProgram(description) ?? description;
  const echo = new Echo(program, [role === 'offers' ? 'answer' : 'offer', ...words]);
  if (role === 'offers') {
    echo.describe(toProgram(await page.evaluate(inPage.offer)));
    await page.evaluate(inPage.accept, toBrowser(await echo.description('answer')));
  } else {
    const offer = toBrowser(await echo.description('offer'));
    echo.describe(toProgram(await page.evaluate(inPage.answer, offer)));
  }
  return echo;
}

/** Ends the connection, on both sides. */
export async function part(page, echo) {
  echo.stop();
  await page.evaluate(inPage.end);
}

// A participant of the example `room` that speaks Plan B: libwebrtc in Node (@roamhq/wrtc). It sends a tone and two pictures, and counts
// what it decodes of the others. It has what `example_room.mjs` has of a page.
import wrtc from '@roamhq/wrtc';
import WebSocket from 'ws';

const [WIDTH, HEIGHT] = [160, 120];
const FRAME_MS = 100;
const RATE = 48_000;
const SOUND_MS = 10;

/** A tone, for as long as the process lives. */
function tone() {
  const source = new wrtc.nonstandard.RTCAudioSource();
  const samples = new Int16Array(RATE / 1000 * SOUND_MS);
  let at = 0;
  setInterval(() => {
    for (let n = 0; n < samples.length; n += 1, at += 1) samples[n] = Math.sin(at / RATE * 2 * Math.PI * 440) * 8000;
    source.onData({ samples, sampleRate: RATE, bitsPerSample: 16, channelCount: 1, numberOfFrames: samples.length });
  }, SOUND_MS).unref();
  return source.createTrack();
}

/** A picture that changes, for as long as the process lives. */
function picture() {
  const source = new wrtc.nonstandard.RTCVideoSource();
  const data = new Uint8ClampedArray(WIDTH * HEIGHT * 3 / 2).fill(128);
  let step = 0;
  setInterval(() => {
    step += 1;
    for (let n = 0; n < WIDTH * HEIGHT; n += 1) data[n] = (n + step * 3) & 255;
    source.onFrame({ width: WIDTH, height: HEIGHT, data });
  }, FRAME_MS).unref();
  return source.createTrack();
}

/** Pictures that each participant of this kind sends. */
export const PICTURES = 2;

export class PlanBPeer {
  name = 'plan-b';
  pictures = PICTURES;
  offers = 0;
  /** Whether the next answer is to be wrong, and after how many offers one was. */
  spoil = false;
  spoiled = null;
  /** By track: what was decoded of it. */
  #seen = new Map();

  async join(url) {
    const capable = new wrtc.RTCPeerConnection({ sdpSemantics: 'plan-b' });
    const { sdp } = await capable.createOffer({ offerToReceiveAudio: true, offerToReceiveVideo: true });
    capable.close();
    const pc = this.pc = new wrtc.RTCPeerConnection({ sdpSemantics: 'plan-b' });
    const own = new wrtc.MediaStream();
    for (const track of [tone(), ...Array.from({ length: PICTURES }, picture)]) pc.addTrack(track, own);
    pc.ontrack = ({ track }) => this.#watch(track);
    const name = `old guest ${Math.floor(Math.random() * 1e6)}`;
    this.socket = new WebSocket(`${url.replace('http', 'ws')}/join/${encodeURIComponent(name)}?plan-b`);
    const send = (message) => this.socket.send(JSON.stringify(message));
    this.socket.on('open', () => send({ capabilities: sdp }));
    let work = Promise.resolve();
    this.socket.on('message', (data) => {
      work = work.then(async () => {
        this.offers += 1;
        const offer = JSON.parse(data);
        if (offer.sdp.match(/^m=/gm).length > 2) throw new Error('an offer of more than two sections is not Plan B');
        await pc.setRemoteDescription(offer);
        await pc.setLocalDescription(await pc.createAnswer());
        let { type, sdp: answer } = pc.localDescription;
        if (this.spoil) {
          [this.spoil, this.spoiled] = [false, this.offers];
          answer = answer.replace('a=mid:video-tracks', 'a=mid:pictures');
        }
        send({ type, sdp: answer });
      }).catch((error) => console.error(`plan-b: ${error.stack}`));
    });
  }

  #watch(track) {
    const seen = { kind: track.kind, frames: 0, energy: 0 };
    this.#seen.set(track, seen);
    if (track.kind === 'video') {
      new wrtc.nonstandard.RTCVideoSink(track).onframe = () => { seen.frames += 1; };
    } else {
      new wrtc.nonstandard.RTCAudioSink(track).ondata = ({ samples }) => {
        for (const sample of samples) seen.energy += (sample / 32768) ** 2 / samples.length;
      };
    }
  }

  /** Frames of each picture and energy of each sound that has not ended, by track. */
  async seen() {
    const live = new Set(this.pc.getReceivers().map(({ track }) => track).filter(({ readyState }) => readyState === 'live').map(({ id }) => id));
    const all = [...this.#seen].filter(([{ id }]) => live.has(id));
    const of = (wanted, field) => Object.fromEntries(all.filter(([{ kind }]) => kind === wanted).map(([{ id }, seen]) => [id, seen[field]]));
    return { frames: of('video', 'frames'), energies: of('audio', 'energy') };
  }

  async answersWrongly() { this.spoil = true; }

  async exchanges() { return { offers: this.offers, spoiled: this.spoiled }; }

  async leave() {
    this.socket.close();
    this.pc.close();
  }
}

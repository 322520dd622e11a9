// A link between two ends that loses packets, with which both are told that it is the other: two UDP sockets of this script, one candidate for
// each end.
import { createSocket } from 'node:dgram';

/** Random numbers from 0 to 1, the same for the same seed (mulberry32). */
export function dice(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let word = Math.imul(state ^ (state >>> 15), 1 | state);
    word = (word + Math.imul(word ^ (word >>> 7), 61 | word)) ^ word;
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Where a description says that its end can be reached by UDP over IPv4. */
function reached(sdp) {
  const found = sdp.match(/a=candidate:\S+ 1 udp \d+ (\d+\.\d+\.\d+\.\d+) (\d+) typ host/i);
  if (!found) throw new Error(`no candidate in\n${sdp}`);
  return { address: found[1], port: Number(found[2]) };
}

/** RFC 7983: whether it is SRTP or SRTCP, not STUN or DTLS. */
const isMedia = ([first]) => first >= 128 && first <= 191;

/** RFC 5761: whether it is SRTP, if it is either. */
export const isRtp = (packet) => !(packet[1] >= 192 && packet[1] <= 223);

export class Link {
  /**
   * A link. Its `dice` are those of this `seed`; `isLost(end, packet)` says whether what comes from that end is lost, and is called for
   * SRTP and SRTCP alone; each packet takes `delay` milliseconds.
   */
  static async make(seed, { isLost = () => false, delay = 0 } = {}) {
    const link = new Link();
    link.dice = dice(seed);
    link.isLost = isLost;
    link.ends = {};
    for (const [end, other] of [['browser', 'program'], ['program', 'browser']]) {
      const socket = createSocket('udp4');
      socket.bind(0);
      await new Promise((ready) => { socket.once('listening', ready); });
      socket.on('message', (packet, from) => {
        link.ends[end] = { address: from.address, port: from.port };
        if (isMedia(packet) && link.isLost(end, packet)) return;
        if (delay > 0) setTimeout(() => link.pass(other, packet), delay);
        else link.pass(other, packet);
      });
      link[end] = socket;
    }
    return link;
  }

  pass(end, packet) {
    const to = this.ends[end];
    if (to && !this.closed) this[end].send(packet, to.port, to.address);
  }

  /** The description with the link in the place of the end that made it. */
  through(end, other, description) {
    this.ends[end] = reached(description.sdp);
    const { address } = this.ends[end];
    let written = false;
    const lines = description.sdp.split('\r\n').filter((line) => {
      if (!line.startsWith('a=candidate:')) return true;
      const first = !written;
      written = true;
      return first;
    });
    const candidate = `a=candidate:1 1 udp 2130706431 ${address} ${this[other].address().port} typ host`;
    const sdp = lines.map((line) => (line.startsWith('a=candidate:') ? candidate : line)).join('\r\n');
    return { ...description, sdp };
  }

  toBrowser(description) {
    this.fromProgram = description.sdp;
    return this.through('program', 'browser', description);
  }

  toProgram(description) {
    this.fromBrowser = description.sdp;
    return this.through('browser', 'program', description);
  }

  close() {
    this.closed = true;
    this.browser.close();
    this.program.close();
  }
}

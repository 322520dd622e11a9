// libdatachannel (npm's node-datachannel), a stack in C++, as a peer of foreign.mjs. It has no codec: what it sends comes from a clip.
import nodeDataChannel from 'node-datachannel';
import { Adapter, Channel } from './foreign_media.mjs';

/** It restarts ICE in neither role. `races`: how many connections may fail, before one stands, of a fault of its own. */
export const FACTS = { libdatachannel: { most: 262_144, restarts: false, follows: false, races: 3 } };
const BUFFERED = 256 * 1024;
const { PeerConnection, Video, Audio } = nodeDataChannel;

nodeDataChannel.initLogger(process.env.FOREIGN_LOG ?? 'Warning', (level, text) => console.error(`libdatachannel ${level}: ${text}`));

const kindOf = (mid, sdp) => (new RegExp(`m=(audio|video) (?:(?!\\r\\nm=)[^])*a=mid:${mid}\\r?\\n`).exec(sdp)?.[1]);

export class Peer extends Adapter {
  constructor({ name, player, codec = 'VP8', direction = 'SendRecv' }) {
    super();
    this.player = player;
    this.codec = codec;
    this.direction = direction;
    this.sources = [];
    this.ssrc = 1000;
    this.added = { video: 0, audio: 0 };
    this.tracks = [];
    this.pc = new PeerConnection(name, { iceServers: [], disableAutoNegotiation: true });
    this.pc.onLocalCandidate((candidate, mid) => this.emit('candidate', { candidate, sdpMid: mid }));
    this.pc.onStateChange((state) => this.state(state));
    this.pc.onDataChannel((channel) => this.came(this.wrap(channel)));
    this.pc.onTrack((track) => this.play(track, track.type() === 'video' || track.type() === 'audio' ? track.type() : kindOf(track.mid(), this.remote)));
  }

  wrap(channel) {
    const wrapped = new Channel(channel.getLabel(), async (data) => {
      if (typeof data === 'string') channel.sendMessage(data);
      else channel.sendMessageBinary(data);
      while (channel.bufferedAmount() > BUFFERED) await new Promise((soon) => setTimeout(soon, 2));
    });
    channel.onMessage((data) => wrapped.take(typeof data === 'string' ? data : Buffer.from(data)));
    channel.onOpen(() => wrapped.open());
    channel.onClosed(() => {
      wrapped.closed();
      this.vanish('its channel closed');
    });
    if (channel.isOpen()) wrapped.open();
    return wrapped;
  }

  /** Counts what comes in on a track, and plays the clip on it. */
  play(track, kind) {
    this.tracks.push(track);
    const key = this.track(kind);
    track.onMessage((packet) => {
      if (packet[1] < 192 || packet[1] > 223) this.packet(key, packet[1] >= 128);
    });
    const ssrc = this.ssrc += 1;
    const write = (packet) => {
      const payloadType = this.payloadTypes?.[kind];
      if (!track.isOpen() || payloadType === undefined) return;
      const own = Buffer.from(packet);
      own[1] = (own[1] & 0x80) | payloadType;
      own.writeUInt32BE(ssrc, 8);
      track.sendMessageBinary(own);
    };
    this.player.on(kind, write);
    this.sources.push([kind, write]);
  }

  async media(kind) {
    const mid = `${kind}${this.added[kind]}`;
    this.added[kind] += 1;
    const media = kind === 'video' ? new Video(mid, this.direction) : new Audio(mid, this.direction);
    if (kind === 'audio') media.addOpusCodec(111);
    else if (this.codec === 'VP8') media.addVP8Codec(96);
    else media.addH264Codec(96);
    media.addSSRC(this.ssrc + 1, 'clip', 'clip', mid);
    this.play(this.pc.addTrack(media), kind);
  }

  async channel(label) {
    const wrapped = this.wrap(this.pc.createDataChannel(label));
    this.channels.set(label, wrapped);
    return wrapped;
  }

  /** What we send it has these payload types, whoever offered. */
  learn(sdp) {
    const numbers = [...sdp.matchAll(/^a=rtpmap:(\d+) (VP8|H264|opus)\//gim)];
    const of = (codec) => Number(numbers.find(([, , found]) => found.toLowerCase() === codec)?.[1]);
    this.payloadTypes = { video: of(this.codec.toLowerCase()), audio: of('opus') };
  }

  described(type) {
    return new Promise((described) => {
      this.pc.onLocalDescription((sdp, kind) => { if (kind === type) described(sdp); });
    });
  }

  /** With `complete` all candidates are in it. */
  async offer({ complete = false }) {
    const described = this.described('offer');
    this.pc.setLocalDescription('offer');
    const sdp = await described;
    if (!complete) return sdp;
    while (this.pc.gatheringState() !== 'complete') await new Promise((soon) => setTimeout(soon, 10));
    return this.pc.localDescription().sdp;
  }

  async answer(sdp) {
    this.remote = sdp;
    this.learn(sdp);
    const described = this.described('answer');
    this.pc.setRemoteDescription(sdp, 'offer');
    this.pc.setLocalDescription('answer');
    return described;
  }

  async accept(sdp) {
    this.remote = sdp;
    this.learn(sdp);
    this.pc.setRemoteDescription(sdp, 'answer');
  }

  async candidate({ candidate, sdpMid }) {
    this.pc.addRemoteCandidate(candidate, sdpMid ?? '0');
  }

  async close() {
    this.pc.close();
  }

  async quit() {
    for (const [kind, write] of this.sources) this.player.off(kind, write);
    this.pc.close();
  }
}

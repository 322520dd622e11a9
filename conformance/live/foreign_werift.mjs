// werift (npm), a stack in TypeScript, as a peer of foreign.mjs. It has no codec: what it sends comes from a clip.
import { MediaStreamTrack, RTCPeerConnection, useH264, useOPUS, useVP8 } from 'werift';
import { Adapter, Channel } from './foreign_media.mjs';

/** It sends nothing for an empty message, and nothing at its end: it closes its sockets before it aborts. */
export const FACTS = { werift: { most: 65_536, restarts: true, follows: true, noEmpty: true, silent: true } };
const BUFFERED = 256 * 1024;
/** Baseline too: a stream that says no more (FFmpeg's, Chromium's) is not for receivers of constrained baseline alone. */
const H264 = ['42e01f', '42001f'].map((profile) => useH264({
  parameters: `profile-level-id=${profile};packetization-mode=1;level-asymmetry-allowed=1`,
}));

export class Peer extends Adapter {
  constructor({ player, codec = 'VP8', direction = 'sendrecv' }) {
    super();
    this.player = player;
    this.direction = direction;
    this.sources = [];
    this.pc = new RTCPeerConnection({ codecs: { video: codec === 'VP8' ? [useVP8()] : H264, audio: [useOPUS()] } });
    this.pc.onIceCandidate.subscribe((candidate) => this.emit('candidate', candidate?.toJSON?.() ?? candidate ?? null));
    this.pc.connectionStateChange.subscribe((state) => this.state(state));
    this.pc.onDataChannel.subscribe((channel) => this.came(this.wrap(channel)));
    this.pc.onTrack.subscribe((track) => {
      const key = this.track(track.kind);
      track.onReceiveRtp.subscribe((rtp) => this.packet(key, rtp.header.marker));
    });
  }

  wrap(channel) {
    const wrapped = new Channel(channel.label, async (data) => {
      channel.send(data);
      while (channel.bufferedAmount > BUFFERED) await new Promise((soon) => setTimeout(soon, 2));
    });
    channel.onMessage.subscribe((data) => wrapped.take(data));
    const state = (now) => {
      if (now === 'open') wrapped.open();
      if (now === 'closed') {
        wrapped.closed();
        this.vanish('its channel closed');
      }
    };
    channel.stateChanged.subscribe(state);
    state(channel.readyState);
    return wrapped;
  }

  /** A track that plays the clip. */
  source(kind) {
    const track = new MediaStreamTrack({ kind });
    const write = (packet) => track.writeRtp(packet);
    this.player.on(kind, write);
    this.sources.push([kind, write]);
    return track;
  }

  async media(kind) {
    const { direction } = this;
    this.pc.addTransceiver(direction === 'recvonly' ? kind : this.source(kind), { direction });
  }

  async channel(label) {
    const wrapped = this.wrap(this.pc.createDataChannel(label));
    this.channels.set(label, wrapped);
    return wrapped;
  }

  /** With `complete` all candidates are in it. */
  async offer({ restart = false, complete = false }) {
    await this.pc.setLocalDescription(await this.pc.createOffer({ iceRestart: restart }));
    while (complete && this.pc.iceGatheringState !== 'complete') await new Promise((soon) => setTimeout(soon, 10));
    return this.pc.localDescription.sdp;
  }

  async answer(sdp) {
    await this.pc.setRemoteDescription({ type: 'offer', sdp });
    for (const transceiver of this.pc.getTransceivers()) {
      if (transceiver.sender.track) continue;
      transceiver.setDirection('sendrecv');
      await transceiver.sender.replaceTrack(this.source(transceiver.kind));
    }
    await this.pc.setLocalDescription(await this.pc.createAnswer());
    return this.pc.localDescription.sdp;
  }

  async accept(sdp) {
    await this.pc.setRemoteDescription({ type: 'answer', sdp });
  }

  async candidate(candidate) {
    await this.pc.addIceCandidate(candidate);
  }

  async close() {
    await this.pc.close();
  }

  async quit() {
    for (const [kind, write] of this.sources) this.player.off(kind, write);
    await this.pc.close();
  }
}

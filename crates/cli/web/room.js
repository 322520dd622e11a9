// One participant of a room: the signalling on /ws that begins with `join`, and the one peer connection behind it (docs/signalling.md, "Rooms").
// The server makes all offers; this end answers, and asks for what it wants to send.

const JOIN_LIMIT_MS = 30_000;
/** What a camera is asked for: of smaller pictures Chromium sends fewer than three layers. */
const CAMERA = { width: { ideal: 960 }, height: { ideal: 540 }, frameRate: { ideal: 30 } };
/** Of each layer, the smallest first: how much smaller than the camera's picture, and bits a second. */
const LAYERS = [{ scale: 4, bps: 150_000 }, { scale: 2, bps: 450_000 }, { scale: 1, bps: 1_200_000 }];
const SCREEN_BPS = 1_500_000;

/** The sections of a description: { mid, kind, direction }. */
export function sections(sdp) {
  return sdp.split(/\r?\nm=/).slice(1).map((text) => ({
    kind: text.split(' ', 1)[0],
    mid: /\r?\na=mid:(\S+)/.exec(text)?.[1],
    direction: /\r?\na=(sendrecv|sendonly|recvonly|inactive)\b/.exec(text)?.[1] ?? 'sendrecv',
    open: !/^\w+ 0 /.test(text),
  }));
}

/** An offer that says what this browser can, and is never set. */
async function capabilities() {
  const pc = new RTCPeerConnection();
  try {
    pc.addTransceiver('audio');
    // The layers are named so that the extensions which name them are offered too.
    pc.addTransceiver('video', { sendEncodings: [{ rid: 'l' }, { rid: 'm' }, { rid: 'h' }] });
    return (await pc.createOffer()).sdp;
  } finally {
    pc.close();
  }
}

/** What a token for a room says, which the server alone can check; `null` if it is none. */
export function claims(token) {
  try {
    const part = token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/');
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part), (char) => char.charCodeAt(0))));
  } catch {
    return null;
  }
}

/** What happens, as events: 'people' (the list changed), 'said' ({ id, name, text }), 'speaker' (id or null), 'tracks', 'pictures', 'state', 'note' ({ text, kind }), 'closed' (why). */
export class Participation extends EventTarget {
  constructor({ room, name, audio = true, video = true, token }) {
    super();
    const sends = claims(token)?.may?.includes('publish') ?? true;
    Object.assign(this, { room, name, token, wants: { audio: audio && sends, video: video && sends } });
    this.you = null;
    /** By id: { id, name, audio_muted, video_muted, recording }, in the order in which they came. */
    this.people = new Map();
    /** By mid: { mid, participant, source, track }. */
    this.tracks = new Map();
    /** By mid: { layer, score, layers, starved }, what the server says of a picture that it sends us. */
    this.pictures = new Map();
    /** By mid: the highest layer that we want, where that is not all. */
    this.preferred = new Map();
    this.speaker = null;
    this.local = null;
    this.screen = null;
    this.muted = { audio: false, video: false };
    this.work = Promise.resolve();
    this.ended = false;
  }

  /** Asks for camera and microphone, and joins; resolves when the server has let us in. */
  async join() {
    this.local = await this.openDevices();
    this.muted = { audio: !this.trackOf('audio'), video: !this.trackOf('video') };
    const sdp = await capabilities();
    this.pc = new RTCPeerConnection();
    this.wire();
    const url = new URL('/ws', location.href);
    url.protocol = url.protocol.replace('http', 'ws');
    this.socket = new WebSocket(url);
    const joined = new Promise((resolve, reject) => {
      this.settle = { resolve, reject };
    });
    this.socket.onopen = () => this.tell({ type: 'join', room: this.room, name: this.name, token: this.token, sdp });
    this.socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      // One at a time: a description may not overtake the one before it.
      this.work = this.work.then(() => this.take(message)).catch((error) => this.note(`${error.name}: ${error.message}`, 'error'));
    };
    this.socket.onclose = () => this.end(this.refused ?? 'the server has closed the connection');
    const late = setTimeout(() => this.end('the server did not answer in time'), JOIN_LIMIT_MS);
    try {
      await joined;
    } finally {
      clearTimeout(late);
    }
    if (this.muted.audio || this.muted.video) this.tellMuted();
    return this;
  }

  /** Camera and microphone; whichever there is, or none: who has neither can look and listen. */
  async openDevices() {
    const wanted = { audio: this.wants.audio, video: this.wants.video && CAMERA };
    const tries = [wanted, { ...wanted, video: false }, { ...wanted, audio: false }].filter(({ audio, video }) => audio || video);
    for (const constraints of navigator.mediaDevices ? tries : []) {
      try {
        return await navigator.mediaDevices.getUserMedia(constraints);
      } catch (error) {
        this.note(`camera and microphone: ${error.message}`, 'error');
      }
    }
    return new MediaStream();
  }

  trackOf(kind) { return this.local?.getTracks().find((track) => track.kind === kind); }

  wire() {
    const { pc } = this;
    pc.ontrack = ({ transceiver }) => {
      const known = this.tracks.get(transceiver.mid);
      if (known) known.track = transceiver.receiver.track;
      this.emit('tracks');
    };
    pc.onconnectionstatechange = () => {
      this.emit('state', pc.connectionState);
      this.note(`connection ${pc.connectionState}`);
      // The way is lost: the server offers another.
      if (pc.connectionState === 'failed') this.tell({ type: 'restart' });
    };
  }

  async take(message) {
    const { people } = this;
    switch (message.type) {
      case 'joined':
        this.you = message.you;
        for (const person of message.participants) people.set(person.id, person);
        this.settle.resolve();
        this.emit('people');
        break;
      case 'entered':
        people.set(message.participant.id, message.participant);
        this.emit('entered', message.participant);
        this.emit('people');
        break;
      case 'muted':
        if (people.has(message.participant.id)) people.set(message.participant.id, message.participant);
        this.emit('people');
        break;
      case 'left': {
        const gone = people.get(message.id);
        people.delete(message.id);
        if (this.speaker === message.id) this.lead(null);
        if (gone) this.emit('left', gone);
        this.emit('people');
        break;
      }
      case 'said':
        this.emit('said', message);
        break;
      case 'speaker':
        this.lead(message.id);
        break;
      case 'offer':
        await this.answer(message.sdp);
        break;
      case 'tracks':
        this.place(message.tracks);
        break;
      case 'pictures':
        for (const picture of message.pictures) this.pictures.set(picture.mid, picture);
        this.emit('pictures');
        break;
      case 'error':
        this.note(`server: ${message.message}`, 'error');
        // Before it has let us in, a refusal is the end.
        if (!this.you) this.refused = message.message;
        break;
      default:
    }
  }

  lead(id) {
    this.speaker = id;
    this.emit('speaker', id);
  }

  /** Answers an offer: fills the sections in which the server takes something from us. */
  async answer(sdp) {
    const { pc } = this;
    await pc.setRemoteDescription({ type: 'offer', sdp });
    const ours = sections(sdp).filter(({ direction, open }) => open && direction === 'recvonly');
    const by = (mid) => pc.getTransceivers().find((transceiver) => transceiver.mid === mid);
    const [sound] = ours.filter(({ kind }) => kind === 'audio');
    const [camera, screen] = ours.filter(({ kind }) => kind === 'video');
    this.sending = { audio: sound?.mid, camera: camera?.mid, screen: screen?.mid };
    if (sound) await this.send(by(sound.mid), this.trackOf('audio'), this.local);
    if (camera) await this.send(by(camera.mid), this.trackOf('video'), this.local, 'camera');
    if (screen) await this.send(by(screen.mid), this.screen?.getVideoTracks()[0], this.screen, 'screen');
    await pc.setLocalDescription();
    this.tell({ type: 'answer', sdp: pc.localDescription.sdp, screen: this.screen && screen ? screen.mid : null });
  }

  async send(transceiver, track, stream, source) {
    if (!transceiver) return;
    const { sender } = transceiver;
    if (sender.track !== (track ?? null)) await sender.replaceTrack(track ?? null);
    transceiver.direction = track ? 'sendonly' : 'inactive';
    if (!track) return;
    sender.setStreams?.(stream);
    if (source) await this.shape(sender, source).catch((error) => this.note(`layers: ${error.message}`, 'error'));
  }

  /** The sizes and rates of what a sender of pictures sends. */
  async shape(sender, source) {
    const parameters = sender.getParameters();
    const { encodings } = parameters;
    if (!encodings?.length) return;
    if (source === 'screen') {
      // A screen is read: one large picture, and no smaller ones.
      encodings.forEach((encoding, index) => Object.assign(encoding, { active: index === encodings.length - 1, scaleResolutionDownBy: 1, maxBitrate: SCREEN_BPS }));
    } else {
      const layers = LAYERS.slice(-encodings.length);
      encodings.forEach((encoding, index) => Object.assign(encoding, { scaleResolutionDownBy: layers[index].scale, maxBitrate: layers[index].bps }));
    }
    await sender.setParameters(parameters);
  }

  /** Whose tracks are in which sections. */
  place(tracks) {
    const receivers = new Map(this.pc.getTransceivers().map(({ mid, receiver }) => [mid, receiver.track]));
    this.tracks = new Map(tracks.map((track) => [track.mid, { ...track, track: receivers.get(track.mid) }]));
    for (const known of [this.pictures, this.preferred]) for (const mid of [...known.keys()]) if (!this.tracks.has(mid)) known.delete(mid);
    this.emit('tracks');
  }

  /** Asks for this layer of a picture at most, from 0 for the smallest; `null`: the best that the path carries. */
  prefer(mid, layer) {
    if (layer === null) this.preferred.delete(mid); else this.preferred.set(mid, layer);
    this.tell({ type: 'prefer', mid, layer });
    this.emit('pictures');
  }

  /** The tracks of a participant, by source: { microphone, camera, screen }. */
  tracksOf(id) {
    const own = [...this.tracks.values()].filter(({ participant, track }) => participant === id && track);
    return Object.fromEntries(own.map((each) => [each.source, each]));
  }

  /** Mutes the microphone ('audio') or the camera ('video'), or opens it again. */
  mute(kind, muted) {
    const track = this.trackOf(kind);
    if (!track) return;
    track.enabled = !muted;
    this.muted[kind] = muted;
    this.tellMuted();
    this.emit('people');
  }

  tellMuted() { this.tell({ type: 'mute', ...this.muted }); }

  /** Shows the screen too; a browser asks which part of it. `stream`: another picture instead. */
  async share(stream) {
    const screen = stream ?? await navigator.mediaDevices.getDisplayMedia({ video: true });
    this.screen = screen;
    // The browser has a button of its own that ends it.
    screen.getVideoTracks()[0].addEventListener('ended', () => { if (this.screen === screen) this.unshare(); });
    this.tell({ type: 'publish', audio: 1, video: 2 });
    this.emit('people');
  }

  unshare() {
    for (const track of this.screen?.getTracks() ?? []) track.stop();
    this.screen = null;
    this.tell({ type: 'publish', audio: 1, video: 1 });
    this.emit('people');
  }

  say(text) { this.tell({ type: 'say', text }); }

  tell(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  /**
   * What goes and comes, from getStats: { sent: [{ at, source, rid, width, height, bytes, frames }], received: by mid
   * { at, participant, source, width, height, bytes, frames, lost, energy, freezes } }. Totals at a time in milliseconds, not rates.
   */
  async figures() {
    const report = [...(await this.pc.getStats()).values()];
    const sourceOf = (mid) => Object.keys(this.sending ?? {}).find((source) => this.sending[source] === mid);
    const sent = report.filter(({ type }) => type === 'outbound-rtp').map((rtp) => ({
      at: rtp.timestamp,
      source: sourceOf(rtp.mid) ?? rtp.kind,
      rid: rtp.rid,
      width: rtp.frameWidth ?? 0,
      height: rtp.frameHeight ?? 0,
      bytes: rtp.bytesSent ?? 0,
      frames: rtp.framesEncoded ?? 0,
    }));
    const received = {};
    for (const [mid, { participant, source, track }] of this.tracks) {
      const rtp = report.find((each) => each.type === 'inbound-rtp' && (each.mid === mid || each.trackIdentifier === track?.id));
      if (!rtp) continue;
      received[mid] = {
        at: rtp.timestamp,
        participant,
        source,
        width: rtp.frameWidth ?? 0,
        height: rtp.frameHeight ?? 0,
        bytes: rtp.bytesReceived ?? 0,
        frames: rtp.framesDecoded ?? 0,
        lost: rtp.packetsLost ?? 0,
        packets: rtp.packetsReceived ?? 0,
        energy: rtp.totalAudioEnergy ?? 0,
        freezes: rtp.freezeCount ?? 0,
      };
    }
    return { sent, received };
  }

  note(text, kind = 'note') { this.emit('note', { text, kind }); }

  emit(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }

  leave() {
    this.tell({ type: 'bye' });
    this.end('you have left');
  }

  end(why) {
    if (this.ended) return;
    this.ended = true;
    this.settle?.reject(new Error(why));
    this.pc?.close();
    this.socket?.close();
    for (const stream of [this.local, this.screen]) for (const track of stream?.getTracks() ?? []) track.stop();
    this.emit('closed', why);
  }
}

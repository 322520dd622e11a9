// One peer connection with the program that served this page, and its signalling on /ws (docs/signalling.md).
// The browser is the polite side of the "perfect negotiation" pattern: when two offers cross, ours is rolled back.

const CONNECT_LIMIT_MS = 30_000;

export class Session extends EventTarget {
  /**
   * mode: 'watch' (their pattern and music), 'echo' (our camera and microphone come back) or 'data' (no media);
   * offerer: 'browser' or 'server'; codec: 'opus' or 'pcmu', the audio codec we prefer;
   * congestion: the word of the controller of what they send; empty: what the server was started with;
   * link: the emulated link from the beginning, as for emulate(); undefined: what the server was started with.
   */
  constructor({ mode = 'watch', offerer = 'browser', codec = 'opus', link, congestion } = {}) {
    super();
    Object.assign(this, { mode, offerer, codec, link, congestion });
    this.media = new MediaStream();
    this.local = null;
    this.server = null;
    this.channels = {};
    this.makingOffer = false;
    this.work = Promise.resolve();
    this.pc = new RTCPeerConnection();
    this.opened = new Promise((resolve, reject) => { this.resolveOpened = resolve; this.rejectOpened = reject; });
    this.opened.catch(() => {});
    this.wirePeerConnection();
  }

  wirePeerConnection() {
    const { pc } = this;
    pc.onicecandidate = ({ candidate }) => this.tell({ type: 'candidate', candidate: candidate ? candidate.toJSON() : null });
    pc.ontrack = ({ track }) => {
      this.media.addTrack(track);
      this.emit('track', track);
    };
    pc.ondatachannel = ({ channel }) => this.adopt(channel);
    pc.onconnectionstatechange = () => {
      this.emit('state', pc.connectionState);
      this.note(`connection ${pc.connectionState}`);
      if (pc.connectionState === 'connected') this.resolveOpened();
      if (pc.connectionState === 'failed') this.rejectOpened(new Error('the connection failed'));
    };
    pc.oniceconnectionstatechange = () => this.note(`ICE ${pc.iceConnectionState}`);
    pc.onnegotiationneeded = () => {
      // When the server was asked to offer, its offer is on the way.
      if (this.offerer === 'browser' || pc.remoteDescription) this.queue(() => this.offer());
    };
  }

  /** Opens the WebSocket and negotiates; resolves once the connection state is 'connected'. */
  async open() {
    if (this.mode === 'echo') {
      this.local = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 360, frameRate: 30 } });
      this.emit('local', this.local);
    }
    const url = new URL('/ws', location.href);
    url.protocol = url.protocol.replace('http', 'ws');
    this.socket = new WebSocket(url);
    await new Promise((open, fail) => {
      this.socket.onopen = open;
      this.socket.onerror = () => fail(new Error('no WebSocket at /ws'));
    });
    this.socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === 'stats') {
        this.server = message.stats;
        this.emit('stats', this.server);
      } else {
        // One at a time: a candidate may not overtake the description before it.
        this.queue(() => this.take(message));
      }
    };
    this.socket.onclose = () => {
      this.note('signalling closed');
      this.rejectOpened(new Error('the signalling connection closed'));
    };
    this.tell({ type: 'start', mode: this.mode, offerer: this.offerer, audio: this.codec, congestion: this.congestion || undefined });
    if (this.link !== undefined) this.emulate(this.link);
    this.addMedia();
    const late = setTimeout(() => this.rejectOpened(new Error('not connected in time')), CONNECT_LIMIT_MS);
    try {
      await this.opened;
    } finally {
      clearTimeout(late);
    }
    return this;
  }

  addMedia() {
    const { pc } = this;
    if (this.local) {
      for (const track of this.local.getTracks()) pc.addTrack(track, this.local);
    }
    if (this.offerer === 'server') return;
    if (this.mode === 'watch') {
      pc.addTransceiver('video', { direction: 'recvonly' });
      pc.addTransceiver('audio', { direction: 'recvonly' });
    }
    for (const transceiver of pc.getTransceivers()) this.prefer(transceiver);
    for (const label of ['chat', 'file', 'echo']) this.adopt(pc.createDataChannel(label));
  }

  /** Puts the wanted audio codec first; nothing is removed from the list. */
  prefer(transceiver) {
    if (this.codec !== 'pcmu' || transceiver.receiver.track.kind !== 'audio' || !transceiver.setCodecPreferences) return;
    const { codecs } = RTCRtpReceiver.getCapabilities('audio');
    const wanted = (codec) => codec.mimeType.toLowerCase() === 'audio/pcmu';
    transceiver.setCodecPreferences([...codecs.filter(wanted), ...codecs.filter((codec) => !wanted(codec))]);
  }

  adopt(channel) {
    channel.binaryType = 'arraybuffer';
    this.channels[channel.label] = channel;
    this.emit('channel', channel);
    const open = () => {
      this.note(`data channel "${channel.label}" open`);
      this.emit('channelopen', channel);
    };
    if (channel.readyState === 'open') open(); else channel.addEventListener('open', open, { once: true });
    channel.addEventListener('close', () => this.note(`data channel "${channel.label}" closed`));
  }

  /** The channel of that label once it is open. */
  async channel(label) {
    const channel = this.channels[label]
      ?? await new Promise((found) => this.addEventListener('channel', ({ detail }) => detail.label === label && found(detail)));
    if (channel.readyState !== 'open') await new Promise((open) => channel.addEventListener('open', open, { once: true }));
    return channel;
  }

  async offer() {
    try {
      this.makingOffer = true;
      await this.pc.setLocalDescription();
      this.tell({ type: this.pc.localDescription.type, sdp: this.pc.localDescription.sdp });
    } finally {
      this.makingOffer = false;
    }
  }

  async take(message) {
    const { pc } = this;
    if (message.type === 'offer' || message.type === 'answer') {
      this.note(`${message.type} from the server`);
      await pc.setRemoteDescription({ type: message.type, sdp: message.sdp });
      if (message.type === 'offer') {
        await pc.setLocalDescription();
        this.tell({ type: 'answer', sdp: pc.localDescription.sdp });
      }
    } else if (message.type === 'candidate') {
      // null is the end of the server's candidates.
      if (message.candidate?.candidate) this.note(`theirs: ${message.candidate.candidate.slice(10)}`);
      await pc.addIceCandidate(message.candidate ?? undefined);
    } else if (message.type === 'error') {
      this.note(`server: ${message.message}`, 'error');
    }
  }

  queue(step) {
    this.work = this.work.then(step).catch((error) => this.note(`${error.name}: ${error.message}`, 'error'));
  }

  tell(message) {
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    this.socket.send(JSON.stringify(message));
    if (message.sdp) this.note(`${message.type} to the server`);
  }

  /** Puts an emulated link between the two ends: { rate (kbit/s) or null, delay, queue (ms), loss (%) }; null takes it away. */
  emulate(link) { this.tell({ type: 'link', link }); }

  /** How the server sends its video from now on: { active, rate (kbit/s) or null, track }; what is left out is as in the beginning. */
  direct(video) { this.tell({ type: 'video', ...video }); }

  note(text, kind = 'note') { this.emit('note', { text, kind }); }

  emit(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }

  close() {
    this.rejectOpened(new Error('stopped'));
    this.pc.close();
    this.socket?.close();
    for (const track of this.local?.getTracks() ?? []) track.stop();
    this.emit('state', 'closed');
  }
}

// The WebSocket signalling of `antiphon serve` (docs/signalling.md) for a peer connection outside a browser.
import WebSocket from 'ws';

export class Signalling {
  static async connect(url, pc) {
    const socket = new WebSocket(`${url.replace(/^http/, 'ws')}/ws`);
    await new Promise((open, fail) => {
      socket.once('open', open);
      socket.once('error', fail);
    });
    return new Signalling(socket, pc);
  }

  constructor(socket, pc) {
    this.socket = socket;
    this.pc = pc;
    this.chain = Promise.resolve();
    pc.onicecandidate = ({ candidate }) => this.send({ type: 'candidate', candidate: candidate ?? null });
    socket.on('message', (text) => {
      // One message at a time: a candidate may not overtake the description before it.
      this.chain = this.chain.then(() => this.take(JSON.parse(text))).catch((error) => console.error('signalling:', error));
    });
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  async take(message) {
    if (message.type === 'offer') {
      await this.pc.setRemoteDescription({ type: 'offer', sdp: message.sdp });
      await this.describe(await this.pc.createAnswer());
    } else if (message.type === 'answer') {
      await this.pc.setRemoteDescription({ type: 'answer', sdp: message.sdp });
    } else if (message.type === 'candidate' && message.candidate?.candidate) {
      await this.pc.addIceCandidate(message.candidate);
    } else if (message.type === 'error') {
      console.error('server:', message);
    }
  }

  async describe(description) {
    await this.pc.setLocalDescription(description);
    this.send({ type: this.pc.localDescription.type, sdp: this.pc.localDescription.sdp });
  }

  async offer() {
    await this.describe(await this.pc.createOffer());
  }

  askForOffer() {
    this.send({ type: 'start', mode: 'watch', offerer: 'server' });
  }

  close() {
    this.socket.close();
  }
}

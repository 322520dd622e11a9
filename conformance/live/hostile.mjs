// Hostile signalling: node hostile.mjs http://127.0.0.1:8080
// Each bad message gets an error reply (or a closed socket), and the server goes on serving.
import WebSocket from 'ws';
import { cell, within } from './browser.mjs';

const url = process.argv[2];
const PEER = 'hostile client';

async function open() {
  const socket = new WebSocket(`${url.replace(/^http/, 'ws')}/ws`);
  await within(10_000, 'open', new Promise((done, fail) => { socket.once('open', done); socket.once('error', fail); }));
  return socket;
}

/** Sends one message on a fresh socket; what comes back first: 'error' (a reply) or 'closed'. */
async function answer(message) {
  const socket = await open();
  try {
    return await within(10_000, 'an answer', new Promise((done) => {
      socket.on('message', (text) => {
        const reply = JSON.parse(text);
        if (reply.type === 'error') done('error');
      });
      socket.on('close', () => done('closed'));
      socket.on('error', () => done('closed'));
      socket.send(message);
    }));
  } finally {
    socket.terminate();
  }
}

const BAD = {
  'not JSON': 'this is not JSON',
  'truncated JSON': '{"type":"offer","sdp":"v=0',
  'JSON of the wrong shape': '[1,2,3]',
  'no type': '{}',
  'unknown type': '{"type":"launch"}',
  'offer without sdp': '{"type":"offer"}',
  'offer that is no SDP': '{"type":"offer","sdp":"hello"}',
  'answer out of the blue': '{"type":"answer","sdp":"v=0\\r\\no=- 1 1 IN IP4 0.0.0.0\\r\\ns=-\\r\\nt=0 0\\r\\n"}',
  'candidate that is none': '{"type":"candidate","candidate":{"candidate":"candidate:zzz","sdpMid":"0"}}',
  'deep nesting': '['.repeat(100_000),
  'oversize': JSON.stringify({ type: 'offer', sdp: 'x'.repeat(8 * 1024 * 1024) }),
  'binary': Buffer.from([0, 255, 254]),
};

let held = 0;
const failed = [];
for (const [name, message] of Object.entries(BAD)) {
  const got = await answer(message).catch((error) => error.message);
  const mayClose = name === 'oversize' || name === 'binary';
  if (got === 'error' || (mayClose && got === 'closed')) held += 1;
  else failed.push(`${name}: ${got}`);
}
const page = await fetch(url);
const alive = page.status === 200;
cell(PEER, 'any', 'signalling', `${held} of ${Object.keys(BAD).length} refused, page ${page.status}${failed.length ? `; ${failed.join('; ')}` : ''}`,
  failed.length === 0 && alive);
process.exit(failed.length === 0 && alive ? 0 : 1);

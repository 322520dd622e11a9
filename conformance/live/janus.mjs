// WHIP and WHEP before a running Janus: node janus.mjs JANUS_PORT WHIP_PORT WHEP_PORT WHIP_SERVER MEDIA_PORT
// WHIP_SERVER is the main file of Debian's simple-whip-server, beside a config.js that names the same ports. An endpoint for each codec:
// /whip/endpoint/CODEC and /whep/endpoint/CODEC, both with the token "secret". Prints an URL when all of them are there.
import { createRequire } from 'node:module';
import { JanusWhepServer } from 'janus-whep-server';

const [janus, whip, whep, program, media] = process.argv.slice(2);
createRequire(import.meta.url)(program);
const server = new JanusWhepServer({
  janus: { address: `ws://127.0.0.1:${janus}` },
  rest: { port: Number(whep), basePath: '/whep' },
});
await server.start();
// It believes that Janus 1 answers offers. Debian's 1.1.2 makes them, whatever it is sent.
server.multistream = false;
for (const [index, id] of ['vp8', 'vp9', 'h264', 'av1', 'h265'].entries()) {
  server.createEndpoint({ id, plugin: 'streaming', mountpoint: index + 1, token: 'secret' });
  const port = Number(media) + 4 * index;
  const recipient = { host: '127.0.0.1', audioPort: port, videoPort: port + 2, videoRtcpPort: port + 3 };
  const body = JSON.stringify({ id, room: 1, label: id, token: 'secret', recipient });
  for (let tries = 1; ; tries += 1) {
    try {
      const made = await fetch(`http://127.0.0.1:${whip}/whip/create`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
      if (!made.ok) throw new Error(`${made.status} ${await made.text()}`);
      break;
    } catch (error) {
      // It listens when it has reached Janus.
      if (tries > 100) throw error;
      await new Promise((later) => setTimeout(later, 100));
    }
  }
}
console.log(`http://127.0.0.1:${whip}/`);

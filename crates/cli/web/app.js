// The page of `antiphon serve`.
//
// Hooks for headless tests, kept stable: `window.antiphon`, and `data-testid` on every control and figure.
//
//   await antiphon.watch({ offerer: 'browser'|'server', codec: 'opus'|'pcmu', congestion: 'gcc'|... })   pattern and music; resolves when connected
//   await antiphon.echo({ offerer, codec })    our (fake) camera and microphone come back; resolves when connected
//   await antiphon.data({ offerer })           data channels alone; resolves when connected
//   await antiphon.sendFile(bytes|size, name)  there and back: { sent, server, received: { bytes, sha256 }, equal }
//   await antiphon.echoMessages(count, size)   on channel "echo": { bytes, equal, sent, received } (SHA-256 over all)
//   await antiphon.say(text)                   a line of chat; resolves with the line as the server sent it round
//   antiphon.emulate(link)                     { rate (kbit/s) or null, delay, queue (ms), loss (%) } between the two ends from now on; null: none
//   antiphon.direct(video)                     how the server sends its video from now on: { active, rate (kbit/s) or null, track }
//   antiphon.plots                             what the plots show: { rate: { estimate: [...], ... }, ... }, null where nothing is known
//   await antiphon.stats()                     { mode, offerer, state, browser: digest of getStats, server: last report from /ws }
//   await antiphon.sendTo(code, files)         File objects to `antiphon recv` with that code: [{ path, sha256 }]
//   await antiphon.receiveFrom(code)           from `antiphon send` with that code, unasked: [{ path, sha256, blob }]
//   await antiphon.joinRoom({ room, name, audio, video, token })   takes part in a room; resolves when the server has let us in
//   antiphon.leaveRoom()                       leaves it
//   antiphon.room                              { room, you, connection, speaker, people, tracks } of the room, or null
//   await antiphon.roomFigures()               what goes and comes there: totals of getStats, by section (room.js)
//   await antiphon.shareScreen(stream)         shows this picture as the screen; without one the browser asks which
//   antiphon.stop()                            closes the session
//   antiphon.session                           the running Session (session.js) with .pc, or null
//   antiphon.ready                             true once the page has loaded
//
// Each start function closes the session before it.
import { Table, digest, rates } from './figures.js';
import { newCode, receiveFiles, sendFiles } from './meet.js';
import { Plots } from './plots.js';
import { RoomView } from './room-view.js';
import { Session } from './session.js';
import { Sha256 } from './sha256.js';
import { roundTrip } from './transfer.js';

const $ = (id) => document.getElementById(id);
const remote = $('remote');
const table = new Table($('figures'));
const plots = new Plots((id) => $(`figure-${id}`));
const roomView = new RoomView($, log);
const LABELS = { watch: 'Watch', echo: 'Start the echo', data: 'Connect' };
const HINTS = {
  watch: 'Press <b>Watch</b>: a test pattern that is drawn and encoded as you look at it, with a little music.',
  echo: 'Press <b>Start the echo</b>: your camera and microphone go to the server, and what comes back is shown here.',
};

let tab = 'watch';
let session = null;
let before = null;
let busy = false;
/** The emulated link that was asked for; undefined: whatever the server was started with. */
let linked;

const chosen = (name) => document.querySelector(`input[name=${name}]:checked`).value;

function choose(next) {
  tab = next;
  document.body.dataset.tab = next;
  for (const button of document.querySelectorAll('[data-tab]')) {
    if (button.role === 'tab' || button.getAttribute('role') === 'tab') {
      button.setAttribute('aria-selected', String(button.dataset.tab === next));
      // One stop of the Tab key for all of them; the arrows go from one to the next.
      button.tabIndex = button.dataset.tab === next ? 0 : -1;
    }
  }
  if (HINTS[next]) $('hint').innerHTML = HINTS[next];
  label();
}

function label() {
  $('start').textContent = session ? 'Stop' : LABELS[tab] ?? '';
  $('start').classList.toggle('on', Boolean(session));
}

function showState(state) {
  $('state').dataset.state = state;
  $('state').textContent = state === 'new' || state === 'closed' ? 'not connected' : state;
}

function log({ text, kind }) {
  const line = document.createElement('li');
  line.className = kind;
  line.textContent = `${new Date().toTimeString().slice(0, 8)} ${text}`;
  $('log').prepend(line);
  while ($('log').childElementCount > 200) $('log').lastChild.remove();
}

async function start(mode, { offerer = chosen('offerer'), codec = chosen('codec'), link = linked, congestion = $('controller').value } = {}) {
  stop();
  choose(mode);
  const mine = new Session({ mode, offerer, codec, link, congestion });
  session = mine;
  before = null;
  label();
  showState('connecting');
  plots.clear();
  $('video').reset();
  mine.addEventListener('note', ({ detail }) => log(detail));
  mine.addEventListener('state', ({ detail }) => { if (session === mine) showState(detail); });
  mine.addEventListener('track', () => show(mine));
  mine.addEventListener('local', ({ detail }) => {
    $('local').srcObject = detail;
    $('local').hidden = false;
  });
  mine.addEventListener('channelopen', ({ detail }) => { if (session === mine) enable(detail); });
  try {
    await mine.open();
  } catch (error) {
    log({ text: error.message, kind: 'error' });
    if (session === mine) stop();
    throw error;
  }
  return stats();
}

function show(mine) {
  if (session !== mine) return;
  if (remote.srcObject !== mine.media) remote.srcObject = mine.media;
  $('hint').hidden = true;
  $('screen').classList.add('live');
  remote.muted = false;
  remote.play().catch((error) => {
    // A track that comes while the element starts interrupts it; the element then starts by itself ("autoplay").
    if (error.name !== 'NotAllowedError') return;
    // Without a click the browser refuses to play sound: play silently and offer a button.
    remote.muted = true;
    $('sound').hidden = false;
    remote.play().catch((error) => log({ text: `video: ${error.message}`, kind: 'error' }));
  });
}

function enable(channel) {
  if (channel.label === 'file') for (const id of ['file', 'sample']) $(id).disabled = false;
  if (channel.label === 'chat') {
    for (const control of $('say').elements) control.disabled = false;
    channel.addEventListener('message', ({ data }) => chatLine(JSON.parse(data)));
  }
}

function chatLine({ from, text, you }) {
  const line = document.createElement('li');
  if (you) line.className = 'mine';
  line.append(Object.assign(document.createElement('b'), { textContent: you ? 'you' : from }), text);
  $('chat').append(line);
  while ($('chat').childElementCount > 200) $('chat').firstChild.remove();
  $('chat').scrollTop = $('chat').scrollHeight;
}

function stop() {
  const old = session;
  session = null;
  old?.close();
  remote.srcObject = null;
  $('local').srcObject = null;
  $('local').hidden = true;
  $('hint').hidden = false;
  $('sound').hidden = true;
  $('screen').classList.remove('live');
  $('picture').textContent = '';
  for (const control of [$('file'), $('sample'), ...$('say').elements]) control.disabled = true;
  showState('closed');
  label();
}

async function stats() {
  if (!session) return { mode: null, state: 'closed', browser: null, server: null };
  const { mode, offerer, pc, server } = session;
  return { mode, offerer, state: pc.connectionState, browser: digest(await pc.getStats(), pc), server };
}

async function tick() {
  const mine = session;
  if (!mine || busy) return;
  busy = true;
  try {
    const { browser, server } = await stats();
    if (session !== mine || !browser) return;
    const now = rates(browser, before);
    before = browser;
    table.show(now, server);
    plots.show(now, server);
    $('level').value = Math.sqrt(Math.max(now.energyPerSecond ?? 0, 0)) * 2;
    $('picture').textContent = now.frameWidth
      ? `${now.videoCodec ?? ''} ${now.frameWidth}×${now.frameHeight} · ${Math.round(now.framesPerSecond ?? 0)} frames/s · ${now.audioCodec ?? ''}` : '';
  } finally {
    busy = false;
  }
}

async function sendFile(source, name = 'noise.bin') {
  if (!session) throw new Error('no session: call watch(), echo() or data() first');
  const blob = source instanceof Blob ? source : new Blob([typeof source === 'number' ? noise(source) : source]);
  for (const id of ['up', 'down']) $(id).value = 0;
  for (const id of ['hash-sent', 'hash-server', 'hash-back']) $(id).textContent = '–';
  $('verdict').textContent = '';
  $('verdict').className = '';
  for (const id of ['file', 'sample']) $(id).disabled = true;
  try {
    const result = await roundTrip(session, blob, name, (what, value, rate) => {
      if (what === 'hashes') {
        $('hash-sent').textContent = value.sent;
        $('hash-server').textContent = value.server;
        $('hash-back').textContent = value.back ?? '–';
      } else {
        $(what).value = value;
        $(`${what}-rate`).textContent = `${(rate / 1e6).toFixed(1)} MB/s`;
      }
    });
    $('verdict').textContent = result.equal ? 'All three are equal.' : 'They differ.';
    $('verdict').className = result.equal ? 'equal' : 'unequal';
    const { blob: back, ...received } = result.received;
    return { ...result, received };
  } catch (error) {
    log({ text: `file: ${error.message}`, kind: 'error' });
    $('verdict').textContent = error.message;
    $('verdict').className = 'unequal';
    throw error;
  } finally {
    for (const id of ['file', 'sample']) $(id).disabled = !session;
  }
}

function noise(size) {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 65536) crypto.getRandomValues(bytes.subarray(at, Math.min(at + 65536, size)));
  return bytes;
}

async function echoMessages(count = 32, size = 16384) {
  const channel = await session.channel('echo');
  const [out, back] = [new Sha256(), new Sha256()];
  let bytes = 0;
  let got = 0;
  const all = new Promise((done) => {
    const take = ({ data }) => {
      const message = typeof data === 'string' ? new TextEncoder().encode(data) : new Uint8Array(data);
      back.update(message);
      bytes += message.length;
      got += 1;
      if (got < count) return;
      channel.removeEventListener('message', take);
      done();
    };
    channel.addEventListener('message', take);
  });
  for (let n = 0; n < count; n += 1) {
    const message = noise(size);
    out.update(message);
    channel.send(message);
  }
  await all;
  const [sent, received] = [out.hex(), back.hex()];
  return { bytes, sent, received, equal: sent === received };
}

async function say(text) {
  const channel = await session.channel('chat');
  const line = new Promise((heard) => {
    const take = ({ data }) => {
      const message = JSON.parse(data);
      if (!message.you || message.text !== text) return;
      channel.removeEventListener('message', take);
      heard(message);
    };
    channel.addEventListener('message', take);
  });
  channel.send(text);
  return line;
}

/** Shows a transfer to or from another machine while it runs. */
async function meet(code, transfer) {
  const [bar, state] = [$('meet-bar'), $('meet-state')];
  const started = performance.now();
  bar.value = 0;
  $('meet-got').replaceChildren();
  for (const id of ['meet-send', 'meet-recv']) $(id).disabled = true;
  try {
    const files = await transfer(
      (name, bytes, total) => {
        bar.value = total ? bytes / total : 1;
        state.textContent = name;
        $('meet-rate').textContent = `${(bytes / 1e3 / (performance.now() - started)).toFixed(1)} MB/s`;
      },
      () => { state.textContent = `Waiting for the other end, at ${location.origin} with the code ${code}`; },
    );
    state.textContent = `${files.length} files, the hashes are equal.`;
    for (const { path, sha256, blob } of files) {
      const name = document.createElement(blob ? 'a' : 'span');
      name.textContent = path;
      if (blob) Object.assign(name, { href: URL.createObjectURL(blob), download: path.split('/').pop() });
      const hash = Object.assign(document.createElement('code'), { textContent: ` ${sha256}` });
      const line = document.createElement('li');
      line.append(name, hash);
      $('meet-got').append(line);
    }
    return files;
  } catch (error) {
    state.textContent = error.message;
    log({ text: `transfer: ${error.message}`, kind: 'error' });
    throw error;
  } finally {
    for (const id of ['meet-send', 'meet-recv']) $(id).disabled = false;
  }
}

function sendTo(code, files) {
  return meet(code, (progress, waiting) => sendFiles(code, files, progress, waiting));
}

function receiveFrom(code, agree = () => true) {
  return meet(code, (progress, waiting) => receiveFiles(code, agree, progress, waiting));
}

$('meet-send').onclick = () => {
  const files = [...$('meet-files').files];
  if (files.length === 0) {
    $('meet-state').textContent = 'Choose files first.';
    return;
  }
  $('code').value ||= newCode();
  sendTo($('code').value, files).catch(() => {});
};
$('meet-recv').onclick = () => {
  const code = $('code').value.trim();
  if (!code) {
    $('meet-state').textContent = 'The sender has a code: put it in.';
    return;
  }
  receiveFrom(code, (question) => window.confirm(question)).catch(() => {});
};
const tabs = [...document.querySelectorAll('[role=tab]')];
for (const [index, button] of tabs.entries()) {
  button.onclick = () => choose(button.dataset.tab);
  button.onkeydown = ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (!step) return;
    const next = tabs[(index + step + tabs.length) % tabs.length];
    next.focus();
    choose(next.dataset.tab);
  };
}
$('start').onclick = () => {
  if (session) stop();
  else start(tab).catch(() => {});
};
const LINKS = {
  narrow: { rate: 1000, delay: 25, queue: 300, loss: 0 },
  home: { rate: 3000, delay: 25, queue: 300, loss: 0 },
  mobile: { rate: 2000, delay: 60, queue: 400, loss: 2 },
  poor: { rate: 500, delay: 100, queue: 500, loss: 5 },
};

/** From now on, and for the sessions to come. */
function emulate(link) {
  linked = link;
  session?.emulate(link);
  // Whoever asked, the form shows it.
  const kind = $('link-kind');
  if (!link) kind.value = 'none';
  else if (!LINKS[kind.value]) kind.value = 'own';
  for (const name of ['rate', 'delay', 'queue', 'loss']) Object.assign($('link').elements[name], { disabled: !link, value: link?.[name] ?? '' });
}

$('link-kind').onchange = () => {
  const kind = $('link-kind').value;
  for (const name of ['rate', 'delay', 'queue', 'loss']) {
    const field = $('link').elements[name];
    field.disabled = kind === 'given' || kind === 'none';
    if (kind !== 'own') field.value = LINKS[kind]?.[name] ?? '';
  }
  if (kind === 'own') for (const [name, value] of Object.entries({ delay: 25, queue: 300, loss: 0 })) $('link').elements[name].value ||= value;
};
$('link').oninput = ({ target }) => { if (target.name) $('link-kind').value = 'own'; };
$('link').onsubmit = (event) => {
  event.preventDefault();
  const kind = $('link-kind').value;
  if (kind === 'given') {
    linked = undefined;
    log({ text: 'the link is as the server was started, from the next session on', kind: 'note' });
  } else if (kind === 'none') emulate(null);
  else {
    const number = (name, otherwise) => ($('link').elements[name].value === '' ? otherwise : Number($('link').elements[name].value));
    emulate({ rate: number('rate', null), delay: number('delay', 0), queue: number('queue', 300), loss: number('loss', 0) });
  }
};
$('video').onchange = () => {
  const { active, rate } = $('video').elements;
  session?.direct({ active: active.checked, rate: rate.value === '' ? null : Number(rate.value) });
};
$('video').onsubmit = (event) => event.preventDefault();
/** The controllers that there are, with their names. */
async function offerControllers() {
  for (const { word, name } of await (await fetch('controllers.json')).json()) $('controller').append(new Option(name, word));
}
$('controller').onchange = () => { if (session) start(session.mode).catch(() => {}); };
$('sound').onclick = () => {
  remote.muted = false;
  $('sound').hidden = true;
};
$('say').onsubmit = (event) => {
  event.preventDefault();
  const text = $('line').value.trim();
  if (text) say(text).catch((error) => log({ text: error.message, kind: 'error' }));
  $('line').value = '';
};
$('file').onchange = () => {
  const [file] = $('file').files;
  if (file) sendFile(file, file.name).catch(() => {});
};
$('sample').onclick = () => sendFile(16 * 1024 * 1024).catch(() => {});
window.addEventListener('pagehide', () => {
  stop();
  roomView.leave();
});

$('link-kind').onchange();
offerControllers().catch((error) => log({ text: error.message, kind: 'error' }));
choose(new URL(location.href).searchParams.has('room') ? 'room' : 'watch');
setInterval(() => tick().catch((error) => log({ text: error.message, kind: 'error' })), 500);

window.antiphon = {
  watch: (options) => start('watch', options),
  echo: (options) => start('echo', options),
  data: (options) => start('data', options),
  sendFile,
  echoMessages,
  say,
  sendTo,
  receiveFrom,
  emulate,
  direct: (video) => session?.direct(video),
  get plots() { return plots.drawn; },
  stats,
  joinRoom: async (options) => {
    choose('room');
    await roomView.join(options);
  },
  leaveRoom: () => roomView.leave(),
  get room() { return roomView.state; },
  roomFigures: () => roomView.room.figures(),
  shareScreen: (stream) => roomView.room.share(stream),
  stop,
  get session() { return session; },
  ready: true,
};

// The Room tab: the grid of participants, the controls, the chat. What happens in the room is room.js.
import { plain } from './names.js';
import { Participation, claims } from './room.js';

const FIGURES_MS = 1000;
const NO_FIGURES = '';
/** What the layers of a picture are called, by how many there are. */
const SIZES = { 2: ['small', 'large'], 3: ['small', 'medium', 'large'] };
const sizeOf = (layer, count) => SIZES[count]?.[layer] ?? `layer ${layer + 1}`;

export class RoomView {
  /** element: finds an element by id; log: writes a line of what happened. */
  constructor(element, log) {
    this.element = element;
    this.log = log;
    this.room = null;
    /** The totals of the last figures, and whether new ones are asked for. */
    this.before = null;
    this.asking = false;
    /** By key (the participant's id, with `/screen` for a screen): the parts of a tile. */
    this.tiles = new Map();
    this.wire();
  }

  wire() {
    const { element: $ } = this;
    $('room-join').onsubmit = (event) => {
      event.preventDefault();
      this.join().catch(() => {});
    };
    $('room-mic').onclick = () => this.room?.mute('audio', !this.room.muted.audio);
    $('room-camera').onclick = () => this.room?.mute('video', !this.room.muted.video);
    $('room-screen').onclick = () => {
      if (this.room?.screen) this.room.unshare();
      else this.room?.share().catch((error) => this.trouble(`The screen is not shared: ${error.message}`));
    };
    $('room-leave').onclick = () => this.leave();
    $('room-link').onclick = () => this.copyLink();
    $('room-sound').onclick = () => {
      for (const { audio } of this.tiles.values()) audio.play().catch(() => {});
      $('room-sound').hidden = true;
    };
    $('room-say').onsubmit = (event) => {
      event.preventDefault();
      const text = $('room-line').value.trim();
      if (text) this.room?.say(text);
      $('room-line').value = '';
    };
    const asked = new URL(location.href).searchParams.get('room');
    if (asked) $('room-name').value = asked;
    // Behind the `#`, so that it comes into no log of a server and to no other page.
    this.token = new URLSearchParams(location.hash.slice(1)).get('token') ?? undefined;
    const { name, sub } = claims(this.token) ?? {};
    if (name ?? sub) Object.assign($('room-you'), { value: name ?? sub, readOnly: true });
    setInterval(() => this.showFigures().catch((error) => this.log({ text: error.message, kind: 'error' })), FIGURES_MS);
  }

  /** Joins as the form says, or as the caller does; resolves when the server has let us in. */
  async join({ room, name, audio, video, token = this.token } = {}) {
    const { element: $ } = this;
    this.leave();
    if (room !== undefined) $('room-name').value = room;
    if (name !== undefined) $('room-you').value = name;
    const mine = new Participation({
      room: $('room-name').value.trim(),
      name: $('room-you').value.trim(),
      audio: audio ?? $('room-audio').checked,
      video: video ?? $('room-video').checked,
      token,
    });
    this.room = mine;
    this.trouble('');
    $('room-enter').disabled = true;
    this.listen(mine);
    try {
      await mine.join();
    } catch (error) {
      if (this.room === mine) this.close(error.message);
      throw error;
    }
    $('room-join').hidden = true;
    $('room-inside').hidden = false;
    $('room-title').textContent = mine.room;
    $('room-title').focus();
    history.replaceState(null, '', `?room=${encodeURIComponent(mine.room)}${location.hash}`);
    this.say(`You are in the room ${mine.room}. ${mine.people.size === 1 ? 'You are the only one here.' : `${mine.people.size} are here.`}`);
    this.draw();
    return mine;
  }

  listen(mine) {
    const on = (type, take) => mine.addEventListener(type, ({ detail }) => { if (this.room === mine) take(detail); });
    on('note', (detail) => this.log(detail));
    on('people', () => this.draw());
    on('tracks', () => this.draw());
    on('pictures', () => this.draw());
    on('speaker', () => this.draw());
    on('state', (state) => {
      this.element('room-state').dataset.state = state;
      this.element('room-state').textContent = state;
    });
    on('entered', ({ name, recording }) => this.say(`${name} has come in${recording ? ', and records' : ''}.`));
    on('left', ({ name }) => this.say(`${name} has left.`));
    on('said', (line) => this.chatLine(line));
    on('closed', (why) => this.close(why));
  }

  leave() {
    const old = this.room;
    if (!old) return;
    old.leave();
    this.close('');
  }

  /** Shows the form again, and why. */
  close(why) {
    const { element: $ } = this;
    const inside = !$('room-inside').hidden;
    this.room = null;
    this.before = null;
    for (const key of [...this.tiles.keys()]) this.remove(key);
    $('room-chat').replaceChildren();
    $('room-inside').hidden = true;
    $('room-join').hidden = false;
    $('room-enter').disabled = false;
    this.trouble(why);
    if (inside) $('room-enter').focus();
  }

  /** For the eye and for who listens to the page. */
  trouble(text) { this.element('room-trouble').textContent = text; }

  say(text) {
    this.element('room-status').textContent = text;
    this.log({ text, kind: 'note' });
  }

  async copyLink() {
    const link = new URL(`/?room=${encodeURIComponent(this.room.room)}`, location.href).href;
    try {
      await navigator.clipboard.writeText(link);
      this.say('The link is copied.');
    } catch {
      // A page without HTTPS may not write there.
      this.say(`The link is ${link}`);
      window.prompt('The link to this room', link);
    }
  }

  chatLine({ id, name, text }) {
    const { element: $ } = this;
    const line = document.createElement('li');
    const mine = id === this.room.you;
    if (mine) line.className = 'mine';
    line.append(Object.assign(document.createElement('b'), { textContent: mine ? 'you' : name }), plain(text, 2000));
    $('room-chat').append(line);
    while ($('room-chat').childElementCount > 200) $('room-chat').firstChild.remove();
    $('room-chat').scrollTop = $('room-chat').scrollHeight;
  }

  /** Brings the grid and the controls to what the room is now. */
  draw() {
    const { room, element: $ } = this;
    if (!room?.you) return;
    const wanted = new Map();
    for (const person of room.people.values()) {
      const mine = person.id === room.you;
      const tracks = mine ? {} : room.tracksOf(person.id);
      const { audio, video } = room.muted;
      const muted = mine ? { audio, video } : { audio: person.audio_muted, video: person.video_muted };
      wanted.set(person.id, {
        person, muted, mine, source: 'camera', picture: mine ? room.trackOf('video') : tracks.camera?.track, sound: tracks.microphone?.track, mid: tracks.camera?.mid,
      });
      const screen = mine ? room.screen?.getVideoTracks()[0] : tracks.screen?.track;
      if (screen) wanted.set(`${person.id}/screen`, { person, muted: {}, mine, source: 'screen', picture: screen, mid: tracks.screen?.mid });
    }
    for (const key of [...this.tiles.keys()]) if (!wanted.has(key)) this.remove(key);
    for (const [key, what] of wanted) this.drawTile(key, what);
    $('room-grid').dataset.count = String(Math.min(wanted.size, 10));
    $('room-count').textContent = room.people.size === 1 ? '1 participant' : `${room.people.size} participants`;
    this.drawControls();
  }

  drawTile(key, { person, muted, mine, source, picture, sound, mid }) {
    const tile = this.tiles.get(key) ?? this.add(key, person, source);
    const speaking = source === 'camera' && this.room.speaker === person.id && !muted.audio;
    const hidden = muted.video || !picture;
    play(tile.video, picture);
    play(tile.audio, sound, () => { this.element('room-sound').hidden = false; });
    tile.item.classList.toggle('speaking', speaking);
    tile.item.classList.toggle('mirrored', mine && source === 'camera');
    tile.item.classList.toggle('dark', Boolean(hidden));
    tile.name.textContent = source === 'screen' ? `${person.name}: screen` : person.name + (mine ? ' (you)' : '') + (person.recording ? ' (records)' : '');
    tile.mute.textContent = source === 'camera' && muted.audio ? 'muted' : '';
    const said = [tile.name.textContent, source === 'camera' && muted.audio && 'microphone muted', source === 'camera' && hidden && 'no picture', speaking && 'speaking'];
    tile.item.setAttribute('aria-label', said.filter(Boolean).join(', '));
    tile.mid = mid;
    this.drawLayers(tile);
  }

  /** Which of the layers of a picture is wanted at most: there is a choice where its sender sends several. */
  drawLayers({ layers, mid, name }) {
    const count = this.room.pictures.get(mid)?.layers.length ?? 0;
    layers.hidden = count < 2;
    // A list that somebody has open is not changed under the hand.
    if (layers.hidden || layers === document.activeElement) return;
    if (layers.options.length !== count + 1) {
      const each = Array.from({ length: count }, (_, layer) => new Option(`at most ${sizeOf(layer, count)}`, String(layer)));
      layers.replaceChildren(new Option('best', ''), ...each.slice(0, -1));
    }
    layers.value = String(this.room.preferred.get(mid) ?? '');
    layers.setAttribute('aria-label', `Size of the picture of ${name.textContent}`);
  }

  /** What the server says of a picture: its layer, how well it arrives. */
  layerText(mid) {
    const told = this.room.pictures.get(mid);
    if (!told) return '';
    const count = told.layers.length;
    const layer = told.layer !== null && count > 1 ? ` · ${sizeOf(told.layer, count)}` : '';
    return `${layer}${told.score === null ? '' : ` · ${told.score}/10`}`;
  }

  add(key, person, source) {
    const item = Object.assign(document.createElement('li'), { className: 'tile', tabIndex: 0 });
    Object.assign(item.dataset, { participant: person.id, source, testid: 'room-tile' });
    const video = Object.assign(document.createElement('video'), { autoplay: true, playsInline: true, muted: true });
    const audio = Object.assign(document.createElement('audio'), { autoplay: true });
    const letter = Object.assign(document.createElement('span'), { className: 'letter', textContent: [...person.name][0]?.toUpperCase() ?? '?' });
    const caption = Object.assign(document.createElement('p'), { className: 'caption' });
    const [name, mute, rates] = ['name', 'mute', 'rates'].map((className) => Object.assign(document.createElement('span'), { className }));
    // The label of the tile says all of it but the figures, which change too often to be read out.
    for (const part of [letter, caption]) part.setAttribute('aria-hidden', 'true');
    caption.append(name, mute, rates);
    const layers = Object.assign(document.createElement('select'), { className: 'layers', hidden: true });
    layers.dataset.testid = 'room-layers';
    item.append(video, audio, letter, caption, layers);
    const grid = this.element('room-grid');
    // A screen stands beside who shows it.
    const owner = this.tiles.get(person.id)?.item;
    if (source === 'screen' && owner) owner.after(item); else grid.append(item);
    const tile = { item, video, audio, name, mute, rates, layers };
    layers.onchange = () => this.room?.prefer(tile.mid, layers.value === '' ? null : Number(layers.value));
    this.tiles.set(key, tile);
    return tile;
  }

  remove(key) {
    const { item, video, audio } = this.tiles.get(key);
    video.srcObject = null;
    audio.srcObject = null;
    // Whoever is there with the keyboard stays in the grid.
    if (item === document.activeElement) (item.nextElementSibling ?? item.previousElementSibling)?.focus();
    item.remove();
    this.tiles.delete(key);
  }

  drawControls() {
    const { room, element: $ } = this;
    const button = (id, pressed, text, disabled = false) => {
      $(id).setAttribute('aria-pressed', String(pressed));
      $(id).textContent = text;
      $(id).disabled = disabled;
    };
    const has = (kind) => Boolean(room.trackOf(kind));
    button('room-mic', room.muted.audio, room.muted.audio ? 'Unmute microphone' : 'Mute microphone', !has('audio'));
    button('room-camera', room.muted.video, room.muted.video ? 'Show camera' : 'Hide camera', !has('video'));
    button('room-screen', Boolean(room.screen), room.screen ? 'Stop sharing' : 'Share screen', !navigator.mediaDevices?.getDisplayMedia);
  }

  /** A line of figures on each tile: the size that comes (which layer that is), frames and kilobits a second, losses; of our own what is sent. */
  async showFigures() {
    const { room } = this;
    // On a machine that is busy the figures may take longer than a turn.
    if (!room?.you || this.asking) return;
    this.asking = true;
    let now;
    try {
      now = await room.figures();
    } finally {
      this.asking = false;
    }
    if (this.room !== room) return;
    const { before } = this;
    this.before = now;
    if (!before) return;
    const tileOf = (participant, source) => this.tiles.get(source === 'screen' ? `${participant}/screen` : participant);
    for (const [mid, last] of Object.entries(now.received)) {
      const tile = tileOf(last.participant, last.source);
      const rate = rates(last, before.received[mid]);
      if (last.source === 'microphone' || !tile || !rate) continue;
      const losses = last.lost > 0 ? ` · ${last.lost} lost` : '';
      const starved = room.pictures.get(mid)?.starved ? 'held back: the connection carries no more' : NO_FIGURES;
      tile.rates.textContent = rate.kbps > 0 && last.width
        ? `${last.width}×${last.height} · ${Math.round(rate.frames)}/s · ${Math.round(rate.kbps)} kbit/s${this.layerText(mid)}${losses}` : starved;
    }
    for (const source of ['camera', 'screen']) {
      const tile = tileOf(room.you, source);
      const flows = (last) => rates(last, before.sent.find((first) => first.source === source && first.rid === last.rid))?.kbps > 0;
      const layers = now.sent.filter((sent) => sent.source === source && sent.width && flows(sent)).sort((a, b) => a.width - b.width);
      if (tile) tile.rates.textContent = layers.map(({ width, height }) => `${width}×${height}`).join(' + ');
    }
  }

  /** What a test looks at. */
  get state() {
    const { room } = this;
    if (!room) return null;
    return {
      room: room.room,
      you: room.you,
      connection: room.pc?.connectionState,
      speaker: room.speaker,
      people: [...room.people.values()],
      tracks: [...room.tracks.values()].map(({ mid, participant, source }) => ({ mid, participant, source })),
      pictures: [...room.pictures.values()],
    };
  }
}

/** Has an element play this track alone; `refused` is called if the browser wants a click first. */
function play(element, track, refused = () => {}) {
  const [current] = element.srcObject?.getTracks() ?? [];
  if (current === track) return;
  element.srcObject = track ? new MediaStream([track]) : null;
  if (track) {
    element.play().catch((error) => {
      if (error.name === 'NotAllowedError') refused();
    });
  }
}

/** Frames and kilobits a second between two totals of one stream; null if there is no time between them. */
function rates(last, first) {
  const seconds = (last.at - first?.at) / 1000;
  if (!(seconds > 0)) return null;
  return { frames: Math.max(last.frames - first.frames, 0) / seconds, kbps: Math.max(last.bytes - first.bytes, 0) / 125 / seconds };
}

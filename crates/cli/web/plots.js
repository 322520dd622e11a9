// Plots of the last minute, drawn on a canvas: several series over one scale, with a legend that shows the newest values.
// Nothing foreign is loaded.

/** What is shown, in milliseconds. */
const SPAN_MS = 60_000;
const MAX_POINTS = 400;
const MARGIN = { left: 42, right: 8, top: 6, bottom: 18 };
const GRID_SECONDS = 15;

/** The least of 1, 2, 5, 10, ... that divides `top` into at most four. */
function step(top) {
  const power = 10 ** Math.floor(Math.log10(top / 4));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => top / n <= 4) ?? 10 * power;
}

/** A colour of the style sheet, for now: a custom property may hold light-dark(), which only a real property resolves. */
function colours(element, names) {
  const probe = Object.assign(document.createElement('i'), { hidden: true });
  element.append(probe);
  const found = Object.fromEntries(names.map((name) => {
    probe.style.color = `var(${name})`;
    return [name, getComputedStyle(probe).color];
  }));
  probe.remove();
  return found;
}

export class Plot {
  /**
   * figure: an empty <figure>; title and unit: for people; floor: the least that the scale shows; digits: of the values;
   * series: { id, label, colour: custom property, dashed?: a bound and not a measurement }.
   */
  constructor(figure, { id, title, unit, series, floor = 1, digits = 1 }) {
    Object.assign(this, { figure, id, unit, series, floor, digits, points: [] });
    const caption = document.createElement('figcaption');
    caption.append(Object.assign(document.createElement('b'), { textContent: `${title}, ${unit}` }));
    this.values = {};
    for (const { id: name, label, colour, dashed } of series) {
      const key = document.createElement('span');
      const swatch = Object.assign(document.createElement('i'), { className: dashed ? 'dashed' : '' });
      swatch.style.color = `var(${colour})`;
      const value = document.createElement('output');
      value.dataset.testid = `plot-${id}-${name}`;
      key.append(swatch, `${label} `, value);
      caption.append(key);
      this.values[name] = value;
    }
    this.canvas = document.createElement('canvas');
    this.canvas.dataset.testid = `plot-${id}`;
    this.canvas.setAttribute('role', 'img');
    this.canvas.setAttribute('aria-label', `${title} over the last ${SPAN_MS / 1000} seconds; the newest values are in the legend`);
    figure.replaceChildren(caption, this.canvas);
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.draw());
  }

  clear() {
    this.points = [];
    for (const value of Object.values(this.values)) value.textContent = '';
    this.draw();
  }

  /** One moment: a number, or nothing, for each series. */
  push(at, values) {
    const point = { at };
    for (const { id } of this.series) {
      const value = values[id];
      point[id] = Number.isFinite(value) ? value : null;
      this.values[id].textContent = point[id] === null ? '–' : point[id].toFixed(this.digits);
    }
    this.points.push(point);
    this.points = this.points.filter((old) => old.at > at - SPAN_MS).slice(-MAX_POINTS);
    this.draw();
  }

  /** What is drawn, for tests: the points of each series. */
  get drawn() {
    return Object.fromEntries(this.series.map(({ id }) => [id, this.points.map((point) => point[id])]));
  }

  draw() {
    const { canvas, series, points } = this;
    const scale = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (width === 0 || height === 0) return;
    Object.assign(canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
    const context = canvas.getContext('2d');
    context.scale(scale, scale);
    const palette = colours(this.figure, ['--soft', '--line', ...series.map(({ colour }) => colour)]);
    const inner = { width: width - MARGIN.left - MARGIN.right, height: height - MARGIN.top - MARGIN.bottom };
    const highest = Math.max(this.floor, ...points.flatMap((point) => series.map(({ id }) => point[id] ?? 0)));
    const tick = step(highest);
    const top = Math.ceil((highest * 1.02) / tick) * tick;
    const newest = points.at(-1)?.at ?? 0;
    const x = (at) => MARGIN.left + (1 - (newest - at) / SPAN_MS) * inner.width;
    const y = (value) => MARGIN.top + (1 - value / top) * inner.height;

    context.font = `11px ${getComputedStyle(canvas).fontFamily}`;
    context.fillStyle = palette['--soft'];
    context.strokeStyle = palette['--line'];
    context.lineWidth = 1;
    context.textAlign = 'right';
    context.textBaseline = 'middle';
    for (let value = 0; value <= top * 1.001; value += tick) {
      const at = Math.round(y(value)) + 0.5;
      context.beginPath();
      context.moveTo(MARGIN.left, at);
      context.lineTo(width - MARGIN.right, at);
      context.stroke();
      context.fillText(String(Number(value.toPrecision(3))), MARGIN.left - 6, at);
    }
    context.textBaseline = 'alphabetic';
    for (let seconds = 0; seconds < SPAN_MS / 1000; seconds += GRID_SECONDS) {
      context.textAlign = seconds === 0 ? 'right' : 'center';
      context.fillText(seconds === 0 ? 'now' : `−${seconds} s`, x(newest - seconds * 1000), height - 4);
    }

    context.lineJoin = 'round';
    for (const { id, colour, dashed } of series) {
      context.strokeStyle = palette[colour];
      context.lineWidth = dashed ? 1.5 : 2;
      context.setLineDash(dashed ? [5, 4] : []);
      context.beginPath();
      let pen = false;
      for (const point of points) {
        if (point[id] === null) {
          pen = false;
        } else {
          if (pen) context.lineTo(x(point.at), y(point[id])); else context.moveTo(x(point.at), y(point[id]));
          pen = true;
        }
      }
      context.stroke();
    }
    context.setLineDash([]);
  }
}

/** All plots of the page; `show` takes what `rates` of figures.js says of both ends. */
export class Plots {
  constructor(of) {
    const make = (id, options) => new Plot(of(id), { id, ...options });
    this.plots = {
      rate: make('rate', {
        title: 'Rates', unit: 'Mbit/s', floor: 0.5, digits: 2,
        series: [
          { id: 'link', label: 'emulated link', colour: '--soft', dashed: true },
          { id: 'proven', label: 'seen to arrive at best', colour: '--plot-own', dashed: true },
          { id: 'estimate', label: 'Antiphon’s estimate', colour: '--plot-estimate' },
          { id: 'allocated', label: 'of it for media', colour: '--plot-own' },
          { id: 'wanted', label: 'wanted', colour: '--plot-sent', dashed: true },
          { id: 'sent', label: 'sent', colour: '--plot-sent' },
          { id: 'received', label: 'received here', colour: '--plot-received' },
        ],
      }),
      delay: make('delay', {
        title: 'Delay', unit: 'ms', floor: 10, digits: 0,
        series: [
          { id: 'path', label: 'round trip of the path', colour: '--plot-estimate' },
          { id: 'media', label: 'of the media', colour: '--plot-received' },
          { id: 'queue', label: 'longest wait at the link', colour: '--plot-sent' },
          { id: 'known', label: 'wait that Antiphon knows of', colour: '--plot-own' },
        ],
      }),
      loss: make('loss', {
        title: 'Lost and marked', unit: '%', floor: 2, digits: 1,
        series: [
          { id: 'sent', label: 'of what Antiphon sends', colour: '--plot-sent' },
          { id: 'received', label: 'seen here, before repair', colour: '--plot-received' },
          { id: 'marked', label: 'marked on the way (ECN)', colour: '--plot-own' },
        ],
      }),
      frames: make('frames', {
        title: 'Frames', unit: 'each second', floor: 30, digits: 0,
        series: [
          { id: 'decoded', label: 'decoded here', colour: '--plot-received' },
          { id: 'sent', label: 'sent', colour: '--plot-sent', dashed: true },
        ],
      }),
      still: make('still', {
        title: 'Not as it was', unit: '% of the time', floor: 2, digits: 1,
        series: [
          { id: 'frozen', label: 'the picture stands still', colour: '--plot-received' },
          { id: 'concealed', label: 'sound is made up', colour: '--plot-own' },
        ],
      }),
      repairs: make('repairs', {
        title: 'Repairs', unit: 'packets each second', floor: 5, digits: 0,
        series: [
          { id: 'again', label: 'sent again (RTX), seen here', colour: '--plot-received' },
          { id: 'ahead', label: 'sent ahead (FEC, RED), seen here', colour: '--plot-own' },
        ],
      }),
      buffer: make('buffer', {
        title: 'Waiting to be played here', unit: 'ms', floor: 50, digits: 0,
        series: [
          { id: 'video', label: 'pictures', colour: '--plot-received' },
          { id: 'audio', label: 'sound', colour: '--plot-own' },
        ],
      }),
    };
  }

  clear() {
    for (const plot of Object.values(this.plots)) plot.clear();
  }

  show(browser, server) {
    const { rate, delay, loss, frames, still, repairs, buffer } = this.plots;
    const at = browser.at;
    const own = server?.congestion;
    const mega = (bps) => (Number.isFinite(bps) ? bps / 1e6 : undefined);
    rate.push(at, {
      link: server?.link?.rate ? server.link.rate / 1000 : undefined,
      proven: mega(own?.proven_bps || undefined),
      estimate: mega(server?.target_bps ?? undefined),
      allocated: mega(own?.allocated_bps ?? undefined),
      wanted: mega(own?.wanted_bps ?? undefined),
      sent: mega(server?.send_bps ?? undefined),
      received: mega(browser.receiveBps),
    });
    delay.push(at, {
      path: browser.roundTripTime === undefined ? undefined : browser.roundTripTime * 1000,
      media: server?.media_rtt_ms ?? undefined,
      queue: server?.link?.queue_ms,
      known: own?.queue_ms ?? undefined,
    });
    loss.push(at, {
      sent: server && server.loss !== null ? server.loss * 100 : undefined,
      received: browser.loss === undefined ? undefined : browser.loss * 100,
      marked: own ? own.marked * 100 : undefined,
    });
    frames.push(at, { decoded: browser.framesPerSecond, sent: server?.frames_per_second ?? undefined });
    const share = (part) => (part === undefined ? undefined : part * 100);
    still.push(at, { frozen: browser.freezeCount === undefined ? undefined : share(browser.frozen), concealed: share(browser.concealed) });
    repairs.push(at, { again: browser.retransmittedPerSecond, ahead: browser.fecPerSecond });
    buffer.push(at, { video: browser.videoBufferMs, audio: browser.audioBufferMs });
  }

  get drawn() {
    return Object.fromEntries(Object.entries(this.plots).map(([id, plot]) => [id, plot.drawn]));
  }
}

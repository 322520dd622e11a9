// Live figures: what this browser's getStats says beside what the server measured. plots.js draws them.

const CIPHERS = { FEFD: 'DTLS 1.2', FEFC: 'DTLS 1.3', FEFF: 'DTLS 1.0' };

/** One flat digest of a getStats report: totals, not rates. */
export function digest(report, pc) {
  const all = [...report.values()];
  const one = (type, test = () => true) => all.find((s) => s.type === type && test(s));
  const inbound = (kind) => one('inbound-rtp', (s) => s.kind === kind) ?? {};
  const outbound = (kind) => one('outbound-rtp', (s) => s.kind === kind) ?? {};
  const transport = one('transport') ?? {};
  const pair = report.get(transport.selectedCandidatePairId)
    ?? one('candidate-pair', (s) => s.selected || (s.nominated && s.state === 'succeeded')) ?? {};
  const address = (id) => {
    const c = report.get(id);
    return c ? `${c.candidateType} ${c.address ?? c.ip ?? '?'}:${c.port} ${c.protocol ?? ''}` : undefined;
  };
  const codec = (rtp) => report.get(rtp.codecId)?.mimeType?.split('/')[1];
  const video = inbound('video');
  const audio = inbound('audio');
  const sum = (type, field) => all.filter((s) => s.type === type).reduce((n, s) => n + (s[field] ?? 0), 0);
  return {
    at: performance.now(),
    connectionState: pc.connectionState,
    iceState: pc.iceConnectionState,
    dtlsState: transport.dtlsState,
    dtlsVersion: CIPHERS[transport.tlsVersion?.toUpperCase()] ?? transport.tlsVersion,
    dtlsCipher: transport.dtlsCipher,
    dtlsRole: transport.dtlsRole,
    tlsGroup: transport.tlsGroup,
    srtpProfile: transport.srtpCipher,
    localCandidate: address(pair.localCandidateId),
    remoteCandidate: address(pair.remoteCandidateId),
    roundTripTime: pair.currentRoundTripTime,
    bytesReceived: transport.bytesReceived ?? pair.bytesReceived ?? sum('inbound-rtp', 'bytesReceived'),
    bytesSent: transport.bytesSent ?? pair.bytesSent ?? sum('outbound-rtp', 'bytesSent'),
    packetsReceived: sum('inbound-rtp', 'packetsReceived'),
    packetsLost: sum('inbound-rtp', 'packetsLost'),
    videoCodec: codec(video),
    audioCodec: codec(audio),
    framesReceived: video.framesReceived ?? 0,
    framesDecoded: video.framesDecoded ?? 0,
    framesDropped: video.framesDropped ?? 0,
    keyFramesDecoded: video.keyFramesDecoded ?? 0,
    frameWidth: video.frameWidth ?? 0,
    frameHeight: video.frameHeight ?? 0,
    jitter: video.jitter,
    nackCount: video.nackCount ?? 0,
    pliCount: video.pliCount ?? 0,
    freezeCount: video.freezeCount,
    totalFreezesDuration: video.totalFreezesDuration ?? 0,
    retransmitted: sum('inbound-rtp', 'retransmittedPacketsReceived'),
    fecReceived: sum('inbound-rtp', 'fecPacketsReceived'),
    videoBuffer: [video.jitterBufferDelay ?? 0, video.jitterBufferEmittedCount ?? 0],
    audioBuffer: [audio.jitterBufferDelay ?? 0, audio.jitterBufferEmittedCount ?? 0],
    samples: [audio.concealedSamples ?? 0, audio.totalSamplesReceived ?? 0],
    totalAudioEnergy: audio.totalAudioEnergy ?? 0,
    audioLevel: audio.audioLevel ?? 0,
    framesEncoded: outbound('video').framesEncoded ?? 0,
    messagesSent: sum('data-channel', 'messagesSent'),
    messagesReceived: sum('data-channel', 'messagesReceived'),
  };
}

const megabits = (bps) => (bps === undefined ? undefined : `${(bps / 1e6).toFixed(2)} Mbit/s`);
const milliseconds = (ms) => (ms === undefined || ms === null ? undefined : `${ms.toFixed(ms < 10 ? 2 : 0)} ms`);
const percent = (share) => (share === undefined || share === null ? undefined : `${(share * 100).toFixed(1)} %`);

/** The emulated link in words. */
const link = (spec) => spec && [
  spec.rate ? megabits(spec.rate * 1000) : 'any rate', `${spec.delay} ms each way`, spec.rate ? `queue ${spec.queue} ms` : '', spec.loss ? `${spec.loss} % lost` : '',
  spec.dropped ? `${spec.dropped} dropped` : '',
].filter(Boolean).join(', ');

/** What became of the marks that were sent. */
const marks = (own) => own?.marks_sent && [
  `${own.marks_sent} sent`, `${own.marks_ce} congested`, own.marks_bleached ? `${own.marks_bleached} taken away` : '', own.marking_ended ? `stopped: ${own.marking_ended}` : '',
].filter(Boolean).join(', ');

/** How often the picture stood still, and how long. */
const freezes = (count, seconds) => (count === undefined ? undefined : `${count}, ${seconds.toFixed(1)} s`);

const ROWS = [
  ['ICE', 'ice', (b) => b.iceState, (s) => s.ice],
  ['path', 'path', (b) => b.localCandidate, (s) => s.local],
  ['DTLS', 'dtls', (b) => b.dtlsVersion ?? b.dtlsState, (s) => s.dtls],
  ['cipher', 'cipher', (b) => b.dtlsCipher, (s) => s.cipher],
  ['key exchange', 'group', (b) => b.tlsGroup, (s) => s.group],
  ['data chunks', 'sctp', () => undefined, (s) => s.sctp],
  ['SRTP', 'srtp', (b) => b.srtpProfile, (s) => s.srtp],
  ['round trip', 'rtt', (b) => milliseconds(b.roundTripTime === undefined ? undefined : b.roundTripTime * 1000), (s) => milliseconds(s.rtt_ms)],
  ['sending', 'sending', (b) => megabits(b.sendBps), (s) => megabits(s.send_bps)],
  ['receiving', 'receiving', (b) => megabits(b.receiveBps), (s) => megabits(s.receive_bps)],
  ['target', 'target', () => undefined, (s) => megabits(s.target_bps)],
  ['controller', 'controller', () => undefined, (s) => s.congestion?.controller],
  ['probes', 'probes', () => undefined, (s) => s.congestion?.probes_sent && `${s.congestion.probes_accepted} of ${s.congestion.probes_sent} accepted`],
  ['marks (ECN)', 'marks', () => undefined, (s) => marks(s.congestion)],
  ['padding', 'padding', () => undefined, (s) => s.padding_bytes_sent && `${(s.padding_bytes_sent / 1000).toFixed(0)} kB of ${(s.bytes_sent / 1000).toFixed(0)}`],
  ['emulated link', 'link', () => undefined, (s) => link(s.link)],
  ['lost', 'lost', (b) => percent(b.loss), (s) => percent(s.loss)],
  ['codecs', 'codecs', (b) => [b.videoCodec, b.audioCodec].filter(Boolean).join(', ') || undefined, (s) => s.codecs],
  ['freezes', 'freezes', (b) => freezes(b.freezeCount, b.totalFreezesDuration), (s) => (s.frames_received ? freezes(s.freezes, s.freeze_seconds) : undefined)],
  ['sent again (RTX)', 'rtx', (b) => `${b.retransmitted} came`, (s) => `${s.retransmissions_sent} sent, ${s.retransmissions_received} came`],
  ['sent ahead (FEC, RED)', 'fec', (b) => `${b.fecReceived} came`, (s) => `${s.fec_sent} sent, ${s.fec_received} came, ${s.recovered} of use`],
  ['jitter buffer', 'buffer', (b) => milliseconds(b.videoBufferMs), () => undefined],
  ['sound made up', 'concealed', (b) => percent(b.concealed), () => undefined],
  ['frames', 'frames', (b) => b.framesDecoded && `${b.framesDecoded} decoded`, (s) => s.frames_sent && `${s.frames_sent} sent`],
];

/** Fills the table body once and then only its cells. */
export class Table {
  constructor(body) {
    this.cells = ROWS.map(([name, id, ours, theirs]) => {
      const row = body.insertRow();
      row.append(Object.assign(document.createElement('th'), { textContent: name }));
      const cell = (side) => {
        const td = row.insertCell();
        td.dataset.testid = `${id}-${side}`;
        td.textContent = '–';
        return td;
      };
      return { ours, theirs, browser: cell('browser'), server: cell('server') };
    });
  }

  show(browser, server) {
    for (const row of this.cells) {
      row.browser.textContent = (browser && row.ours(browser)) || '–';
      row.server.textContent = (server && row.theirs(server)) || '–';
    }
  }
}

/** The mean of what was added between two pairs of sum and count; nothing if nothing was. */
const mean = (now, before, scale) => (now[1] > before[1] ? ((now[0] - before[0]) / (now[1] - before[1])) * scale : undefined);

/** Rates between two digests of one session. */
export function rates(now, before) {
  if (!before) return { ...now };
  const seconds = Math.max((now.at - before.at) / 1000, 0.001);
  const lost = Math.max(now.packetsLost - before.packetsLost, 0);
  const packets = Math.max(now.packetsReceived - before.packetsReceived, 0);
  return {
    ...now,
    receiveBps: Math.max(((now.bytesReceived - before.bytesReceived) * 8) / seconds, 0),
    sendBps: Math.max(((now.bytesSent - before.bytesSent) * 8) / seconds, 0),
    framesPerSecond: Math.max((now.framesDecoded - before.framesDecoded) / seconds, 0),
    lostPerSecond: lost / seconds,
    loss: packets + lost > 0 ? lost / (packets + lost) : 0,
    retransmittedPerSecond: Math.max(now.retransmitted - before.retransmitted, 0) / seconds,
    fecPerSecond: Math.max(now.fecReceived - before.fecReceived, 0) / seconds,
    frozen: Math.min(Math.max(now.totalFreezesDuration - before.totalFreezesDuration, 0) / seconds, 1),
    videoBufferMs: mean(now.videoBuffer, before.videoBuffer, 1000),
    audioBufferMs: mean(now.audioBuffer, before.audioBuffer, 1000),
    concealed: mean(now.samples, before.samples, 1),
    energyPerSecond: (now.totalAudioEnergy - before.totalAudioEnergy) / seconds,
  };
}

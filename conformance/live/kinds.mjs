// What is tried on data channels, the same for every peer (aiortc_peer.py has its own copy).
const MIB = 1024 * 1024;

/** Sizes of messages, up to what a peer takes. */
export const SIZES = [1, 1200, 16384, 65535, 262144, MIB, 8 * MIB, 16 * MIB];

/** As in createDataChannel; columns of xtask's table. Loopback loses nothing, so that everything comes back. */
export const KINDS = {
  reliable: {},
  unordered: { ordered: false },
  maxRetransmits: { ordered: false, maxRetransmits: 5 },
  maxPacketLifeTime: { maxPacketLifeTime: 20_000 },
};

export const MANY = 1000;
export const ROUNDS = 10;

/** The largest of the sizes, for people. */
export function ceiling(sizes) {
  const most = sizes.at(-1);
  if (most >= MIB) return `${most / MIB} MiB`;
  return most >= 1024 ? `${Math.ceil(most / 1024)} KiB` : `${most} B`;
}

// SHA-256 of a file, as hex digits. Browsers compute it over HTTPS and on this machine only, so here it is once more.

const K = [];
const START = [];
for (let n = 2; K.length < 64; n++) {
  let isPrime = true;
  for (let factor = 2; factor * factor <= n; factor++) isPrime &&= n % factor !== 0;
  if (!isPrime) continue;
  const bits = (root) => Math.floor((root - Math.floor(root)) * 2 ** 32);
  if (START.length < 8) START.push(bits(Math.sqrt(n)));
  K.push(bits(Math.cbrt(n)));
}

const turn = (word, by) => (word >>> by) | (word << (32 - by));

/** Compute SHA-256 without the browser's help (FIPS 180-4). */
export function sha256(bytes) {
  const padded = new Uint8Array(((bytes.length + 8) >> 6) * 64 + 64);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 8, Math.floor(bytes.length / 2 ** 29));
  view.setUint32(padded.length - 4, bytes.length << 3);
  const state = Uint32Array.from(START);
  const words = new Uint32Array(64);
  for (let at = 0; at < padded.length; at += 64) {
    for (let i = 0; i < 16; i++) words[i] = view.getUint32(at + 4 * i);
    for (let i = 16; i < 64; i++) {
      const [a, b] = [words[i - 15], words[i - 2]];
      words[i] = words[i - 16] + (turn(a, 7) ^ turn(a, 18) ^ (a >>> 3)) + words[i - 7] + (turn(b, 17) ^ turn(b, 19) ^ (b >>> 10));
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let i = 0; i < 64; i++) {
      const first = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + words[i]) | 0;
      const second = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + first) | 0, c, b, a, (first + second) | 0];
    }
    for (const [i, value] of [a, b, c, d, e, f, g, h].entries()) state[i] += value;
  }
  return Array.from(state, (word) => word.toString(16).padStart(8, "0")).join("");
}

/** Return the SHA-256 of a file. */
export async function digestOf(file) {
  const data = await file.arrayBuffer();
  if (!globalThis.crypto?.subtle) return sha256(new Uint8Array(data));
  return Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", data)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

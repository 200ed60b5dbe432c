// ZIP archives, stored: what is in them is compressed already. Above 4 GB or 65,535 files they are ZIP64 (APPNOTE 4.3).

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

/** Compute the CRC-32 of a blob, piece by piece. */
async function crc32(blob) {
  let crc = 0xffffffff;
  const reader = blob.stream().getReader();
  for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
    for (let i = 0; i < value.length; i++) crc = CRC_TABLE[(crc ^ value[i]) & 0xff] ^ (crc >>> 8);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

/** Make a record: pairs of width in bytes and value, little endian. */
function record(...fields) {
  const data = new DataView(new ArrayBuffer(fields.reduce((sum, [width]) => sum + width, 0)));
  let at = 0;
  for (const [width, value] of fields) {
    if (width === 2) data.setUint16(at, value, true);
    else if (width === 4) data.setUint32(at, value, true);
    else data.setBigUint64(at, BigInt(value), true);
    at += width;
  }
  return data;
}

const [OLD, ZIP64, UTF_8] = [20, 45, 0x800];

/**
 * Begin an archive. `add(name, blob)` puts a file into it, `end()` returns it as a blob, whose parts are those blobs.
 * Where a number passes `most`, or `mostFiles`, the field of 4, or 2, bytes is full and the number stands elsewhere.
 */
export function makeZip({ most = 0xffffffff, mostFiles = 0xffff } = {}) {
  const now = new Date();
  const time = (now.getHours() << 11) | (now.getMinutes() << 5) | (now.getSeconds() >> 1);
  const date = ((now.getFullYear() - 1980) << 9) | ((now.getMonth() + 1) << 5) | now.getDate();
  const parts = [];
  const central = [];
  let [offset, count] = [0, 0];

  const short = (number) => (number < most ? number : 0xffffffff);
  const extraOf = (numbers) => (numbers.length ? record([2, 1], [2, 8 * numbers.length], ...numbers.map((each) => [8, each])) : record());
  const put = (...more) => {
    parts.push(...more);
    for (const part of more) offset += part.size ?? part.byteLength;
  };

  async function add(name, blob) {
    const title = new TextEncoder().encode(name);
    const crc = await crc32(blob);
    const sizes = blob.size < most ? [] : [blob.size, blob.size];
    const far = offset < most ? sizes : [...sizes, offset];
    const facts = (extra, version) => [
      [2, version], [2, UTF_8], [2, 0], [2, time], [2, date], [4, crc], [4, short(blob.size)], [4, short(blob.size)],
      [2, title.length], [2, extra.byteLength],
    ];
    const [here, there] = [extraOf(sizes), extraOf(far)];
    const version = far.length ? ZIP64 : OLD;
    const places = [[2, 0], [2, 0], [2, 0], [4, 0], [4, short(offset)]];
    central.push(record([4, 0x02014b50], [2, version], ...facts(there, version), ...places), title, there);
    put(record([4, 0x04034b50], ...facts(here, sizes.length ? ZIP64 : OLD)), title, here, blob);
    count++;
  }

  function end() {
    const start = offset;
    put(...central);
    const [size, after] = [offset - start, offset];
    if (count >= mostFiles || size >= most || start >= most) {
      put(
        record([4, 0x06064b50], [8, 44], [2, ZIP64], [2, ZIP64], [4, 0], [4, 0], [8, count], [8, count], [8, size], [8, start]),
        record([4, 0x07064b50], [4, 0], [8, after], [4, 1]),
      );
    }
    const files = count < mostFiles ? count : 0xffff;
    put(record([4, 0x06054b50], [2, 0], [2, 0], [2, files], [2, files], [4, short(size)], [4, short(start)], [2, 0]));
    return new Blob(parts, { type: "application/zip" });
  }

  return { add, end };
}

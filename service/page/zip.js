// ZIP archives, stored: what is in them is compressed already.

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

function crc32(bytes) {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) crc = CRC_TABLE[(crc ^ bytes[i]) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** Pack files into a ZIP archive, stored: PNG is compressed already. */
export async function zip(files) {
  const now = new Date();
  const time = (now.getHours() << 11) | (now.getMinutes() << 5) | (now.getSeconds() >> 1);
  const date = ((now.getFullYear() - 1980) << 9) | ((now.getMonth() + 1) << 5) | now.getDate();
  const parts = [];
  const central = [];
  let offset = 0;
  // A record: pairs of width in bytes and value, little endian.
  const record = (...fields) => {
    const data = new DataView(new ArrayBuffer(fields.reduce((sum, [width]) => sum + width, 0)));
    let at = 0;
    for (const [width, value] of fields) {
      if (width === 2) data.setUint16(at, value, true);
      else data.setUint32(at, value, true);
      at += width;
    }
    return data;
  };
  for (const { name, blob } of files) {
    const title = new TextEncoder().encode(name);
    const crc = crc32(new Uint8Array(await blob.arrayBuffer()));
    // Version 2.0, names in UTF-8, stored.
    const facts = [[2, 20], [2, 0x800], [2, 0], [2, time], [2, date], [4, crc], [4, blob.size], [4, blob.size], [2, title.length], [2, 0]];
    const head = record([4, 0x04034b50], ...facts);
    central.push(record([4, 0x02014b50], [2, 20], ...facts, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]), title);
    parts.push(head, title, blob);
    offset += head.byteLength + title.length + blob.size;
  }
  if (offset > 0xffff0000 || files.length > 0xffff) throw new Error("Too much for one ZIP: remove some photographs first.");
  const size = central.reduce((sum, part) => sum + part.byteLength, 0);
  const end = record([4, 0x06054b50], [2, 0], [2, 0], [2, files.length], [2, files.length], [4, size], [4, offset], [2, 0]);
  return new Blob([...parts, ...central, end], { type: "application/zip" });
}

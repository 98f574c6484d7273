/** Pixels as a file that costs nothing to write: any compression would take longer than decoding. */

const HEADERS = 54;

/**
 * A Windows bitmap of 24 bits, which browsers take for sRGB; undefined where a pixel is transparent,
 * which such a file cannot say.
 */
export function toBitmapFile({
  data,
  width,
  height,
}: ImageData): Uint8Array<ArrayBuffer> | undefined {
  const stride = Math.ceil((3 * width) / 4) * 4;
  const file = new Uint8Array(HEADERS + stride * height);
  const view = new DataView(file.buffer);
  view.setUint16(0, 0x424d); // "BM"
  view.setUint32(2, file.length, true);
  view.setUint32(10, HEADERS, true);
  view.setUint32(14, HEADERS - 14, true); // The second header's length.
  view.setInt32(18, width, true);
  view.setInt32(22, height, true);
  view.setUint16(26, 1, true); // Planes.
  view.setUint16(28, 24, true);
  view.setUint32(34, stride * height, true);
  let from = 0;
  for (let y = height - 1; y >= 0; y--) {
    let to = HEADERS + y * stride; // The lowest row comes first.
    for (let x = 0; x < width; x++, from += 4, to += 3) {
      if (data[from + 3] !== 255) return undefined;
      file[to] = data[from + 2]!;
      file[to + 1] = data[from + 1]!;
      file[to + 2] = data[from]!;
    }
  }
  return file;
}

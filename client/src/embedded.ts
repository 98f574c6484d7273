/** Pictures within a blob: alpha, the atlas of patches, and what the guard keeps as AVIF. */

import { BlobError } from "./container";

/** Bytes of the AV1 configuration record that a bare AVIF begins with. */
const CONFIGURATION = 3;
const BARE = 0x81;

/** The file of a stored picture: boxes are put before a bare AVIF (`docs/format.md`). */
export function whole(stored: Uint8Array, width: number, height: number): Uint8Array {
  if (stored[0] !== BARE || stored.length < CONFIGURATION) return stored;
  const configuration = [...stored.subarray(0, CONFIGURATION), 0];
  const coded = stored.subarray(CONFIGURATION);
  const properties = [
    ...box("ispe", [0, 0, 0, 0, ...uint32(width), ...uint32(height)]),
    ...box("pixi", [0, 0, 0, 0, 3, 8, 8, 8]),
    ...box("av1C", configuration),
    ...box("colr", [...ascii("nclx"), 0, 1, 0, 13, 0, 6, 0x80]),
  ];
  const associations = [0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 4, 1, 2, 0x83, 4];
  const entry = box("infe", [2, 0, 0, 0, 0, 1, 0, 0, ...ascii("av01Color"), 0]);
  const meta = (offset: number) =>
    box("meta", [
      ...[0, 0, 0, 0],
      ...box("hdlr", [0, 0, 0, 0, 0, 0, 0, 0, ...ascii("pict"), ...Array<number>(13).fill(0)]),
      ...box("pitm", [0, 0, 0, 0, 0, 1]),
      ...box("iloc", [
        ...[0, 0, 0, 0, 0x44, 0, 0, 1, 0, 1, 0, 0, 0, 1],
        ...uint32(offset),
        ...uint32(coded.length),
      ]),
      ...box("iinf", [0, 0, 0, 0, 0, 1, ...entry]),
      ...box("iprp", [...box("ipco", properties), ...box("ipma", associations)]),
    ]);
  const brands = box("ftyp", [...ascii("avif"), 0, 0, 0, 0, ...ascii("avifmif1miafMA1B")]);
  const data = [...uint32(8 + coded.length), ...ascii("mdat")];
  const start = brands.length + meta(0).length + data.length;
  const file = new Uint8Array(start + coded.length);
  file.set([...brands, ...meta(start), ...data]);
  file.set(coded, start);
  return file;
}

function box(kind: string, content: number[]): number[] {
  return [...uint32(8 + content.length), ...ascii(kind), ...content];
}

const uint32 = (value: number) => [
  value >>> 24,
  (value >>> 16) & 255,
  (value >>> 8) & 255,
  value & 255,
];
const ascii = (text: string) => [...text].map((letter) => letter.charCodeAt(0));

/** As the browser reads it. Rejects with `BlobError` for a damaged picture, or of another size. */
export async function decodePicture(
  stored: Uint8Array,
  width: number,
  height: number,
): Promise<ImageBitmap> {
  const file = new Blob([whole(stored, width, height) as Uint8Array<ArrayBuffer>]);
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new BlobError("A picture within the blob is damaged, or the browser cannot read it.");
  });
  if (bitmap.width !== width || bitmap.height !== height) {
    throw new BlobError("A picture within the blob does not fit its place.");
  }
  return bitmap;
}

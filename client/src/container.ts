/** The blob: header and typed chunks. `docs/format.md` is normative. */

/** Bytes are not a blob, or the blob is damaged, or newer than this program. */
export class BlobError extends Error {
  override name = "BlobError";
}

/** By their number in the header: Stable Diffusion 1.x's, and that of the model `compact`. */
const SPACES = [undefined, "sd1", "compact1"] as const;

/** A latent space. */
export type Space = NonNullable<(typeof SPACES)[number]>;

/** What a blob says of itself before its chunks. */
export interface Header {
  version: number;
  space: Space;
  /** Pixels. */
  width: number;
  /** Pixels. */
  height: number;
  /** 1 to 100, what was asked for. Informative. */
  quality: number;
  /** 1 to 100, determines the quantiser's step. Means nothing without symbols. */
  fineness: number;
  /** Fingerprint of the latent model that encoded, 8 hexadecimal digits. Informative. */
  model: string;
}

/** Payloads by type, views of the blob. Chunks of unknown type are among them. */
export type Chunks = Map<string, Uint8Array>;

export const SYMBOLS = "S";
export const PALETTE = "P";
export const IMAGE = "I";
export const ALPHA = "A";
export const PATCHES = "R";

const MAGIC = 0x4c494d47; // LIMG
const READ_VERSIONS = [3, 4, 5];
const MAX_PIXELS = 2 ** 26;
const HEADER_LENGTH = 25;
const CRC_LENGTH = 4;
const CHUNK_START = 5;
/** What shows the picture; a blob has exactly one. */
const BODIES = [SYMBOLS, PALETTE, IMAGE];

/** Throws `BlobError` unless `blob` is whole and undamaged. Allocates nothing but the map. */
export function unpack(blob: Uint8Array): { header: Header; chunks: Chunks } {
  const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
  if (blob.length < 4 || view.getUint32(0) !== MAGIC) {
    throw new BlobError("These bytes are not a latent blob.");
  }
  if (blob.length < HEADER_LENGTH) throw new BlobError("The blob ends within its header.");
  const version = view.getUint8(4);
  if (!READ_VERSIONS.includes(version)) throw new BlobError(`The blob has version ${version}.`);
  checkCrc(view, 0, HEADER_LENGTH - CRC_LENGTH, "header");
  const space = SPACES[view.getUint8(14)];
  const [quality, fineness] = [view.getUint8(15), view.getUint8(16)];
  const inRange = [quality, fineness].every((value) => value >= 1 && value <= 100);
  if (view.getUint8(5) !== 0 || !space || !inRange) {
    throw new BlobError("The blob's header has values that this version does not know.");
  }
  const header: Header = {
    version,
    space,
    width: view.getUint32(6),
    height: view.getUint32(10),
    quality,
    fineness,
    model: view.getUint32(17).toString(16).padStart(8, "0"),
  };
  const pixels = header.width * header.height; // Inexact beyond 2^53, and refused there.
  if (pixels < 1 || pixels > MAX_PIXELS) {
    throw new BlobError(`${header.width} × ${header.height} pixels; up to ${MAX_PIXELS} are read.`);
  }
  return { header, chunks: unpackChunks(blob, view) };
}

function unpackChunks(blob: Uint8Array, view: DataView): Chunks {
  const chunks: Chunks = new Map();
  let position = HEADER_LENGTH;
  while (position < blob.length) {
    const start = position + CHUNK_START;
    if (start > blob.length) throw new BlobError("The blob ends within a chunk.");
    const type = String.fromCharCode(view.getUint8(position));
    const end = start + view.getUint32(position + 1);
    if (end + CRC_LENGTH > blob.length) throw new BlobError("The blob ends within a chunk.");
    checkCrc(view, position, end, `chunk ${type}`);
    if (chunks.has(type)) throw new BlobError(`The blob has chunk ${type} twice.`);
    chunks.set(type, blob.subarray(start, end));
    position = end + CRC_LENGTH;
  }
  if (BODIES.filter((body) => chunks.has(body)).length !== 1) {
    throw new BlobError("The blob has no picture, or has more than one.");
  }
  return chunks;
}

/** Of the bytes from `start` to `end`, which their CRC-32 follows. */
function checkCrc(view: DataView, start: number, end: number, what: string): void {
  let crc = ~0;
  for (let at = start; at < end; at++) {
    crc = CRC_TABLE[(crc ^ view.getUint8(at)) & 255]! ^ (crc >>> 8);
  }
  if (~crc >>> 0 !== view.getUint32(end)) throw new BlobError(`The blob's ${what} is damaged.`);
}

/** Of each byte, for CRC-32 as in PNG and zlib: polynomial 0x04C11DB7, reflected. */
const CRC_TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? 0xedb88320 ^ (byte >>> 1) : byte >>> 1;
  return byte;
});

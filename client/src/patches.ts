/** Patches: rectangles of the source, blended over the decoded picture. */

import { BlobError } from "./container";
import type { Region } from "./decoder/layers";

/** Patches begin and end at multiples of it, pixels. */
const GRID = 8;
/** Pixels over which a patch fades in; none along the picture's border. */
const FEATHER = 8;

export interface Patch {
  /** Pixels of the picture. */
  place: Region;
  /** Row of the atlas where it begins; all begin at its left. */
  top: number;
}

export interface Patches {
  patches: Patch[];
  /** AVIF, bare or a file, or WebP. */
  atlas: Uint8Array;
  /** Of the atlas, pixels. */
  width: number;
  height: number;
}

/** The payload of chunk `R`, for a padded picture of that size in pixels. Throws `BlobError`. */
export function readPatches(payload: Uint8Array, width: number, height: number): Patches {
  const count = payload[0] ?? 0;
  const start = 1 + 8 * count;
  if (!count || payload.length <= start) throw new BlobError("The blob ends within its patches.");
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const size = { width: 0, height: 0 };
  const patches = Array.from({ length: count }, (_, number) => {
    const [left, top, columns, rows] = [1, 3, 5, 7].map(
      (at) => GRID * view.getUint16(at + 8 * number),
    ) as [number, number, number, number];
    const place = { left, top, right: left + columns, bottom: top + rows };
    if (!columns || !rows || place.right > width || place.bottom > height) {
      throw new BlobError("A patch does not lie within its picture.");
    }
    const patch = { place, top: size.height };
    size.width = Math.max(size.width, columns);
    size.height += rows;
    return patch;
  });
  if (size.width * size.height > width * height) {
    throw new BlobError("The blob's patches are larger than its picture.");
  }
  return { patches, atlas: payload.subarray(start), ...size };
}

/**
 * Mixes `patch` into `under`, RGBA of the pixels at `place` of a picture of that size; all at
 * 1/`scale`. `under` is opaque, and stays so.
 */
export function blend(
  under: Uint8ClampedArray,
  patch: Uint8ClampedArray,
  place: Region,
  width: number,
  height: number,
  scale: number,
): void {
  const across = ramp(place.left, place.right, width, FEATHER / scale);
  const down = ramp(place.top, place.bottom, height, FEATHER / scale);
  let at = 0;
  for (const vertical of down) {
    for (const horizontal of across) {
      const weight = vertical * horizontal;
      // Uint8ClampedArray rounds to the nearest, half to even, as Python does.
      for (const end = at + 3; at < end; at++) {
        under[at] = under[at]! + weight * (patch[at]! - under[at]!);
      }
      at++;
    }
  }
}

/** Weights along one axis: rising to 1 from each side that is not the picture's border. */
function ramp(start: number, stop: number, end: number, feather: number): number[] {
  return Array.from({ length: stop - start }, (_, at) =>
    Math.min(
      1,
      start > 0 ? (at + 0.5) / feather : 1,
      stop < end ? (stop - start - at - 0.5) / feather : 1,
    ),
  );
}

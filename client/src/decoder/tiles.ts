/** How a picture is cut, and what the network is given of it. */

import type { Latents } from "../latent";
import { FINER, INPUTS, MARGINS, type Region, type Scale } from "./layers";

/** Part of a picture with all that decides its pixels; latent pixels. */
export interface Tile {
  inside: Region;
  /** With the margin, as far as the picture goes. */
  around: Region;
  /** float32 (rows, columns, 32) of `around`. */
  inputs: Float32Array<ArrayBuffer>;
}

/**
 * Side of the largest tile, latent pixels. The larger, the less is computed twice; with its margin
 * it takes up to 35 MB of a worker's memory.
 */
const SIDES: Record<Scale, number> = { 8: 128, 4: 128, 2: 96, 1: 64 };

/** Nearly equal tiles, at least `count` of them where they would not become mostly margin. */
export function cut(
  latents: Latents,
  scale: Scale,
  count: number,
  largest: number = SIDES[scale],
): Region[] {
  const { rows, columns } = latents;
  const least = 2 * MARGINS[scale];
  const side = Math.max(least, Math.min(largest, Math.ceil(Math.sqrt((rows * columns) / count))));
  const regions: Region[] = [];
  for (const [top, bottom] of spans(rows, side)) {
    for (const [left, right] of spans(columns, side)) regions.push({ left, top, right, bottom });
  }
  return regions;
}

function spans(length: number, side: number): [number, number][] {
  const count = Math.ceil(length / side);
  return Array.from({ length: count }, (_, at) => [
    Math.round((at * length) / count),
    Math.round(((at + 1) * length) / count),
  ]);
}

/** What the network needs to decode a region at 1/`scale`. */
export function tileOf(latents: Latents, inside: Region, scale: Scale): Tile {
  const { rows, columns, rounded, hints, step } = latents;
  const margin = MARGINS[scale];
  const around = {
    left: Math.max(0, inside.left - margin),
    top: Math.max(0, inside.top - margin),
    right: Math.min(columns, inside.right + margin),
    bottom: Math.min(rows, inside.bottom + margin),
  };
  const plane = rows * columns;
  const area = (around.right - around.left) * (around.bottom - around.top);
  const inputs = new Float32Array(area * INPUTS);
  let to = 0;
  for (let y = around.top; y < around.bottom; y++) {
    for (let x = around.left; x < around.right; x++, to += INPUTS) {
      const place = y * columns + x;
      for (let channel = 0; channel < 4; channel++) {
        inputs[to + channel] = rounded[channel * plane + place]!;
      }
      inputs[to + 4] = step;
      for (let hint = 0; hint < 8; hint++) inputs[to + 5 + hint] = hints[hint * plane + place]!;
      for (let input = 0; input < INPUTS / 2; input++) {
        inputs[to + INPUTS / 2 + input] = inputs[to + input]! / FINER;
      }
    }
  }
  return { inside, around, inputs };
}

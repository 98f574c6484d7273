/** Latents as a picture of 256 colours (chunk `P`). Normative: `docs/format.md`. */

import { BlobError } from "./container";
import { RangeDecoder, TOTAL } from "./rangecoder";

const CHANNELS = 4;
const SIZE = 256;
const HEAD = 2 + CHANNELS * SIZE;
const LARGEST = 1 << 16;
const NEARNESS = 1 << 24;
const COUNT_UNIT = 2;

/**
 * Levels from 0 to 255, (4, h, w), and the standard deviation of their error in scaled latents.
 * Throws `BlobError`.
 */
export function decodePalette(
  data: Uint8Array,
  height: number,
  width: number,
): { levels: Int16Array; noise: number } {
  const plane = height * width;
  if (plane > LARGEST) throw new BlobError(`A palette has at most ${LARGEST} places.`);
  if (data.length < HEAD) throw new BlobError("The blob ends within its palette.");
  const noise = (data[0]! * 256 + data[1]!) / 4096;
  const palette = data.subarray(2, HEAD);
  const decoder = new RangeDecoder(data.subarray(HEAD));
  const indices = new Uint8Array(plane);
  const counts = new Float64Array(SIZE).fill(1);
  const weights = new Float64Array(SIZE);
  const cumulative = new Int32Array(SIZE + 1);
  for (let at = 0; at < plane; at++) {
    const [e0, e1, e2, e3] = expectedColour(palette, indices, at, width);
    let sum = 0;
    for (let index = 0; index < SIZE; index++) {
      const d0 = 8 * palette[4 * index]! - e0;
      const d1 = 8 * palette[4 * index + 1]! - e1;
      const d2 = 8 * palette[4 * index + 2]! - e2;
      const d3 = 8 * palette[4 * index + 3]! - e3;
      const distance = (d0 * d0 + d1 * d1 + d2 * d2 + d3 * d3) >> 6;
      const nearness = 16 + (distance >> 6);
      weights[index] = counts[index]! * Math.floor(NEARNESS / (nearness * nearness));
      sum += weights[index]!;
    }
    let missing = TOTAL;
    let largest = 0;
    for (let index = 0; index < SIZE; index++) {
      const frequency = 1 + Math.floor((weights[index]! * (TOTAL - SIZE)) / sum);
      weights[index] = frequency;
      missing -= frequency;
      if (frequency > weights[largest]!) largest = index;
    }
    weights[largest]! += missing;
    for (let index = 0; index < SIZE; index++) {
      cumulative[index + 1] = cumulative[index]! + weights[index]!;
    }
    const index = decoder.decode(cumulative, 0, SIZE);
    indices[at] = index;
    counts[index]! += COUNT_UNIT;
  }
  decoder.finish();
  const levels = new Int16Array(CHANNELS * plane);
  for (let at = 0; at < levels.length; at++) {
    levels[at] = palette[4 * indices[at % plane]! + Math.floor(at / plane)]!;
  }
  return { levels, noise };
}

/** What the neighbours let expect, in eighths of a level. */
function expectedColour(
  palette: Uint8Array,
  indices: Uint8Array,
  at: number,
  width: number,
): [number, number, number, number] {
  const x = at % width;
  const hasLeft = x > 0;
  const hasAbove = at >= width;
  const neighbours = [
    { weight: hasLeft ? 3 : 0, place: at - 1 },
    { weight: hasAbove ? 3 : 0, place: at - width },
    { weight: hasAbove && hasLeft ? 1 : 0, place: at - width - 1 },
    { weight: hasAbove && x + 1 < width ? 1 : 0, place: at - width + 1 },
  ];
  const colour: [number, number, number, number] = [0, 0, 0, 0];
  let total = 0;
  for (const { weight, place } of neighbours) {
    if (!weight) continue;
    total += weight;
    for (let channel = 0; channel < CHANNELS; channel++) {
      colour[channel]! += weight * palette[4 * indices[place]! + channel]!;
    }
  }
  if (!total) return [1024, 1024, 1024, 1024];
  for (let channel = 0; channel < CHANNELS; channel++) {
    colour[channel] = Math.floor((8 * colour[channel]!) / total);
  }
  return colour;
}

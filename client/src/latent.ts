/** From a blob's chunks to what the decoder is given. */

import { BlobError, type Chunks, type Header, PALETTE, SYMBOLS } from "./container";
import { decodePalette } from "./palette";
import type { Decoded, Prior } from "./prior";

const LEVEL = 0.18215 ** 2;
const POINTS = Array.from({ length: 9 }, (_, number) => 0.4 - number / 10);

/** A picture as scaled SD 1.x latents; planes are (rows, columns). */
export interface Latents {
  rows: number;
  columns: number;
  /** (4, rows, columns); levels from 0 to 255 with a palette. */
  symbols: Int16Array;
  /** The quantiser's step, scaled latents; of a palette, the step of as much noise. */
  step: number;
  /** What the symbols stand for: (4, rows, columns), scaled latents. */
  rounded: Float32Array;
  /**
   * What the prior knows beyond the symbols: (8, rows, columns). Four planes from `rounded` to
   * where in its cell each latent is on average, in scaled latents; four of the logarithm to base
   * 2 of the spread it expected, in symbols. All 0 with a palette.
   */
  hints: Float32Array;
}

/** (rows, columns) of the latents: the size in pixels over 8, rounded up. */
export function latentShape(header: Header): [number, number] {
  return [Math.ceil(header.height / 8), Math.ceil(header.width / 8)];
}

/** Of a blob whose picture is kept as latents. Throws `BlobError`. */
export function readLatents(header: Header, chunks: Chunks, prior: Prior): Latents {
  const [rows, columns] = latentShape(header);
  const coded = chunks.get(SYMBOLS);
  if (coded) {
    const decoded = prior.decode(coded, rows, columns, header.fineness);
    const step = 0.5 * 2 ** ((50 - header.fineness) / 25);
    const { symbols } = decoded;
    const rounded = new Float32Array(symbols).map((symbol) => symbol * step);
    return { rows, columns, symbols, step, rounded, hints: hintsOf(decoded, step) };
  }
  const palette = chunks.get(PALETTE);
  if (!palette) throw new BlobError("The blob's picture is kept as AVIF and has no latents.");
  const { levels, noise } = decodePalette(palette, rows, columns);
  return {
    rows,
    columns,
    symbols: levels,
    step: noise * 12 ** 0.5, // A step's error is even: its variance step²/12.
    rounded: new Float32Array(levels).map((level) => (level - 127.5) * LEVEL),
    hints: new Float32Array(8 * rows * columns),
  };
}

function hintsOf({ symbols, expected, spread }: Decoded, step: number): Float32Array {
  const length = symbols.length;
  const hints = new Float32Array(2 * length);
  for (let at = 0; at < length; at++) {
    hints[at] = centroid(expected[at]! - symbols[at]!, 2 ** spread[at]!) * step;
  }
  hints.set(spread, length);
  return hints;
}

/**
 * Where in its cell a symbol's latent is on average when the prior has its way, in symbols from the
 * cell's middle, within ±0.4 (`quantize.centroid` in Python, which says more).
 *
 * Nine points, 0.1 apart, from the one nearest to the expected value on: `odds` is e^−distance there,
 * and each point has `falloff` times the one before. Densities are multiples of `odds`, which may be
 * tiny. Two exponentials instead of Python's eighteen: they would take a third of all the time.
 */
function centroid(offset: number, spread: number): number {
  const odds = Math.exp((0.4 - Math.abs(offset)) / spread);
  const falloff = Math.exp(-0.1 / spread);
  let total = 0;
  let moment = 0;
  let share = 1;
  for (const point of POINTS) {
    const density = share / (1 + odds * share) ** 2;
    total += density;
    moment += density * point;
    share *= falloff;
  }
  return (Math.sign(offset) * moment) / total;
}

/**
 * The prior: an integer network, from the symbols already coded to the distribution of the next.
 *
 * Inputs, weights, activations and outputs are integers below 2^53, so float64 adds them up exactly
 * in any order and on any machine. `docs/format.md` is normative; order and network stand there.
 */

import { BlobError } from "./container";
import { RangeDecoder, TOTAL } from "./rangecoder";

const CHANNELS = 4;
const NEIGHBOURS = [-2, -1, 0].flatMap((dy) =>
  [-2, -1, 0, 1, 2].flatMap((dx) => (dy < 0 || dx < 0 ? [{ dy, dx }] : [])),
);
const INPUTS = CHANNELS * NEIGHBOURS.length;
const LARGEST_SYMBOL = 2047;
const LARGEST_LATENT = 4096;
const LARGEST_ACTIVATION = 1 << 15;
const FINENESSES = 100;
const PHASES = 16;
const SPREADS = 49;
const TABLES_PER_OCTAVE = 4;
const SMALLEST_OCTAVE = -6;
const REACH = 32;
const ESCAPE = 2 * REACH;
const ESCAPE_BITS = 12;
/** Cumulative frequencies of a table. */
const TABLE = ESCAPE + 2;

/** Weights that follow one input stand together: inputs that are 0 then cost nothing. */
export interface Prior {
  /** Units of a hidden layer, of each channel. */
  hidden: number;
  /** [input][channel, unit]; the last two units of a channel are the shortcut to its outputs. */
  context: Float64Array;
  /** [channel, unit]. */
  bias: Float64Array;
  step: Float64Array;
  /** [channel][channel before][unit]. */
  known: Float64Array;
  /** [channel][input][unit]. */
  second: Float64Array;
  /** [channel][unit]. */
  secondBias: Float64Array;
  /** [channel][input][output]. */
  output: Float64Array;
  /** [fineness − 1]. */
  gain: Float64Array;
  inverse: Float64Array;
  /** [table][index]. */
  cumulative: Uint16Array;
}

/** The file that `training/browser.py` writes; its docstring has the layout. */
export function readPrior(file: ArrayBuffer): Prior {
  const view = new DataView(file);
  const hidden = view.getInt32(0, true);
  let position = 4;
  /** Reads (groups, rows, columns), gives (groups, columns, rows). */
  function transposed(groups: number, rows: number, columns: number): Float64Array {
    const result = new Float64Array(groups * rows * columns);
    for (let group = 0; group < groups; group++) {
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++) {
          result[(group * columns + column) * rows + row] = view.getInt32(position, true);
          position += 4;
        }
      }
    }
    return result;
  }
  const array = (length: number) => transposed(1, 1, length);
  const rows = CHANNELS * (hidden + 2);
  const prior = {
    hidden,
    context: transposed(1, rows, INPUTS),
    bias: array(rows),
    step: array(rows),
    known: transposed(CHANNELS, hidden + 2, CHANNELS - 1),
    second: transposed(CHANNELS, hidden, hidden),
    secondBias: array(CHANNELS * hidden),
    output: transposed(CHANNELS, 2, hidden),
    gain: array(FINENESSES),
    inverse: array(FINENESSES),
  };
  const cumulative = new Uint16Array(SPREADS * PHASES * TABLE);
  for (let at = 0; at < cumulative.length; at++) {
    if (at % TABLE === 0) continue;
    cumulative[at] = cumulative[at - 1]! + view.getUint16(position, true);
    position += 2;
  }
  return { ...prior, cumulative };
}

/** Symbols, and what the prior thought of each before it was known; all (4, h, w). */
export interface Decoded {
  symbols: Int16Array;
  /** Expected value, symbols. */
  expected: Float32Array;
  /** Logarithm to base 2 of the spread of the logistic distribution, symbols. */
  spread: Float32Array;
}

/** The payload of chunk `S`, for (4, height, width) symbols. Throws `BlobError`. */
export function decodeSymbols(
  prior: Prior,
  data: Uint8Array,
  height: number,
  width: number,
  fineness: number,
): Decoded {
  const plane = height * width;
  checkLength(prior, data, CHANNELS * plane);
  const { hidden, context, known, second, secondBias, output, cumulative } = prior;
  const units = hidden + 2;
  const rows = CHANNELS * units;
  const step = Math.floor(((50 - fineness) * 256) / 32);
  const bias = prior.bias.map((value, row) => value + prior.step[row]! * step);
  const gain = prior.gain[fineness - 1]!;
  const inverse = prior.inverse[fineness - 1]!;
  const toInput = (symbol: number) =>
    Math.max(-LARGEST_LATENT, Math.min(symbol * gain, LARGEST_LATENT));

  const symbols = new Int16Array(CHANNELS * plane);
  const expected = new Float32Array(CHANNELS * plane);
  const spread = new Float32Array(CHANNELS * plane);
  const longest = Math.min(height, Math.ceil(width / 3));
  const layers = new Float64Array(longest * rows);
  const inputs = new Sparse(INPUTS);
  const activations = new Sparse(hidden);
  const layer2 = new Float64Array(hidden);
  const outputs = new Float64Array(2);
  const decoder = new RangeDecoder(data);

  const diagonals = width + 3 * height - 3;
  for (let diagonal = 0; diagonal < diagonals; diagonal++) {
    const top = Math.max(0, Math.ceil((diagonal - width + 1) / 3));
    const bottom = Math.min(height - 1, Math.floor(diagonal / 3));
    for (let y = top; y <= bottom; y++) {
      const x = diagonal - 3 * y;
      inputs.clear();
      for (let n = 0; n < NEIGHBOURS.length; n++) {
        const { dy, dx } = NEIGHBOURS[n]!;
        if (y + dy < 0 || x + dx < 0 || x + dx >= width) continue;
        let at = (y + dy) * width + x + dx;
        for (let channel = 0; channel < CHANNELS; channel++, at += plane) {
          const symbol = symbols[at]!;
          if (symbol) inputs.add(channel * NEIGHBOURS.length + n, toInput(symbol));
        }
      }
      const start = (y - top) * rows;
      layers.set(bias, start);
      inputs.multiply(context, 0, layers, start, rows);
    }
    for (let channel = 0; channel < CHANNELS; channel++) {
      for (let y = top; y <= bottom; y++) {
        const place = y * width + diagonal - 3 * y;
        const layer = (y - top) * rows + channel * units;
        inputs.clear();
        for (let before = 0; before < channel; before++) {
          const symbol = symbols[before * plane + place]!;
          if (symbol) inputs.add(before, toInput(symbol));
        }
        inputs.multiply(known, channel * (CHANNELS - 1) * units, layers, layer, units);
        activations.activate(layers, layer, hidden);
        for (let unit = 0; unit < hidden; unit++) layer2[unit] = secondBias[channel * hidden + unit]!;
        activations.multiply(second, channel * hidden * hidden, layer2, 0, hidden);
        activations.activate(layer2, 0, hidden);
        outputs[0] = layers[layer + hidden]!;
        outputs[1] = layers[layer + hidden + 1]!;
        activations.multiply(output, channel * hidden * 2, outputs, 0, 2);

        const mean = Math.floor(outputs[0]! / 4096);
        const sixteenths = Math.floor((mean * inverse) / 65536);
        const whole = Math.floor(sixteenths / PHASES);
        const phase = sixteenths - whole * PHASES;
        const octave = Math.floor(Math.floor(outputs[1]! / 4096) / 64);
        const scale = Math.max(
          0,
          Math.min(octave - SMALLEST_OCTAVE * TABLES_PER_OCTAVE, SPREADS - 1),
        );
        const table = (scale * PHASES + phase) * TABLE;
        const index = decoder.decode(cumulative, table, table + TABLE - 1);
        let symbol = index + whole - (REACH - 1);
        if (index === ESCAPE) symbol = decoder.decodeBits(ESCAPE_BITS) - LARGEST_SYMBOL;
        const at = channel * plane + place;
        symbols[at] = Math.max(-LARGEST_SYMBOL, Math.min(symbol, LARGEST_SYMBOL));
        expected[at] = (sixteenths + 0.5) / PHASES;
        spread[at] = SMALLEST_OCTAVE + (scale + 0.5) / TABLES_PER_OCTAVE;
      }
    }
  }
  decoder.finish();
  return { symbols, expected, spread };
}

/**
 * Refuses payloads that are too short for so many symbols, before memory is taken for them.
 *
 * Each symbol narrows the range by its probability at least, each byte widens it 256 times, and it
 * ends above 2^24 of the 2^32 at the start.
 */
function checkLength(prior: Prior, data: Uint8Array, symbols: number): void {
  let most = 0;
  for (let at = 1; at < prior.cumulative.length; at++) {
    most = Math.max(most, prior.cumulative[at]! - prior.cumulative[at - 1]!);
  }
  if (symbols * Math.log2(TOTAL / most) > 8 * data.length + 8) {
    throw new BlobError("The entropy-coded bytes are too few for a picture of this size.");
  }
}

/** The inputs of a layer that are not 0. */
class Sparse {
  private readonly at: Int32Array;
  private readonly values: Float64Array;
  private count = 0;

  /** For up to `length` inputs. */
  constructor(length: number) {
    this.at = new Int32Array(length + 3);
    this.values = new Float64Array(length + 3);
  }

  clear(): void {
    this.count = 0;
  }

  add(index: number, value: number): void {
    this.at[this.count] = index;
    this.values[this.count++] = value;
  }

  /** `act()` of a layer's units. */
  activate(layer: Float64Array, start: number, length: number): void {
    this.count = 0;
    for (let unit = 0; unit < length; unit++) {
      const value = layer[start + unit]!;
      if (value >= 4096) this.add(unit, Math.min(Math.floor(value / 4096), LARGEST_ACTIVATION));
    }
  }

  /** Adds `weights` [input][row], from `first` on, times the inputs to `rows` sums. */
  multiply(
    weights: Float64Array,
    first: number,
    sums: Float64Array,
    start: number,
    rows: number,
  ): void {
    const { at, values } = this;
    // Four at a time, so that a sum is loaded and stored once for four products.
    while (this.count % 4) this.add(0, 0);
    for (let input = 0; input < this.count; input += 4) {
      const v0 = values[input]!;
      const v1 = values[input + 1]!;
      const v2 = values[input + 2]!;
      const v3 = values[input + 3]!;
      const w0 = first + at[input]! * rows;
      const w1 = first + at[input + 1]! * rows;
      const w2 = first + at[input + 2]! * rows;
      const w3 = first + at[input + 3]! * rows;
      for (let row = 0; row < rows; row++) {
        sums[start + row]! +=
          weights[w0 + row]! * v0 +
          weights[w1 + row]! * v1 +
          weights[w2 + row]! * v2 +
          weights[w3 + row]! * v3;
      }
    }
  }
}

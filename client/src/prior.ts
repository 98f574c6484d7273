/**
 * The prior: an integer network, from the symbols already coded to the distribution of the next.
 *
 * Inputs, weights, activations and outputs are integers below 2^53, so float64 adds them up exactly
 * in any order and on any machine. `docs/format.md` is normative; order and network stand there.
 * The sums are in WebAssembly (`kernels.c`), in less than half the time that JavaScript takes.
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

/** Symbols, and what the prior thought of each before it was known; all (4, h, w). */
export interface Decoded {
  symbols: Int16Array;
  /** Expected value, symbols. */
  expected: Float32Array;
  /** Logarithm to base 2 of the spread of the logistic distribution, symbols. */
  spread: Float32Array;
}

interface Kernels {
  memory: WebAssembly.Memory;
  __heap_base: WebAssembly.Global<"i32">;
  accumulate(
    values: number,
    at: number,
    count: number,
    weights: number,
    rows: number,
    sums: number,
  ): void;
  finish_layers(layer: number, hidden: number, weights: number, bias: number, output: number): void;
}

/** Bytes of a float64. */
const DOUBLE = 8;
const MOST_HIDDEN = 64;

/** Numbers are addresses in the kernels' memory; there, what follows one input stands together. */
export class Prior {
  /** Units of a hidden layer, of each channel; two more are the shortcut to its outputs. */
  private readonly hidden: number;
  /** [input][channel, unit]. */
  private readonly context: number;
  /** [channel, unit]. */
  private readonly bias: Float64Array;
  private readonly step: Float64Array;
  /** [channel][channel before][unit]. */
  private readonly known: number;
  /** [channel][input][unit]. */
  private readonly second: number;
  /** [channel][unit]. */
  private readonly secondBias: number;
  /** [channel][input][output]. */
  private readonly output: number;
  /** [fineness − 1]. */
  private readonly gain: Float64Array;
  private readonly inverse: Float64Array;
  /** [table][index]. */
  private readonly cumulative = new Uint16Array(SPREADS * PHASES * TABLE);
  /** Of any distribution. */
  private readonly mostFrequent: number;
  /** Address behind the weights. */
  private free: number;

  /** `module`: of `kernels.wasm`; `file`: `prior-*.bin`, whose layout `training/browser.py` tells. */
  static async load(module: WebAssembly.Module, file: ArrayBuffer): Promise<Prior> {
    const instance = await WebAssembly.instantiate(module);
    return new Prior(instance.exports as unknown as Kernels, new DataView(file));
  }

  private constructor(
    private readonly kernels: Kernels,
    file: DataView,
  ) {
    let position = 0;
    const next = () => file.getInt32((position += 4) - 4, true);
    /** Reads (groups, rows, columns), gives (groups, columns, rows). */
    function transposed(groups: number, rows: number, columns: number): Float64Array {
      const result = new Float64Array(groups * rows * columns);
      for (let group = 0; group < groups; group++) {
        for (let row = 0; row < rows; row++) {
          for (let column = 0; column < columns; column++) {
            result[(group * columns + column) * rows + row] = next();
          }
        }
      }
      return result;
    }
    const array = (length: number) => transposed(1, 1, length);
    this.free = Math.ceil(kernels.__heap_base.value / 16) * 16;
    const kept = (values: Float64Array) => {
      const address = this.take(values.length);
      this.view(address, values.length).set(values);
      return address;
    };
    this.hidden = next();
    if (this.hidden > MOST_HIDDEN) throw new Error("The prior has too many units for its kernels.");
    const rows = CHANNELS * (this.hidden + 2);
    this.context = kept(transposed(1, rows, INPUTS));
    this.bias = array(rows);
    this.step = array(rows);
    this.known = kept(transposed(CHANNELS, this.hidden + 2, CHANNELS - 1));
    this.second = kept(transposed(CHANNELS, this.hidden, this.hidden));
    this.secondBias = kept(array(CHANNELS * this.hidden));
    this.output = kept(transposed(CHANNELS, 2, this.hidden));
    this.gain = array(FINENESSES);
    this.inverse = array(FINENESSES);
    let most = 0;
    for (let at = 0; at < this.cumulative.length; at++) {
      if (at % TABLE === 0) continue;
      const frequency = file.getUint16(position, true);
      position += 2;
      this.cumulative[at] = this.cumulative[at - 1]! + frequency;
      most = Math.max(most, frequency);
    }
    this.mostFrequent = most;
  }

  /** The payload of chunk `S`, for (4, height, width) symbols. Throws `BlobError`. */
  decode(data: Uint8Array, height: number, width: number, fineness: number): Decoded {
    const plane = height * width;
    this.checkLength(data, CHANNELS * plane);
    const { hidden, cumulative, kernels } = this;
    const units = hidden + 2;
    const rows = CHANNELS * units;
    const step = Math.floor(((50 - fineness) * 256) / 32);
    const bias = this.bias.map((value, row) => value + this.step[row]! * step);
    const gain = this.gain[fineness - 1]!;
    const inverse = this.inverse[fineness - 1]!;
    const toInput = (symbol: number) =>
      Math.max(-LARGEST_LATENT, Math.min(symbol * gain, LARGEST_LATENT));

    const symbols = new Int16Array(CHANNELS * plane);
    const expected = new Float32Array(CHANNELS * plane);
    const spread = new Float32Array(CHANNELS * plane);
    const longest = Math.min(height, Math.ceil(width / 3));
    const start = this.free;
    const [valuesAddress, atAddress, layersAddress] = [
      this.take(INPUTS),
      this.take(INPUTS),
      this.take(longest * rows),
    ];
    this.free = start;
    const values = this.view(valuesAddress, INPUTS);
    const at = new Int32Array(kernels.memory.buffer, atAddress, INPUTS);
    const layers = this.view(layersAddress, longest * rows);
    let inputs = 0;
    const add = (input: number, symbol: number) => {
      at[inputs] = input;
      values[inputs++] = toInput(symbol);
    };
    const decoder = new RangeDecoder(data);

    const diagonals = width + 3 * height - 3;
    for (let diagonal = 0; diagonal < diagonals; diagonal++) {
      const top = Math.max(0, Math.ceil((diagonal - width + 1) / 3));
      const bottom = Math.min(height - 1, Math.floor(diagonal / 3));
      for (let y = top; y <= bottom; y++) {
        const x = diagonal - 3 * y;
        inputs = 0;
        for (let n = 0; n < NEIGHBOURS.length; n++) {
          const { dy, dx } = NEIGHBOURS[n]!;
          if (y + dy < 0 || x + dx < 0 || x + dx >= width) continue;
          let place = (y + dy) * width + x + dx;
          for (let channel = 0; channel < CHANNELS; channel++, place += plane) {
            const symbol = symbols[place]!;
            if (symbol) add(channel * NEIGHBOURS.length + n, symbol);
          }
        }
        layers.set(bias, (y - top) * rows);
        const layer = layersAddress + (y - top) * rows * DOUBLE;
        kernels.accumulate(valuesAddress, atAddress, inputs, this.context, rows, layer);
      }
      for (let channel = 0; channel < CHANNELS; channel++) {
        const known = this.known + channel * (CHANNELS - 1) * units * DOUBLE;
        const second = this.second + channel * hidden * hidden * DOUBLE;
        const secondBias = this.secondBias + channel * hidden * DOUBLE;
        const output = this.output + channel * hidden * 2 * DOUBLE;
        for (let y = top; y <= bottom; y++) {
          const place = y * width + diagonal - 3 * y;
          const outputs = (y - top) * rows + channel * units + hidden;
          const layer = layersAddress + (outputs - hidden) * DOUBLE;
          inputs = 0;
          for (let before = 0; before < channel; before++) {
            const symbol = symbols[before * plane + place]!;
            if (symbol) add(before, symbol);
          }
          if (inputs) kernels.accumulate(valuesAddress, atAddress, inputs, known, units, layer);
          kernels.finish_layers(layer, hidden, second, secondBias, output);

          const mean = Math.floor(layers[outputs]! / 4096);
          const sixteenths = Math.floor((mean * inverse) / 65536);
          const whole = Math.floor(sixteenths / PHASES);
          const phase = sixteenths - whole * PHASES;
          const octave = Math.floor(Math.floor(layers[outputs + 1]! / 4096) / 64);
          const scale = Math.max(
            0,
            Math.min(octave - SMALLEST_OCTAVE * TABLES_PER_OCTAVE, SPREADS - 1),
          );
          const table = (scale * PHASES + phase) * TABLE;
          const index = decoder.decode(cumulative, table, table + TABLE - 1);
          let symbol = index + whole - (REACH - 1);
          if (index === ESCAPE) symbol = decoder.decodeBits(ESCAPE_BITS) - LARGEST_SYMBOL;
          const here = channel * plane + place;
          symbols[here] = Math.max(-LARGEST_SYMBOL, Math.min(symbol, LARGEST_SYMBOL));
          expected[here] = (sixteenths + 0.5) / PHASES;
          spread[here] = SMALLEST_OCTAVE + (scale + 0.5) / TABLES_PER_OCTAVE;
        }
      }
    }
    decoder.finish();
    return { symbols, expected, spread };
  }

  /**
   * Refuses payloads that are too short for so many symbols, before memory is taken for them.
   *
   * Each symbol narrows the range by its probability at least, each byte widens it 256 times, and
   * it ends above 2^24 of the 2^32 at the start.
   */
  private checkLength(data: Uint8Array, symbols: number): void {
    if (symbols * Math.log2(TOTAL / this.mostFrequent) > 8 * data.length + 8) {
      throw new BlobError("The entropy-coded bytes are too few for a picture of this size.");
    }
  }

  /** Room for so many float64; views of the memory from before may be void then. */
  private take(length: number): number {
    const address = this.free;
    this.free += Math.ceil((length * DOUBLE) / 16) * 16;
    const missing = this.free - this.kernels.memory.buffer.byteLength;
    if (missing > 0) this.kernels.memory.grow(Math.ceil(missing / 65536));
    return address;
  }

  private view(address: number, length: number): Float64Array {
    return new Float64Array(this.kernels.memory.buffer, address, length);
  }
}

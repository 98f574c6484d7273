/** Range decoder over 15-bit frequencies, in exact 32-bit integers. Normative: `docs/format.md`. */

import { BlobError } from "./container";

export const TOTAL_BITS = 15;
export const TOTAL = 1 << TOTAL_BITS;

const BOTTOM = 2 ** 24;
/** Zero bytes that a decoder reads beyond those that the encoder had to write. */
const LOOK_AHEAD = 4;

/** Numbers up to 2^32, as JavaScript's float64: its bit operators would make them negative. */
export class RangeDecoder {
  private position = 4;
  private code = 0;
  private range = 2 ** 32 - 1;

  constructor(private readonly data: Uint8Array) {
    for (let at = 0; at < 4; at++) this.code = this.code * 256 + (data[at] ?? 0);
  }

  /**
   * Index of the next symbol. Its distribution: cumulative frequencies from 0 to `TOTAL` in
   * `tables[first]` to `tables[last]`. Throws `BlobError` when the bytes have run out.
   */
  decode(tables: ArrayLike<number>, first: number, last: number): number {
    const unit = Math.floor(this.range / TOTAL);
    const value = this.code / unit;
    if (value >= TOTAL) throw damaged();
    let low = first;
    let high = last;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (tables[middle]! <= value) low = middle;
      else high = middle;
    }
    this.narrow(unit, tables[low]!, tables[high]!);
    return low - first;
  }

  /** The next `bits` (at most 15) equally likely bits. Throws `BlobError`. */
  decodeBits(bits: number): number {
    const unit = Math.floor(this.range / TOTAL);
    const width = TOTAL >> bits;
    const value = Math.floor(this.code / unit / width);
    if (value >> bits) throw damaged();
    this.narrow(unit, value * width, (value + 1) * width);
    return value;
  }

  private narrow(unit: number, start: number, end: number): void {
    this.code -= unit * start;
    this.range = unit * (end - start);
    while (this.range < BOTTOM) {
      if (this.position >= this.data.length + LOOK_AHEAD) throw damaged();
      this.code = this.code * 256 + (this.data[this.position++] ?? 0);
      this.range *= 256;
    }
  }

  /** Throws `BlobError` unless every byte was needed. */
  finish(): void {
    if (this.position < this.data.length) {
      throw new BlobError("There are bytes after the last symbol.");
    }
  }
}

function damaged(): BlobError {
  return new BlobError("The entropy-coded bytes are damaged or end too early.");
}

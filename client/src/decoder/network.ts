/**
 * The bundled decoder (`LiteDecoder` in Python) over kernels in WebAssembly.
 *
 * Kernels of our own: 18 KB, 6 by gzip. onnxruntime-web 1.30.0 would be 14.2 MB of WebAssembly, 3.7
 * by gzip, and 50 KB of JavaScript, more than many pages' pictures. They are in C, because clang
 * makes SIMD of intrinsics without a runtime.
 */

export const SCALES = [8, 4, 2, 1] as const;
/** Denominator of the decoder's output resolution. */
export type Scale = (typeof SCALES)[number];

/** Latent pixels around a tile that influence its inside: the radius of the receptive field. */
export const MARGINS: Record<Scale, number> = { 8: 7, 4: 7, 2: 13, 1: 14 };

const [EIGHTH, QUARTER, HALF] = [128, 64, 32] as const;
/** For each latent pixel, at the resolution where there are most. */
const VALUES: Record<Scale, number> = { 8: EIGHTH, 4: EIGHTH, 2: 4 * QUARTER, 1: 16 * HALF };
const DEPTHS = { eighth: 4, quarter: 2, half: 1 };
/** Latents, step and hints, padded to 16, and the same once more, divided by `FINER`. */
export const INPUTS = 32;
export const FINER = 128;
const MOST_CHANNELS = 4 * QUARTER;

/** Columns from `left` to before `right`, rows from `top` to before `bottom`. */
export interface Region {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

interface Kernels {
  memory: WebAssembly.Memory;
  __heap_base: WebAssembly.Global<"i32">;
  prepare(levels: number, scale: number, inputs: number, outputs: number, weights: number): void;
  convolve(
    source: number,
    sourceStride: number,
    sourceWidth: number,
    sourceHeight: number,
    target: number,
    targetStride: number,
    width: number,
    height: number,
    left: number,
    top: number,
    weights: number,
    bias: number,
    inputs: number,
    outputs: number,
    shuffle: number,
    mode: Mode,
    windows: number,
    products: number,
  ): void;
  scratch(channels: number): number;
}

/** What becomes of a convolution's output; as in `kernels.c`. */
const enum Mode {
  Store,
  Relu,
  Add,
  Pixels,
}

/** One convolution; its numbers lie in the kernels' memory. */
interface Layer {
  inputs: number;
  outputs: number;
  shuffle: 1 | 2;
  scale: number;
  bias: number;
  levels: number;
}

interface Block {
  first: Layer;
  second: Layer;
}

/** Values of a region of the picture at some resolution, (row, column, channel). */
interface Planes {
  /** Address of the value at `left`, `top` of `stored`. */
  address: number;
  channels: number;
  /** What there is room for. */
  stored: Region;
  /** What is known: all that the inputs determine. */
  known: Region;
  /** Of the whole picture; beyond it all is 0. */
  width: number;
  height: number;
}

export class Network {
  private readonly layers;
  private readonly weights: number;
  private readonly windows: number;
  private readonly products: number;
  private readonly free: number;

  private constructor(
    private readonly kernels: Kernels,
    file: Uint8Array,
  ) {
    const start = align(kernels.__heap_base.value);
    this.reserve(start + file.length);
    new Uint8Array(kernels.memory.buffer).set(file, start);
    let position = start;

    function layer(inputs: number, outputs: number, shuffle: 1 | 2 = 1): Layer {
      const scale = position;
      const bias = scale + 4 * outputs;
      const levels = bias + 4 * outputs;
      position = levels + 9 * inputs * outputs;
      return { inputs, outputs, shuffle, scale, bias, levels };
    }
    const block = (channels: number): Block => ({
      first: layer(channels, channels),
      second: layer(channels, channels),
    });
    const trunk = (channels: number, depth: number) =>
      Array.from({ length: depth }, () => block(channels));
    // In the file's order, which is the one of `LiteDecoder`.
    this.layers = {
      enter: layer(INPUTS, EIGHTH),
      eighth: trunk(EIGHTH, DEPTHS.eighth),
      quarter: trunk(QUARTER, DEPTHS.quarter),
      half: trunk(HALF, DEPTHS.half),
      toQuarter: layer(EIGHTH, 4 * QUARTER, 2),
      toHalf: layer(QUARTER, 4 * HALF, 2),
      small: layer(EIGHTH, QUARTER),
      smallBlock: block(QUARTER),
      eighthHead: layer(QUARTER, 4),
      quarterHead: layer(QUARTER, 16, 2),
      halfHead: layer(QUARTER, 16, 2),
      fullHead: layer(HALF, 16, 2),
    };
    if (position !== start + file.length) throw new Error("The decoder's weights do not fit.");
    const widest = Math.max(
      ...allLayers(this.layers).map(({ inputs, outputs }) => inputs * outputs),
    );
    this.weights = align(position);
    this.windows = this.weights + 36 * 4 * widest;
    this.products = this.windows + kernels.scratch(MOST_CHANNELS);
    this.free = this.products + kernels.scratch(MOST_CHANNELS);
  }

  /** `module`: of `kernels.wasm`; `file`: `decoder.bin` (layout: `training/browser.py`). */
  static async load(module: WebAssembly.Module, file: Uint8Array): Promise<Network> {
    const instance = await WebAssembly.instantiate(module);
    return new Network(instance.exports as unknown as Kernels, file);
  }

  /**
   * A part of a picture, `tile` in latent pixels, at 1/`scale` of its size: RGBA, 8/`scale` pixels
   * for each latent pixel in both directions.
   *
   * `inputs`: float32 (rows, columns, 32) of `around`, which is the tile with its margin as far as
   * the picture goes; `width` and `height`: of the whole picture, latent pixels.
   */
  decode(
    inputs: Float32Array,
    around: Region,
    tile: Region,
    width: number,
    height: number,
    scale: Scale,
  ): Uint8ClampedArray<ArrayBuffer> {
    const { layers } = this;
    const size = (around.right - around.left) * (around.bottom - around.top);
    const room = 4 * size * VALUES[scale];
    const [a, b, c] = [this.free, this.free + room, this.free + 2 * room];
    this.reserve(c + room);
    new Float32Array(this.kernels.memory.buffer, c, inputs.length).set(inputs);
    const source = { address: c, channels: INPUTS, stored: around, known: around, width, height };

    let x = this.convolve(source, layers.enter, Mode.Store, a);
    const [first, ...others] = layers.eighth;
    x = this.block(x, first!, b);
    let pixels: Planes;
    if (scale > 2) {
      x = this.convolve(x, layers.small, Mode.Relu, c);
      x = this.block(x, layers.smallBlock, b);
      const head = scale === 8 ? layers.eighthHead : layers.quarterHead;
      pixels = this.convolve(x, head, Mode.Pixels, a);
    } else {
      for (const block of others) x = this.block(x, block, b);
      x = this.convolve(x, layers.toQuarter, Mode.Store, c);
      for (const block of layers.quarter) x = this.block(x, block, b);
      if (scale === 2) {
        pixels = this.convolve(x, layers.halfHead, Mode.Pixels, a);
      } else {
        x = this.convolve(x, layers.toHalf, Mode.Store, a);
        for (const block of layers.half) x = this.block(x, block, b);
        pixels = this.convolve(x, layers.fullHead, Mode.Pixels, c);
      }
    }
    return this.cut(pixels, tile, 8 / scale);
  }

  /** `x + second(relu(first(x)))`, in the place of `x`. */
  private block(x: Planes, { first, second }: Block, scratch: number): Planes {
    const hidden = this.convolve(x, first, Mode.Relu, scratch);
    return this.convolve(hidden, second, Mode.Add, x.address, x.stored);
  }

  /** At `address`, where there is room for `stored`, or for all that will be known. */
  private convolve(
    source: Planes,
    { inputs, outputs, shuffle, scale, bias, levels }: Layer,
    mode: Mode,
    address: number,
    stored?: Region,
  ): Planes {
    const { kernels } = this;
    const seen = source.known;
    const inner = {
      left: seen.left && seen.left + 1,
      top: seen.top && seen.top + 1,
      right: seen.right - (seen.right < source.width ? 1 : 0),
      bottom: seen.bottom - (seen.bottom < source.height ? 1 : 0),
    };
    const known = scaled(inner, shuffle);
    const target: Planes = {
      address,
      channels: outputs / shuffle ** 2,
      stored: stored ?? known,
      known,
      width: source.width * shuffle,
      height: source.height * shuffle,
    };
    kernels.prepare(levels, scale, inputs, outputs, this.weights);
    kernels.convolve(
      addressOf(source, seen.left, seen.top, 4 * source.channels),
      source.stored.right - source.stored.left,
      seen.right - seen.left,
      seen.bottom - seen.top,
      addressOf(target, known.left, known.top, mode === Mode.Pixels ? 4 : 4 * target.channels),
      target.stored.right - target.stored.left,
      inner.right - inner.left,
      inner.bottom - inner.top,
      inner.left - seen.left,
      inner.top - seen.top,
      this.weights,
      bias,
      inputs,
      outputs,
      shuffle,
      mode,
      this.windows,
      this.products,
    );
    return target;
  }

  private cut(pixels: Planes, tile: Region, cell: number): Uint8ClampedArray<ArrayBuffer> {
    const { left, top, right, bottom } = scaled(tile, cell);
    const row = 4 * (right - left);
    const result = new Uint8ClampedArray(row * (bottom - top));
    for (let y = top; y < bottom; y++) {
      const address = addressOf(pixels, left, y, 4);
      result.set(new Uint8Array(this.kernels.memory.buffer, address, row), (y - top) * row);
    }
    return result;
  }

  /** Makes the memory as large as that, in bytes. */
  private reserve(size: number): void {
    const { memory } = this.kernels;
    const missing = size - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / 65536));
  }
}

function addressOf({ address, stored }: Planes, x: number, y: number, pixel: number): number {
  const stride = stored.right - stored.left;
  return address + ((y - stored.top) * stride + x - stored.left) * pixel;
}

function scaled({ left, top, right, bottom }: Region, by: number): Region {
  return { left: left * by, top: top * by, right: right * by, bottom: bottom * by };
}

function allLayers(part: object): Layer[] {
  return "levels" in part
    ? [part as Layer]
    : Object.values(part).flatMap((inner) => allLayers(inner));
}

const align = (address: number) => Math.ceil(address / 16) * 16;

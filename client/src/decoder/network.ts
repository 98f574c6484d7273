/**
 * The bundled decoder (`LiteDecoder` in Python) over kernels in WebAssembly.
 *
 * Kernels of our own: 18 KB, 6 by gzip. onnxruntime-web 1.30.0 would be 14.2 MB of WebAssembly, 3.7
 * by gzip, and 50 KB of JavaScript, more than many pages' pictures. They are in C, because clang
 * makes SIMD of intrinsics without a runtime.
 */

import {
  FILE_LENGTH,
  inner,
  INPUTS,
  type Layer,
  Mode,
  MOST_CHANNELS,
  type Region,
  scaled,
  type Scale,
  SCALES,
  stepsTo,
  VALUES,
} from "./layers";

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
  private readonly file: number;
  private readonly weights: number;
  private readonly windows: number;
  private readonly products: number;
  private readonly free: number;

  private constructor(
    private readonly kernels: Kernels,
    file: Uint8Array,
  ) {
    if (file.length !== FILE_LENGTH) throw new Error("The decoder's weights do not fit.");
    this.file = align(kernels.__heap_base.value);
    this.weights = align(this.file + file.length);
    const widest = Math.max(
      ...SCALES.flatMap(stepsTo).map(({ layer: { inputs, outputs } }) => inputs * outputs),
    );
    this.windows = this.weights + 36 * 4 * widest;
    this.products = this.windows + kernels.scratch(MOST_CHANNELS);
    this.free = this.products + kernels.scratch(MOST_CHANNELS);
    this.reserve(this.free);
    new Uint8Array(kernels.memory.buffer).set(file, this.file);
  }

  /** `module`: of `kernels.wasm`; `file`: `decoder-*.bin` (layout: `training/browser.py`). */
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
    const size = (around.right - around.left) * (around.bottom - around.top);
    const room = 4 * size * VALUES[scale];
    this.reserve(this.free + 2 * room);
    new Float32Array(this.kernels.memory.buffer, this.free, inputs.length).set(inputs);
    const channels = INPUTS;
    const planes = { channels, stored: around, known: around, width, height };
    let source: Planes = { ...planes, address: this.free };
    let target: Planes = { ...planes, address: this.free + room };
    for (const { layer, mode } of stepsTo(scale)) {
      const stored = mode === Mode.Add ? target.stored : undefined;
      [source, target] = [this.convolve(source, layer, mode, target.address, stored), source];
    }
    return this.cut(source, tile, 8 / scale);
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
    const { left, top, right, bottom } = inner(seen, source.width, source.height);
    const known = scaled({ left, top, right, bottom }, shuffle);
    const target: Planes = {
      address,
      channels: outputs / shuffle ** 2,
      stored: stored ?? known,
      known,
      width: source.width * shuffle,
      height: source.height * shuffle,
    };
    kernels.prepare(this.file + levels, this.file + scale, inputs, outputs, this.weights);
    kernels.convolve(
      addressOf(source, seen.left, seen.top, 4 * source.channels),
      source.stored.right - source.stored.left,
      seen.right - seen.left,
      seen.bottom - seen.top,
      addressOf(target, known.left, known.top, mode === Mode.Pixels ? 4 : 4 * target.channels),
      target.stored.right - target.stored.left,
      right - left,
      bottom - top,
      left - seen.left,
      top - seen.top,
      this.weights,
      this.file + bias,
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

const align = (address: number) => Math.ceil(address / 16) * 16;

/** The bundled decoder (`LiteDecoder` in Python): its layers, their order, and how a tile shrinks. */

export const SCALES = [8, 4, 2, 1] as const;
/** Denominator of the decoder's output resolution. */
export type Scale = (typeof SCALES)[number];

/** Latent pixels around a tile that influence its inside: the radius of the receptive field. */
export const MARGINS: Record<Scale, number> = { 8: 7, 4: 7, 2: 13, 1: 14 };

const [EIGHTH, QUARTER, HALF] = [128, 64, 32] as const;
const DEPTHS = { eighth: 4, quarter: 2, half: 1 };
/** For each latent pixel, at the resolution where there are most. */
export const VALUES: Record<Scale, number> = { 8: EIGHTH, 4: EIGHTH, 2: 4 * QUARTER, 1: 16 * HALF };
/** Latents, step and hints, padded to 16, and the same once more, divided by `FINER`. */
export const INPUTS = 32;
export const FINER = 128;
export const MOST_CHANNELS = 4 * QUARTER;

/** Columns from `left` to before `right`, rows from `top` to before `bottom`. */
export interface Region {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** One convolution: its channels, and where its numbers lie in `decoder-*.bin`, in bytes. */
export interface Layer {
  inputs: number;
  outputs: number;
  /** With 2, an output becomes 2×2 pixels, whose channels follow one another. */
  shuffle: 1 | 2;
  scale: number;
  bias: number;
  levels: number;
}

/** What becomes of a convolution's output; as in `kernels.c` and `convolution.wgsl`. */
export enum Mode {
  Store,
  Relu,
  Add,
  Pixels,
}

/**
 * Steps alternate between two places for planes: each reads what the one before has written, and
 * writes over what that one has read, to which `Mode.Add` adds.
 */
export interface Step {
  layer: Layer;
  mode: Mode;
}

/** Layers by the file's order, which is the one of `LiteDecoder`. */
function layout() {
  let position = 0;
  function layer(inputs: number, outputs: number, shuffle: 1 | 2 = 1): Layer {
    const scale = position;
    const bias = scale + 4 * outputs;
    const levels = bias + 4 * outputs;
    position = levels + 9 * inputs * outputs;
    return { inputs, outputs, shuffle, scale, bias, levels };
  }
  /** `x + second(relu(first(x)))`. */
  const block = (channels: number): Step[] => [
    { layer: layer(channels, channels), mode: Mode.Relu },
    { layer: layer(channels, channels), mode: Mode.Add },
  ];
  const trunk = (channels: number, depth: number) =>
    Array.from({ length: depth }, () => block(channels));
  const layers = {
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
  return { layers, length: position };
}

const { layers, length } = layout();
/** Bytes of `decoder-*.bin`. */
export const FILE_LENGTH = length;

/** From the inputs to the pixels of 1/`scale`. */
export function stepsTo(scale: Scale): Step[] {
  const store = (layer: Layer): Step => ({ layer, mode: Mode.Store });
  const pixels = (layer: Layer): Step => ({ layer, mode: Mode.Pixels });
  const [first, ...others] = layers.eighth;
  const steps = [store(layers.enter), ...first!];
  if (scale > 2) {
    steps.push({ layer: layers.small, mode: Mode.Relu }, ...layers.smallBlock);
    return [...steps, pixels(scale === 8 ? layers.eighthHead : layers.quarterHead)];
  }
  steps.push(...others.flat(), store(layers.toQuarter), ...layers.quarter.flat());
  if (scale === 2) return [...steps, pixels(layers.halfHead)];
  return [...steps, store(layers.toHalf), ...layers.half.flat(), pixels(layers.fullHead)];
}

/** Where a 3×3 convolution knows its outputs: beyond the picture all is 0, beyond a tile unknown. */
export function inner(known: Region, width: number, height: number): Region {
  return {
    left: known.left && known.left + 1,
    top: known.top && known.top + 1,
    right: known.right - (known.right < width ? 1 : 0),
    bottom: known.bottom - (known.bottom < height ? 1 : 0),
  };
}

export function scaled({ left, top, right, bottom }: Region, by: number): Region {
  return { left: left * by, top: top * by, right: right * by, bottom: bottom * by };
}

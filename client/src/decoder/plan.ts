/** A tile's way through the network on a GPU, as numbers: what `convolution.wgsl` is run with. */

import type { Latents } from "../latent";
import {
  inner,
  INPUTS,
  MARGINS,
  Mode,
  type Region,
  scaled,
  type Scale,
  stepsTo,
  VALUES,
} from "./layers";
import { cut, type Tile } from "./tiles";

/**
 * Values that each of two buffers for planes has room for: 32 MiB as float32. More would let one
 * submission take seconds on slow GPUs, and systems stop what takes long.
 */
export const ROOM = 2 ** 23;

/** Side of the square of pixels and number of channels that a workgroup makes; as in the WGSL. */
const GROUP = { side: 16, outputs: 8 };

/** One convolution. */
export interface Dispatch {
  /** `Shape` in `convolution.wgsl`. */
  numbers: number[];
  workgroups: [number, number, number];
}

/** A picture's tiles, whose planes have up to `room` values: one, where it fits. */
export function tilesForGpu(latents: Latents, scale: Scale, room: number): Region[] {
  const { rows, columns } = latents;
  const area = room / VALUES[scale];
  if (rows * columns <= area) return [{ left: 0, top: 0, right: columns, bottom: rows }];
  return cut(latents, scale, 1, Math.floor(Math.sqrt(area)) - 2 * MARGINS[scale]);
}

/** `columns` and `rows`: of the whole picture, latent pixels. */
export function plan(
  { around, inside }: Tile,
  columns: number,
  rows: number,
  scale: Scale,
): Dispatch[] {
  let known = around;
  let resolution = 1;
  return stepsTo(scale).map(({ layer, mode }, index) => {
    const stored = scaled(around, resolution);
    const isLast = mode === Mode.Pixels;
    const made = isLast
      ? scaled(inside, resolution)
      : inner(known, columns * resolution, rows * resolution);
    const target = isLast ? made : stored;
    const [width, height] = sizeOf(stored);
    const numbers = [
      ...[width, height],
      ...[made.left - stored.left, made.top - stored.top],
      ...[made.right - stored.left, made.bottom - stored.top],
      ...[target.left - stored.left, target.top - stored.top],
      ...sizeOf(scaled(target, layer.shuffle)),
      ...(index ? [1, width * height] : [INPUTS / 4, 1]),
      ...[layer.inputs / 4, layer.outputs / 4, layer.shuffle, mode, layer.scale / 4],
    ];
    known = scaled(made, layer.shuffle);
    resolution *= layer.shuffle;
    const [across, down] = sizeOf(made);
    return {
      numbers,
      workgroups: [
        Math.ceil(across / GROUP.side),
        Math.ceil(down / GROUP.side),
        Math.ceil(layer.outputs / GROUP.outputs),
      ],
    };
  });
}

export function sizeOf({ left, top, right, bottom }: Region): [number, number] {
  return [right - left, bottom - top];
}

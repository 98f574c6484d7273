/** From a blob to a picture, by whatever runs the decoder's tasks. */

import { ALPHA, BlobError, type Header, IMAGE, PATCHES, type Space, unpack } from "./container";
import integrityOfCompactWeights from "./decoder-compact1.bin?integrity";
import compactWeightsUrl from "./decoder-compact1.bin?url";
import integrityOfWeights from "./decoder-sd1.bin?integrity";
import weightsUrl from "./decoder-sd1.bin?url";
import integrityOfKernels from "./decoder/kernels.wasm?integrity";
import kernelsUrl from "./decoder/kernels.wasm?url";
import { SCALES, type Scale } from "./decoder/layers";
import { cut, tileOf } from "./decoder/tiles";
import type { Equipment, Results, Task } from "./decoder/tasks";
import { decodePicture } from "./embedded";
import { type Latents, latentShape } from "./latent";
import { blend, readPatches } from "./patches";
import integrityOfCompactPrior from "./prior-compact1.bin?integrity";
import compactPriorUrl from "./prior-compact1.bin?url";
import integrityOfPrior from "./prior-sd1.bin?integrity";
import priorUrl from "./prior-sd1.bin?url";

/** Of each latent space: URL and integrity. */
const FILES: Record<Space, Record<"weights" | "prior", [string, string]>> = {
  sd1: { weights: [weightsUrl, integrityOfWeights], prior: [priorUrl, integrityOfPrior] },
  compact1: {
    weights: [compactWeightsUrl, integrityOfCompactWeights],
    prior: [compactPriorUrl, integrityOfCompactPrior],
  },
};

/** Runs tasks, some at once. */
export interface Runner {
  /** How many at once. */
  readonly size: number;
  /** Whether it can run no more. */
  readonly broken: boolean;
  /** Rejects with `BlobError` where the blob is damaged, with others where nothing runs. */
  run<Kind extends Task["kind"]>(
    prepare: () => { task: Task & { kind: Kind }; transfer?: Transferable[] },
  ): Promise<Results[Kind]>;
  /** Decodes all at once, where it can: whether it has. */
  draw?(
    picture: OffscreenCanvasRenderingContext2D,
    latents: Latents,
    scale: Scale,
  ): Promise<boolean>;
}

export type Decode = (blob: Uint8Array, width?: number, only?: Space) => Promise<ImageBitmap>;

/** `decode` of `decode.ts`, whose tasks `start` finds somebody to run, once there is any. */
export function decoder(start: (equipment: Equipment) => Runner): Decode {
  const loading = new Map<Space, Promise<Runner>>();

  /** Kept for the life of the page; whoever comes after a failure tries again. */
  async function runner(space: Space): Promise<Runner> {
    const earlier = loading.get(space);
    const failed = await earlier?.then(
      ({ broken }) => broken,
      () => true,
    );
    if (failed && loading.get(space) === earlier) loading.delete(space);
    const present = loading.get(space) ?? loadEquipment(space).then(start);
    loading.set(space, present);
    return present;
  }

  return (blob, width, only) => decode(runner, blob, width, only);
}

/**
 * A smaller picture comes from the smallest of the decoder's outputs that covers it, so it costs
 * less.
 */
async function decode(
  runner: (space: Space) => Promise<Runner>,
  blob: Uint8Array,
  width?: number,
  only?: Space,
): Promise<ImageBitmap> {
  const { header, chunks } = unpack(blob);
  if (only && header.space !== only) {
    throw new BlobError(`The blob has the latent space ${header.space}, not ${only}.`);
  }
  const full = { width: header.width, height: header.height };
  const target = targetSize(full, width);
  const scale = chunks.has(IMAGE) ? 1 : SCALES.find((scale) => full.width >= scale * target.width)!;
  const image = chunks.get(IMAGE);
  const picture = image
    ? await drawn(decodePicture(image, full.width, full.height))
    : await decodeLatents(await runner(header.space), header, chunks, scale);

  const patches = chunks.get(PATCHES);
  if (patches) await drawPatches(picture, patches, header, scale);

  const result = canvas(target.width, target.height);
  const { width: right, height: bottom } = full;
  result.drawImage(picture.canvas, 0, 0, right / scale, bottom / scale, 0, 0, ...sizes(target));
  const alpha = chunks.get(ALPHA);
  if (alpha) await applyAlpha(result, await decodePicture(alpha, full.width, full.height));
  return result.canvas.transferToImageBitmap();
}

type Size = { width: number; height: number };
type Canvas = OffscreenCanvasRenderingContext2D;
const sizes = ({ width, height }: Size): [number, number] => [width, height];

function targetSize(full: Size, width = full.width): Size {
  if (width >= full.width) return full;
  width = Math.max(1, Math.floor(width));
  return { width, height: Math.max(1, rounded((full.height * width) / full.width)) };
}

/** Half to even, as Python does, whose markup has told the page this size. */
function rounded(value: number): number {
  const nearest = Math.round(value);
  return value % 1 === 0.5 && nearest % 2 ? nearest - 1 : nearest;
}

/** Padded to whole latent pixels. */
async function decodeLatents(
  runner: Runner,
  header: Header,
  chunks: ReturnType<typeof unpack>["chunks"],
  scale: Scale,
): Promise<Canvas> {
  const latents = await runner.run(() => ({ task: { kind: "latents", header, chunks } }));
  const { rows, columns } = latents;
  const cell = 8 / scale;
  const picture = canvas(columns * cell, rows * cell);
  if (await runner.draw?.(picture, latents, scale)) return picture;
  const draw = async (region: ReturnType<typeof cut>[number]) => {
    const pixels = await runner.run(() => {
      const tile = tileOf(latents, region, scale);
      return { task: { kind: "tile", tile, rows, columns, scale }, transfer: [tile.inputs.buffer] };
    });
    const { left, top, right } = region;
    picture.putImageData(new ImageData(pixels, (right - left) * cell), left * cell, top * cell);
  };
  await Promise.all(cut(latents, scale, runner.size).map(draw));
  return picture;
}

async function drawPatches(
  picture: Canvas,
  payload: Uint8Array,
  header: Header,
  scale: number,
): Promise<void> {
  const [rows, columns] = latentShape(header);
  const { patches, atlas, width, height } = readPatches(payload, 8 * columns, 8 * rows);
  const bitmap = await decodePicture(atlas, width, height);
  for (const { place, top } of patches) {
    const size = { width: place.right - place.left, height: place.bottom - place.top };
    const [left, right] = [place.left / scale, place.right / scale];
    const [above, below] = [place.top / scale, place.bottom / scale];
    const patch = canvas(right - left, below - above);
    patch.drawImage(bitmap, 0, top, ...sizes(size), 0, 0, right - left, below - above);
    const under = picture.getImageData(left, above, right - left, below - above);
    blend(
      under.data,
      patch.getImageData(0, 0, right - left, below - above).data,
      { left, top: above, right, bottom: below },
      picture.canvas.width,
      picture.canvas.height,
      scale,
    );
    picture.putImageData(under, left, above);
  }
  bitmap.close();
}

/** `alpha`: grey, of the full picture's size. */
function applyAlpha(picture: Canvas, alpha: ImageBitmap): void {
  const { width, height } = picture.canvas;
  const mask = canvas(width, height);
  mask.drawImage(alpha, 0, 0, width, height);
  alpha.close();
  const levels = mask.getImageData(0, 0, width, height).data;
  const pixels = picture.getImageData(0, 0, width, height);
  for (let at = 0; at < levels.length; at += 4) pixels.data[at + 3] = levels[at]!;
  picture.putImageData(pixels, 0, 0);
}

async function drawn(bitmap: Promise<ImageBitmap>): Promise<Canvas> {
  const image = await bitmap;
  const context = canvas(image.width, image.height);
  context.drawImage(image, 0, 0);
  image.close();
  return context;
}

function canvas(width: number, height: number): Canvas {
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("The browser gives no canvas of that size.");
  context.imageSmoothingQuality = "high";
  return context;
}

async function loadEquipment(space: Space): Promise<Equipment> {
  const [kernels, weights, prior] = await Promise.all([
    load(kernelsUrl, integrityOfKernels).then((code) => WebAssembly.compile(code)),
    load(...FILES[space].weights),
    load(...FILES[space].prior),
  ]);
  return { kernels, weights, prior };
}

/** Rejects where the file is not the one that this client was built with. */
async function load(url: string, integrity: string): Promise<ArrayBuffer> {
  const response = await fetch(new URL(url, import.meta.url), { integrity });
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return response.arrayBuffer();
}

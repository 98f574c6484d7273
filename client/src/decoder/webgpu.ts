/**
 * The bundled decoder on a GPU. Where there is none, and as soon as it fails once, workers decode: a
 * GPU that has failed may do so for every picture of the page.
 *
 * With `shader-f16`, planes are float16 and so are products, twelve of which are added before the
 * sum goes on in float32. The first convolution reads float32, because its inputs are more exact.
 */

import type { Latents } from "../latent";
import convolution from "./convolution.wgsl?raw";
import { type Scale, VALUES } from "./layers";
import { plan, ROOM, sizeOf, tilesForGpu } from "./plan";
import { type Tile, tileOf } from "./tiles";

// TypeScript's types of the DOM lack these.
declare const GPUBufferUsage: Record<
  "STORAGE" | "UNIFORM" | "COPY_SRC" | "COPY_DST" | "MAP_READ",
  number
>;
declare const GPUMapMode: Record<"READ", number>;

/** Where uniforms may begin; as large as any adapter wants it. */
const ALIGNMENT = 256;

let opening: Promise<Gpu | undefined> | undefined;

/** Worth calling early: to compile takes a while. */
export function openGpu(): Promise<Gpu | undefined> {
  return (opening ??= Gpu.open().catch(giveUp));
}

function giveUp(error: unknown): undefined {
  console.warn("latentimg: WebGPU failed; the processor decodes instead.", error);
  opening = Promise.resolve(undefined);
}

/**
 * Draws the whole picture at 1/`scale`, if there is a GPU. Resolves to whether it has. `weights`:
 * `decoder-*.bin`.
 */
export async function drawOnGpu(
  picture: OffscreenCanvasRenderingContext2D,
  latents: Latents,
  scale: Scale,
  weights: ArrayBuffer,
): Promise<boolean> {
  const gpu = await openGpu();
  if (!gpu) return false;
  try {
    await gpu.draw(picture, latents, scale, weights);
    return true;
  } catch (error) {
    giveUp(error);
    gpu.close();
    return false;
  }
}

class Gpu {
  private readonly files = new Map<ArrayBuffer, GPUBuffer>();
  private last: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly device: GPUDevice,
    private readonly first: GPUComputePipeline,
    private readonly others: GPUComputePipeline,
    private readonly bytes: 2 | 4,
  ) {}

  static async open(): Promise<Gpu | undefined> {
    const adapter = await navigator.gpu?.requestAdapter();
    // The workers are faster than a GPU that is emulated.
    if (!adapter || adapter.info.isFallbackAdapter) return undefined;
    const half = adapter.features.has("shader-f16");
    const device = await adapter.requestDevice({ requiredFeatures: half ? ["shader-f16"] : [] });
    const compile = (source: string, four: string, square: string) => {
      const aliases = `alias Source = ${source}; alias Four = ${four}; alias Square = ${square};`;
      const code = `${half ? "enable f16;" : ""}${aliases}${convolution}`;
      const module = device.createShaderModule({ code });
      return device.createComputePipelineAsync({ layout: "auto", compute: { module } });
    };
    if (!half) {
      const pipeline = await compile("vec4f", "vec4f", "mat4x4f");
      return new Gpu(device, pipeline, pipeline, 4);
    }
    const pipelines = ["vec4f", "vec4h"].map((source) => compile(source, "vec4h", "mat4x4h"));
    const [first, others] = await Promise.all(pipelines);
    return new Gpu(device, first!, others!, 2);
  }

  close(): void {
    this.device.destroy();
  }

  /** One picture after the other: they would share the GPU anyway, and so need the memory of one. */
  draw(
    picture: OffscreenCanvasRenderingContext2D,
    latents: Latents,
    scale: Scale,
    weights: ArrayBuffer,
  ): Promise<void> {
    const { rows, columns } = latents;
    const cell = 8 / scale;
    const room = Math.min(ROOM, this.device.limits.maxStorageBufferBindingSize / 4);
    const drawAll = async () => {
      for (const region of tilesForGpu(latents, scale, room)) {
        const tile = tileOf(latents, region, scale);
        const pixels = await this.decode(tile, columns, rows, scale, weights);
        const image = new ImageData(pixels, (region.right - region.left) * cell);
        picture.putImageData(image, region.left * cell, region.top * cell);
      }
    };
    const drawn = this.last.then(drawAll);
    this.last = drawn.catch(() => {});
    return drawn;
  }

  /** RGBA of the tile's inside. */
  private async decode(
    tile: Tile,
    columns: number,
    rows: number,
    scale: Scale,
    weights: ArrayBuffer,
  ): Promise<Uint8ClampedArray<ArrayBuffer>> {
    const { device } = this;
    device.pushErrorScope("out-of-memory");
    device.pushErrorScope("validation");
    const { STORAGE, UNIFORM, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
    const buffers: GPUBuffer[] = [];
    const create = (size: number, usage: number) => {
      buffers.push(device.createBuffer({ size, usage }));
      return buffers.at(-1)!;
    };
    let file = this.files.get(weights);
    if (!file) {
      file = device.createBuffer({ size: weights.byteLength, usage: STORAGE | COPY_DST });
      device.queue.writeBuffer(file, 0, weights);
      this.files.set(weights, file);
    }
    const dispatches = plan(tile, columns, rows, scale);
    const steps = create(dispatches.length * ALIGNMENT, UNIFORM | COPY_DST);
    dispatches.forEach(({ numbers }, index) =>
      device.queue.writeBuffer(steps, index * ALIGNMENT, Uint32Array.from(numbers)),
    );
    const [width, height] = sizeOf(tile.around);
    const planes = Math.max(tile.inputs.byteLength, width * height * VALUES[scale] * this.bytes);
    let source = create(planes, STORAGE | COPY_DST);
    let target = create(planes, STORAGE);
    device.queue.writeBuffer(source, 0, tile.inputs);
    const [across, down] = sizeOf(tile.inside);
    const size = 4 * across * down * (8 / scale) ** 2;
    const pixels = create(size, STORAGE | COPY_SRC);
    const readable = create(size, MAP_READ | COPY_DST);

    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    dispatches.forEach(({ numbers, workgroups }, index) => {
      const pipeline = index ? this.others : this.first;
      const step = { buffer: steps, offset: index * ALIGNMENT, size: 4 * (numbers.length + 1) };
      const bound = [step, file, source, target, pixels];
      const entries = bound.map((resource, binding) => ({ binding, resource }));
      const layout = pipeline.getBindGroupLayout(0);
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, device.createBindGroup({ layout, entries }));
      pass.dispatchWorkgroups(...workgroups);
      [source, target] = [target, source];
    });
    pass.end();
    encoder.copyBufferToBuffer(pixels, 0, readable, 0, size);
    device.queue.submit([encoder.finish()]);
    try {
      const [invalid, exhausted] = await Promise.all([
        device.popErrorScope(),
        device.popErrorScope(),
        readable.mapAsync(GPUMapMode.READ),
      ]);
      if (invalid ?? exhausted) throw (invalid ?? exhausted)!;
      return new Uint8ClampedArray(readable.getMappedRange().slice(0));
    } finally {
      for (const buffer of buffers) buffer.destroy();
    }
  }
}

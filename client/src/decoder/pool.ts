/** Workers, up to one for each core; no memory is shared, so no isolation is needed. */

import { BlobError } from "../container";
import type { Latents } from "../latent";
import type { Runner } from "../picture";
import type { Scale } from "./layers";
import type { Equipment, Results, Task } from "./tasks";
import type { Answer } from "./worker";
import workerUrl from "./worker?worker&url";

/** More would hold memory for little: the last tiles of a picture leave some idle anyway. */
export const MOST_WORKERS = 4;

interface Job {
  /** Called when a worker is free, so that few tiles of a large picture exist at once. */
  prepare(): { task: Task; transfer?: Transferable[] };
  resolve(result: Results[Task["kind"]]): void;
  reject(error: Error): void;
}

export class Pool implements Runner {
  readonly size = Math.max(1, Math.min(navigator.hardwareConcurrency || 1, MOST_WORKERS));
  private readonly waiting: Job[] = [];
  private readonly idle: Worker[] = [];
  private readonly busy = new Map<Worker, Job>();

  /** Opens while files and latents come. A chunk of its own, for those who have a GPU. */
  private readonly gpu = navigator.gpu && import("./webgpu").catch(() => undefined);

  constructor(private readonly equipment: Equipment) {
    void this.gpu?.then((gpu) => gpu?.openGpu());
    for (let count = 0; count < this.size; count++) this.start();
  }

  get broken(): boolean {
    return !this.idle.length && !this.busy.size;
  }

  run<Kind extends Task["kind"]>(
    prepare: () => { task: Task & { kind: Kind }; transfer?: Transferable[] },
  ): Promise<Results[Kind]> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ prepare, resolve: resolve as Job["resolve"], reject });
      this.assign();
    });
  }

  async draw(
    picture: OffscreenCanvasRenderingContext2D,
    latents: Latents,
    scale: Scale,
  ): Promise<boolean> {
    const gpu = await this.gpu;
    return gpu?.drawOnGpu(picture, latents, scale, this.equipment.weights) ?? false;
  }

  private assign(): void {
    while (this.idle.length && this.waiting.length) {
      const worker = this.idle.pop()!;
      const job = this.waiting.shift()!;
      this.busy.set(worker, job);
      const { task, transfer = [] } = job.prepare();
      worker.postMessage(task, transfer);
    }
  }

  private start(): void {
    const worker = new Worker(startable(new URL(workerUrl, import.meta.url)), { type: "module" });
    worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      const job = this.busy.get(worker)!;
      this.busy.delete(worker);
      this.idle.push(worker);
      this.assign();
      if ("result" in data) job.resolve(data.result);
      else job.reject(data.damaged ? new BlobError(data.error) : new Error(data.error));
    };
    worker.onerror = () => this.discard(worker);
    worker.postMessage(this.equipment);
    this.idle.push(worker);
  }

  /** A worker that could not be loaded, or has died. */
  private discard(worker: Worker): void {
    worker.terminate();
    const error = new Error("A worker of the decoder could not be loaded, or has died.");
    this.busy.get(worker)?.reject(error);
    this.busy.delete(worker);
    if (this.idle.includes(worker)) this.idle.splice(this.idle.indexOf(worker), 1);
    if (this.broken) for (const job of this.waiting.splice(0)) job.reject(error);
  }
}

/** Browsers start workers of the page's own origin only; static files often have another. */
function startable(url: URL): string | URL {
  if (url.origin === location.origin) return url;
  const script = new Blob([`import ${JSON.stringify(url)}`], { type: "text/javascript" });
  return URL.createObjectURL(script);
}

/** Workers, as many as the machine has cores for; no memory is shared, so no isolation is needed. */

import { BlobError } from "../container";
import type { Answer, Equipment, Results, Task } from "./worker";
import workerUrl from "./worker?worker&url";

/** More would hold memory for little: the last tiles of a picture leave some idle anyway. */
const MOST = 4;

interface Job {
  task: Task;
  transfer: Transferable[];
  resolve(result: Results[Task["kind"]]): void;
  reject(error: Error): void;
}

export class Pool {
  readonly size = Math.max(1, Math.min(navigator.hardwareConcurrency || 1, MOST));
  private readonly idle: Worker[];
  private readonly waiting: Job[] = [];

  constructor(private readonly equipment: Equipment) {
    this.idle = Array.from({ length: this.size }, () => this.start());
  }

  /** Rejects with `BlobError` where the blob is damaged. */
  run<Kind extends Task["kind"]>(
    task: Task & { kind: Kind },
    transfer: Transferable[] = [],
  ): Promise<Results[Kind]> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ task, transfer, resolve: resolve as Job["resolve"], reject });
      this.assign();
    });
  }

  private assign(): void {
    while (this.idle.length && this.waiting.length) {
      this.perform(this.idle.pop()!, this.waiting.shift()!);
    }
  }

  private perform(worker: Worker, job: Job): void {
    worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      this.idle.push(worker);
      this.assign();
      if ("result" in data) job.resolve(data.result);
      else job.reject(data.damaged ? new BlobError(data.error) : new Error(data.error));
    };
    worker.onerror = ({ message }) => {
      // It could not be loaded, or has run out of memory: the next job gets a new one.
      worker.terminate();
      this.idle.push(this.start());
      job.reject(new Error(`The decoder's worker has failed: ${message}`));
      this.assign();
    };
    worker.postMessage(job.task, job.transfer);
  }

  private start(): Worker {
    const worker = new Worker(startable(new URL(workerUrl, import.meta.url)), { type: "module" });
    worker.postMessage(this.equipment);
    return worker;
  }
}

/** Browsers start workers of the page's own origin only; static files often have another. */
function startable(url: URL): string | URL {
  if (url.origin === location.origin) return url;
  const script = new Blob([`import ${JSON.stringify(url)}`], { type: "text/javascript" });
  return URL.createObjectURL(script);
}

/** Decodes what is on the screen or about to be. */

import type { Space } from "../container";
import { BlobError, decode } from "../decode";
import { type Claim, type Claims, isReleased, release, show } from "./claims";
import { toFile } from "./file";
import { shownWidth, TOLERANCE, widthFor } from "./widths";
import { saving } from "./worth";

/** One waits for its blob while another keeps the decoder busy. */
const AT_ONCE = 2;

/** A screen more in each direction. */
const AHEAD = "100%";

/** Milliseconds, for a blob to arrive, and again to be decoded. */
const PATIENCE = 5000;

/** Of one picture: others may well be decoded. */
class PictureError extends Error {}

export class Gallery {
  private readonly near = new Set<Claim>();
  private readonly busy = new Set<Claim>();
  private readonly places = new IntersectionObserver((entries) => this.moved(entries), {
    rootMargin: AHEAD,
  });
  private readonly sizes = new ResizeObserver(() => this.next());
  private over = false;

  /**
   * `giveUp` releases all that show nothing yet, and claims no more. `space`: of the decoder that was
   * fetched.
   */
  constructor(
    private readonly claims: Claims,
    private readonly giveUp: () => void,
    private readonly space: Space,
  ) {
    addEventListener("resize", () => this.next()); // Also where the page is magnified.
  }

  add(claim: Claim): void {
    claim.image.addEventListener("load", () => this.loaded(claim));
    claim.image.addEventListener("error", () => {
      claim.shown = 0; // A script has had the browser read a file anew that is gone.
      this.leave(claim);
    });
    this.places.observe(claim.image);
    this.sizes.observe(claim.image);
  }

  private moved(entries: IntersectionObserverEntry[]): void {
    for (const { target, isIntersecting } of entries) {
      const claim = this.claims.get(target as HTMLImageElement)!;
      if (isIntersecting) this.near.add(claim);
      else this.near.delete(claim);
    }
    this.next();
  }

  private next(): void {
    while (!this.over && this.busy.size < AT_ONCE) {
      const waiting = [...this.near].filter((claim) => !this.busy.has(claim) && lacks(claim));
      if (!waiting.length) return;
      void this.attend(
        waiting.reduce((one, other) => (distance(other) < distance(one) ? other : one)),
      );
    }
  }

  private async attend(claim: Claim): Promise<void> {
    const width = widthFor(shownWidth(claim.image), claim.blob.width);
    if (!claim.shown && !saving(claim.blob, width)) return this.leave(claim);
    this.busy.add(claim);
    try {
      const blob = await fetchBlob(claim.blob.url);
      if (this.near.has(claim)) await this.draw(claim, blob, width);
    } catch (error) {
      if (error instanceof PictureError || error instanceof BlobError) this.leave(claim);
      else this.stop();
    } finally {
      this.busy.delete(claim);
      this.next();
    }
  }

  private async draw(claim: Claim, blob: Uint8Array, width: number): Promise<void> {
    const file = await inTime(decode(blob, width, this.space).then(toFile));
    if (isReleased(claim)) return;
    show(claim, URL.createObjectURL(file), width);
    claim.shown = width;
  }

  /** What the browser shows it has read; the file takes memory for nothing. */
  private loaded({ image, shown }: Claim): void {
    if (shown && image.currentSrc.startsWith("blob:")) URL.revokeObjectURL(image.currentSrc);
  }

  /** To its rendition, unless a smaller picture is shown. */
  private leave(claim: Claim): void {
    this.near.delete(claim);
    this.places.unobserve(claim.image);
    this.sizes.unobserve(claim.image);
    if (!claim.shown) release(claim);
  }

  private stop(): void {
    this.over = true;
    this.giveUp();
  }
}

/** Whether it shows nothing, or less than its place has come to want. */
function lacks(claim: Claim): boolean {
  const wanted = Math.min(shownWidth(claim.image), claim.blob.width);
  return !isReleased(claim) && wanted > claim.shown * TOLERANCE;
}

/** CSS pixels from the middle of the screen. */
function distance({ image }: Claim): number {
  const { top, bottom } = image.getBoundingClientRect();
  return Math.abs((top + bottom - innerHeight) / 2);
}

async function fetchBlob(url: string): Promise<Uint8Array> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(PATIENCE) });
    if (response.ok) return new Uint8Array(await response.arrayBuffer());
  } catch {
    // As for any other answer.
  }
  throw new PictureError();
}

function inTime<Result>(work: Promise<Result>): Promise<Result> {
  const late = new Promise<never>((_, reject) => {
    setTimeout(() => reject(new Error("It takes too long.")), PATIENCE);
  });
  return Promise.race([work, late]);
}

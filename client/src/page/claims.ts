/**
 * Pictures whose renditions are not downloaded, because the page decodes.
 *
 * A `<source>` before the picture's own ones overrides them: first with an empty drawing, then with
 * what was decoded. Nothing else in the page changes, and without that element the browser loads
 * the rendition as ever.
 */

import { type Compressed, readBlob } from "./addresses";
import { saving } from "./worth";

/** Lazy ones only: browsers ask for others before a script can say that they need not. */
export const IMAGES = 'picture[data-latent] > img[loading="lazy"]';

export interface Claim {
  image: HTMLImageElement;
  source: HTMLSourceElement;
  blob: Compressed;
  /** Pixels of the decoded picture's width; 0 until there is one. */
  shown: number;
}

export type Claims = WeakMap<HTMLImageElement, Claim>;

const STAND_IN = "#stand-in";

/** Undefined where the picture is not worth decoding, however large it is shown. */
export function claim(image: HTMLImageElement): Claim | undefined {
  const picture = image.parentElement!;
  const blob = readBlob(picture.dataset["latent"]!);
  if (!blob || !saving(blob, blob.width)) return undefined;
  picture.querySelector("source[data-latent]")?.remove(); // A copied picture has one that is over.
  const source = document.createElement("source");
  source.dataset["latent"] = "";
  const [width, height] = [image.getAttribute("width"), image.getAttribute("height")];
  show({ image, source }, standIn(width, height), Number(width));
  picture.prepend(source);
  return { image, source, blob, shown: 0 };
}

/** The browser loads the rendition. */
export function release({ source }: Claim): void {
  source.remove();
}

export function isReleased({ source }: Claim): boolean {
  return !source.parentElement;
}

/** All that show nothing yet. */
export function releaseAll(claims: Claims): void {
  for (const image of document.querySelectorAll<HTMLImageElement>(IMAGES)) {
    const claim = claims.get(image);
    if (claim && !claim.shown) release(claim);
  }
}

/**
 * `width`: pixels of the picture at `url`. The page has laid out renditions that are as wide as
 * `sizes` or the `width` attribute say, whatever their pixels, so the same is said of this one.
 */
export function show(
  { image, source }: Pick<Claim, "image" | "source">,
  url: string,
  width: number,
) {
  source.sizes = image.sizes;
  source.srcset = image.sizes
    ? `${url} ${width}w`
    : `${url} ${width / Number(image.getAttribute("width"))}x`;
}

const drawings = new Map<string, string>();

/** URL of a drawing with nothing in it, through which the placeholder is seen. */
function standIn(width: string | null, height: string | null): string {
  const size = `width="${width}" height="${height}"`;
  let url = drawings.get(size);
  if (!url) {
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" ${size}/>`;
    url = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" })) + STAND_IN;
    drawings.set(size, url);
  }
  return url;
}

/** Scripts that wait for a picture wait for the one that is decoded. */
export function hideStandIns(): void {
  const hide = (event: Event) => {
    const { target } = event;
    if (target instanceof HTMLImageElement && target.currentSrc.endsWith(STAND_IN)) {
      event.stopImmediatePropagation();
    }
  };
  document.addEventListener("load", hide, true);
}

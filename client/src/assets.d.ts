declare module "*?integrity" {
  const integrity: string;
  export default integrity;
}

/** Of each latent space: a digest of its decoder's files. */
declare module "virtual:digests" {
  const digests: Record<import("./container").Space, string>;
  export default digests;
}

/** Where the build has put `page.ts`, from its folder. */
declare module "virtual:page" {
  const file: string;
  export default file;
}

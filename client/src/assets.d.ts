declare module "*?integrity" {
  const integrity: string;
  export default integrity;
}

/** A digest of the decoder's files. */
declare module "virtual:digest" {
  const digest: string;
  export default digest;
}

/** Where the build has put `page.ts`, from its folder. */
declare module "virtual:page" {
  const file: string;
  export default file;
}
